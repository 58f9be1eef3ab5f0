"""SQLite only: settings of the file, its lock, its write-ahead log, and the snapshot held between reads."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.storage.changes import ChangeSet, Insert, StorageError
from kalathi.marketplace.kernel.storage.database import DatabaseInUseError, Row, View
from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio


@pytest.fixture
def database_path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "kalathi.db"


@pytest.fixture
async def database(database_path: Path) -> AsyncIterator[SqliteDatabase]:
    """A fresh file."""
    opened = SqliteDatabase(database_path)
    yield opened
    await opened.close()


def _counter(name: str, value: int) -> Insert:
    return Insert("counters", {"name": name, "value": value})


def _cart(key: str) -> Callable[[View], Row | None]:
    return lambda view: view.one("SELECT cart_id FROM carts WHERE cart_id = :id", {"id": key})


def _count(view: View) -> int:
    [(found,)] = view.all("SELECT count(*) FROM counters", {})
    return int(found)


async def test_a_second_process_is_refused(database: SqliteDatabase, database_path: Path) -> None:
    with pytest.raises(DatabaseInUseError, match="one process"):
        SqliteDatabase(database_path)


async def test_a_subscriber_is_notified_of_its_own_table_only(database: SqliteDatabase) -> None:
    heard = asyncio.Event()
    database.subscribe("counters", heard.set)
    await database.commit(ChangeSet(Insert("carts", {"cart_id": "c", "document": b"{}"})))
    await asyncio.sleep(0)  # Let the other task begin.
    assert not heard.is_set()


async def test_writes_are_durable_by_the_files_own_settings(database: SqliteDatabase) -> None:
    assert await database.read(lambda view: view.all("PRAGMA journal_mode", {})) == [("wal",)]
    assert database._writing.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_the_write_ahead_log_restarts_during_reads_and_writes(
    database: SqliteDatabase, database_path: Path
) -> None:
    """A held snapshot would let the write-ahead log grow for ever."""
    await database.commit(ChangeSet(_counter("a", 0)))
    document = b"x" * 20_000
    for number in range(600):
        key = f"c{number}"
        writing = asyncio.create_task(
            database.commit(ChangeSet(Insert("carts", {"cart_id": key, "document": document})))
        )
        await asyncio.sleep(0)  # Let the other task begin.
        assert await database.read(
            lambda view: view.one("SELECT value FROM counters WHERE name = :name", {"name": "a"})
        ) == (0,)
        await writing
        assert await database.read(_cart(key)) == (key,)
    log = database_path.with_name(database_path.name + "-wal")
    assert log.stat().st_size < 3 * 1000 * 4096, "12 MB were written; the log holds about 4 MB before it starts over"


async def test_a_cancelled_commit_leaves_no_stale_snapshot(database: SqliteDatabase) -> None:
    rows = ChangeSet(*(_counter(f"n{number}", 1) for number in range(5000)))
    leaving = asyncio.create_task(database.commit(rows))
    await asyncio.sleep(0)  # Let the other task begin.
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)

    async with asyncio.timeout(20):
        while await database.read(_count) != 5000:
            await asyncio.sleep(0.002)


async def test_no_snapshot_is_held_while_a_commit_is_pending(database: SqliteDatabase) -> None:
    first = asyncio.create_task(database.commit(ChangeSet(_counter("first", 1))))
    await asyncio.sleep(0)  # Let the other task begin.
    rows = ChangeSet(*(_counter(f"n{number}", 1) for number in range(20_000)))
    second = asyncio.create_task(database.commit(rows))
    await first
    await database.read(_count)
    await second
    assert await database.read(_count) == 20_001


async def test_a_foreign_lock_delays_writers_but_no_readers(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "kalathi.db")
    await database.commit(ChangeSet(_counter("a", 0)))
    with contextlib.closing(sqlite3.connect(tmp_path / "kalathi.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(database.commit(ChangeSet(_counter("b", 1))))
        # Shorter than the wait for the lock.
        async with asyncio.timeout(3):
            await asyncio.sleep(0)  # Let the other task begin.
            for _ in range(100):
                assert await database.read(lambda view: view.all("SELECT name FROM counters", {})) == [("a",)]
                await asyncio.sleep(0)  # Let the other task begin.
        assert not writing.done()
        other.execute("ROLLBACK")
    await writing
    await database.close()


async def test_a_group_behind_a_foreign_lock_fails_after_one_wait(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "kalathi.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "kalathi.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        commits = [database.commit(ChangeSet(_counter(f"n{number}", 1))) for number in range(6)]
        # The group waits five seconds for the lock, once for all commits.
        async with asyncio.timeout(9):
            outcomes = await asyncio.gather(*commits, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StorageError}
        other.execute("ROLLBACK")
    await database.commit(ChangeSet(_counter("after", 1)))
    await database.close()
