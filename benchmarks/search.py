"""Time the lists and searches of a shop's page of orders, with 1,000 and with 1,000,000 orders, on both databases.

    PYTHONPATH=benchmarks python benchmarks/search.py sqlite:////tmp/search.db 1000000
    PYTHONPATH=benchmarks python benchmarks/search.py postgresql://user@host/empty 1000000

The orders are copies of one, with words of their own in the index: 1,000 last names, 200 first names, 2,000 products,
and one word that every tenth order has.
"""

import asyncio
import sqlite3
import sys
import time
from datetime import UTC, datetime
from statistics import median
from typing import Final

import psycopg
from orders import prepare

from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.storage.changes import Value
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.kernel.storage.opening import open_database, sqlite_path
from kalathi.marketplace.orders.search.listing import Sort, Wanted, list_orders
from kalathi.marketplace.orders.search.store import Span

_TURNS: Final = 7
_DAY_MILLIS: Final = 86_400_000
# Newest first: 0.2 % are open and 0.5 % accepted.
_NUMBERS: Final = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"""
_CODE: Final = "'25' || (1000 + n % 365) || '-' || (1000000 + n)"
_AT: Final = "t.created_at - {span} / {count} * n"
_ORDERS: Final = (
    "INSERT INTO orders (shop_id, code, state, version, created_at, updated_at, document)"
    + _NUMBERS
    + f" SELECT t.shop_id, {_CODE},"
    " CASE WHEN n <= {count} / 500 THEN 'open' WHEN n <= {count} / 140 THEN 'accepted' ELSE 'delivered' END,"
    f" 1, {_AT}, {_AT}, t.document FROM numbers, orders t WHERE t.code = '{{template}}'"
)
_WORD: Final = (
    "INSERT INTO order_words (shop_id, word, created_at, code)"
    + _NUMBERS
    + f" SELECT t.shop_id, {{word}}, {_AT}, {_CODE} FROM numbers, orders t"
    " WHERE t.code = '{template}' AND {limit} ORDER BY 2, 3"
)
_WORDS: Final = (
    ("'last' || (n * 919 % 1000)", "1 = 1"),
    ("'first' || (n * 1047 % 200)", "1 = 1"),
    ("'product' || (n * 1543 % 2000)", "1 = 1"),
    ("'sku' || (n * 1789 % 2000)", "1 = 1"),
    ("'track' || (3000000 + n)", "1 = 1"),
    ("'' || (1000000 + n)", "1 = 1"),
    ("'25' || (1000 + n % 365)", "1 = 1"),
    ("'common'", "n % 10 = 0"),
    ("'courier=ACS'", "n % 3 = 0"),
)


def _list_cases(shop_id: str, now_millis: int) -> dict[str, Wanted]:
    week = Span(now_millis - 7 * _DAY_MILLIS, now_millis)
    return {
        "all, latest change": Wanted(shop_id),
        "open, by deadline": Wanted(shop_id, states=(OrderState.OPEN,), sort=Sort.DEADLINE),
        "open, latest change": Wanted(shop_id, states=(OrderState.OPEN,)),
        "overdue": Wanted(shop_id, is_overdue=True),
        "one week": Wanted(shop_id, span=week, sort=Sort.DATE),
        "tracking code": Wanted(shop_id, ("track3000777",)),
        "last name": Wanted(shop_id, ("last77",)),
        "first and last name": Wanted(shop_id, ("first1", "last77")),
        "a word of every tenth order": Wanted(shop_id, ("common",)),
        "the same with a courier and a last name": Wanted(shop_id, ("common", "last7"), ("courier=ACS",)),
        "the beginning of all last names, by total": Wanted(shop_id, ("last",), sort=Sort.TOTAL),
    }


async def fill(url: str, count: int) -> None:
    """Add the orders and their words with SQL, because a million carts would take hours."""
    shop = await asyncio.to_thread(prepare, url if url.startswith("postgresql") else sqlite_path(url), 1)
    known = {"count": count, "span": 700 * _DAY_MILLIS, "template": shop.codes[0]}
    statements = [_ORDERS.format(**known)]
    statements += [_WORD.format(**known, word=word, limit=limit) for word, limit in _WORDS]
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            # Without figures about the orders, PostgreSQL may scan all of them for each word of each order.
            for statement in (statements[0], "ANALYZE orders", *statements[1:], "VACUUM ANALYZE"):
                connection.execute(statement.encode())
        return
    with sqlite3.connect(sqlite_path(url)) as database:
        for statement in statements:
            database.execute(statement)


async def _measure(url: str, count: int) -> None:
    await fill(url, count)
    database = await open_database(url)
    row: tuple[Value, ...] | None = await database.read(
        lambda view: view.one("SELECT shop_id, max(created_at) FROM orders GROUP BY shop_id", {})
    )
    assert row is not None
    shop_id, latest = str(row[0]), int(row[1] or 0)
    now = datetime.now(UTC)
    print(f"{url.partition(':')[0]}, {count:,} orders")
    for name, wanted in _list_cases(shop_id, latest).items():
        seconds = []
        entries = 0
        for _ in range(_TURNS):
            started = time.perf_counter()

            def query(view: View, wanted: Wanted = wanted) -> int:
                return list_orders(view, wanted, now, 50, 0).entries

            entries = await database.read_list(query)
            seconds.append(time.perf_counter() - started)
        print(f"  {median(seconds) * 1000:8.1f} ms  {entries:9,} entries  {name}")
    await database.close()


if __name__ == "__main__":
    asyncio.run(_measure(sys.argv[1], int(sys.argv[2])))
