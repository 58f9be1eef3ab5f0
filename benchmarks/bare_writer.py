"""The baseline of accepts: the bare sqlite3 driver runs the same statements, in transactions of 32 accepts.

The statements and their values are prepared first; only their execution and the commits are timed. The file settings
are the same: WAL, `synchronous=FULL`.
"""

import asyncio
import sqlite3
import time
from datetime import datetime
from functools import partial
from pathlib import Path

from orders import Prepared

from kalathi.contract.requests import AcceptRequest
from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.keys import DrawnKeys
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase
from kalathi.marketplace.kernel.storage.statements import Parameters, insert_statement, make_guarded_statement
from kalathi.marketplace.orders import commands, store
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.terms import Terms

GROUP = 32
Statements = list[tuple[str, Parameters]]


def accept_statements(path: Path, prepared: Prepared, codes: list[str]) -> list[Statements]:
    """Return the statements that accept each order, as SQL and values."""
    return asyncio.run(_accept_statements(path, prepared, codes))


async def _accept_statements(path: Path, prepared: Prepared, codes: list[str]) -> list[Statements]:
    database = SqliteDatabase(path)
    terms = Terms(Settings(), "http://127.0.0.1")
    request = AcceptRequest(pickup_location=prepared.location_id, pickup_window=prepared.window_id)
    now = BusinessClock().now()
    sets = []
    for code in codes:
        changes = await database.read(partial(_accept, code=code, request=request, terms=terms, now=now))
        statements = [make_guarded_statement(part) for part in changes.guarded]
        sets.append(statements + [insert_statement(part) for part in changes.inserts])
    await database.close()
    return sets


def _accept(view: View, code: str, request: AcceptRequest, terms: Terms, now: datetime) -> ChangeSet:
    found = store.by_code(view, code)
    assert found is not None
    return commands.accept(found, request, Facts(view, DrawnKeys([]), terms, now)).changes


def run_bare(path: Path, sets: list[Statements], *, collected: bool = False) -> float:
    """Return accepts per second. With `collected`, run the inserts of a group by shape with executemany, as our writer
    does."""
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-65536")
    started = time.perf_counter()
    for first in range(0, len(sets), GROUP):
        group = [statement for statements in sets[first : first + GROUP] for statement in statements]
        connection.execute("BEGIN IMMEDIATE")
        by_shape: dict[str, list[Parameters]] = {}
        for sql, parameters in group:
            if collected and sql.startswith("INSERT"):
                by_shape.setdefault(sql, []).append(parameters)
            else:
                connection.execute(sql, parameters)
        for sql, rows in by_shape.items():
            connection.executemany(sql, rows)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return len(sets) / seconds
