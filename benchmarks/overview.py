"""Time the overviews of a shop and of the operator beside the plain list, with 1,000 and with 1,000,000 orders, and the
counting of transitions of an earlier version.

    PYTHONPATH=benchmarks python benchmarks/overview.py sqlite:////tmp/overview.db 1000000
    PYTHONPATH=benchmarks python benchmarks/overview.py postgresql://user@host/empty 1000000

The figures have 90 days and 2,000 products.
"""

import asyncio
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any, Final

import psycopg
from search import fill

from kalathi.marketplace.figures.folding import fold
from kalathi.marketplace.kernel.clock import athens, real_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet, InsertMany
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.kernel.storage.opening import open_database, sqlite_path
from kalathi.marketplace.orders.search.listing import Wanted, list_orders
from kalathi.marketplace.panel.day_rows import first_day
from kalathi.marketplace.panel.operator import overview as of_operator
from kalathi.marketplace.panel.shop import overview as of_shop

_TURNS: Final = 7
_PRODUCTS: Final = 2000
_FOLDED: Final = 20_000
_MOVES: Final = (
    "INSERT INTO moves (shop_id, code, version, at, event, before, after)"
    " SELECT shop_id, code, 1, created_at, 'place', state, state FROM orders LIMIT {count}",
    "INSERT INTO state_counts (shop_id, state, value) SELECT shop_id, state, count(*) FROM orders GROUP BY 1, 2",
)


async def _measure(url: str, count: int) -> None:
    await fill(url, count)
    database = await open_database(url)
    await asyncio.to_thread(_run, url, ["DELETE FROM moves", "DELETE FROM state_counts"])
    await asyncio.to_thread(_run, url, [statement.format(count=_FOLDED) for statement in _MOVES])
    row = await database.read(lambda view: view.one("SELECT shop_id FROM orders LIMIT 1", {}))
    assert row is not None
    shop_id, now = str(row[0]), datetime.now(UTC)
    started = time.perf_counter()
    turns = 0
    while await database.run(fold):
        turns += 1
    seconds = time.perf_counter() - started
    print(f"{url.partition(':')[0]}, {count:,} orders")
    print(f"  {min(count, _FOLDED) / seconds:8,.0f} transitions a second are counted")
    today = athens(now).date()
    await _add_products(database, shop_id, first_day(today, 90))
    minute = real_millis() // 60_000
    cases: dict[str, Callable[[View], Any]] = {
        "plain list": lambda view: list_orders(view, Wanted(shop_id), now, 50, 0),
        "shop's overview, 30 days": partial(of_shop.load_overview, shop_id=shop_id, today=today, span=30),
        "shop's overview, 90 days": partial(of_shop.load_overview, shop_id=shop_id, today=today, span=90),
        "operator's overview, 30 days": partial(of_operator.load_overview, today=today, span=30, minute=minute),
    }
    for name, query in cases.items():
        taken = []
        for _ in range(_TURNS):
            started = time.perf_counter()
            await database.read_list(query)
            taken.append(time.perf_counter() - started)
        print(f"  {median(taken) * 1000:8.1f} ms  {name}")
    await database.close()


async def _add_products(database: Database, shop_id: str, first: str) -> None:
    """Add the figures of products for the weeks since `first`."""
    start = datetime.fromisoformat(first).toordinal()
    for day in range(start - 7, start + 91, 7):
        text = datetime.fromordinal(day).date().isoformat()
        rows = [(shop_id, f"product=P{number:05d}", text, number % 17 + 1) for number in range(_PRODUCTS)]
        await database.commit(ChangeSet(InsertMany("day_figures", ("shop_id", "name", "day", "value"), rows)))


def _run(url: str, statements: list[str]) -> None:
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())
        return
    with sqlite3.connect(sqlite_path(url)) as database:
        for statement in statements:
            database.execute(statement)


if __name__ == "__main__":
    asyncio.run(_measure(sys.argv[1], int(sys.argv[2])))
