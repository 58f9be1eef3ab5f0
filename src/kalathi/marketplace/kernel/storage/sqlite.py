"""SQLite in WAL mode: one process serves a file, and a lock file beside it refuses a second.

Point reads run inline on the event loop: on a local file they take tens of microseconds, and a thread hop would cost
more.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Final

import structlog

from kalathi.marketplace.kernel.storage.changes import ChangeSet, StorageError, Value
from kalathi.marketplace.kernel.storage.database import Database, DatabaseInUseError, Query, Row, T, View
from kalathi.marketplace.kernel.storage.group import GroupWriter
from kalathi.marketplace.kernel.storage.sqlite_writing import begin_group, prepare_writer
from kalathi.marketplace.kernel.storage.statements import positional
from kalathi.marketplace.kernel.storage.upgrading import upgrade_sqlite
from kalathi.system.files import make_private_folder
from kalathi.system.locks import lock_file

_log = structlog.get_logger("kalathi.storage")

_READER_THREADS = 2
# The longest delay until a change by another program is visible.
_SNAPSHOT_SECONDS = 0.25
# SQLite truncates the write-ahead log to this size when it restarts the log after a large reader, such as a backup.
_LARGEST_LOG_BYTES = 16 * 2**20


class _SqliteView:
    __slots__ = ("_connection",)
    dialect: Final = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def one(self, sql: str, parameters: Mapping[str, Value]) -> Row | None:
        text, names = positional(sql)
        row: Row | None = self._connection.execute(text, [parameters[name] for name in names]).fetchone()
        return row

    def all(self, sql: str, parameters: Mapping[str, Value]) -> list[Row]:
        text, names = positional(sql)
        return self._connection.execute(text, [parameters[name] for name in names]).fetchall()

    def each_shard(self, sql: str, parameters: Mapping[str, Value], *, is_complete: bool = False) -> list[Row]:
        del is_complete  # There is one shard, and no part of an answer.
        return self.all(sql, parameters)

    def for_each(
        self,
        names: Sequence[str],
        keys: Sequence[tuple[str | int, ...]],
        sql: str,
        parameters: Mapping[str, Value],
        *,
        is_complete: bool = True,
    ) -> list[Row]:
        # There is no round trip to save: one combined statement takes as long as its parts.
        text, wanted = positional(sql)
        values = [parameters.get(name) for name in wanted]
        places = [(place, names.index(name)) for place, name in enumerate(wanted) if name in names]
        rows: list[Row] = []
        cursor = self._connection.cursor()
        for key in keys:
            for place, number in places:
                values[place] = key[number]
            rows += cursor.execute(text, values).fetchall()
        return rows


class SqliteDatabase(Database):
    """One file in WAL mode with `synchronous=FULL`."""

    def __init__(self, path: Path, *, keep_copy: bool = True) -> None:
        """Open the file and migrate its tables. With `keep_copy`, copy a file of an earlier version first
        (upgrading.py). Raises DatabaseInUseError, NewerDatabaseError, StorageError."""
        super().__init__()
        make_private_folder(path.parent)
        # It holds signing secrets and people's addresses; SQLite gives the files beside it the same mode.
        path.touch(mode=0o600, exist_ok=True)
        self._lock = lock_database(path)
        _upgrade(path, keep_copy=keep_copy)
        writing = _connect(path)
        prepare_writer(writing)
        self._reading = _connect(path)
        self._reading.execute("PRAGMA query_only=ON")
        self._reads: View = _SqliteView(self._reading)
        self._holds_snapshot = False
        self._snapshot_end: asyncio.TimerHandle | None = None
        self._commits_in_flight = 0
        self._writing = writing
        self._writes: View = _SqliteView(writing)
        self._path = path
        self._readers = ThreadPoolExecutor(max_workers=_READER_THREADS, thread_name_prefix="kalathi-reader")
        self._writer = GroupWriter(
            partial(begin_group, writing),
            written=self._notify,
            answered=self._count_answers,
            measured=self.metrics.note_group,
        )
        self.metrics.watch_queue(self._writer.waiting)

    async def read_point(self, query: Query[T]) -> T:
        """Read inline, like `read`."""
        return await self.read(query)

    async def read(self, query: Query[T]) -> T:
        """Read inline on the event loop. A query does not await, so nothing interrupts it, and one connection serves
        all."""
        # One read transaction stays open over many reads while nothing is being written: locking and unlocking the
        # write-ahead log for each read cost a fifth of the time of a GET. The transaction ends after a moment, so that
        # a change by another program (for example a token deleted in SQLite's own shell) becomes visible. During writes
        # no snapshot is held, because it would keep SQLite from restarting the log.
        if not (self._holds_snapshot or self._commits_in_flight):
            self._reading.execute("BEGIN")
            self._holds_snapshot = True
            loop = asyncio.get_running_loop()
            self._snapshot_end = loop.call_later(_SNAPSHOT_SECONDS, self._end_snapshot)
        try:
            if self._holds_snapshot:
                return query(self._reads)
            self._reading.execute("BEGIN")
            try:
                return query(self._reads)
            finally:
                self._reading.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageError(str(error)) from error

    async def read_list(self, query: Query[T]) -> T:
        """Read a separate snapshot on a reader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._query, query)

    async def read_ahead(self, query: Query[T], *, is_small: bool = False) -> T:
        """Read in the writer's turn and on its connection, whose cache survives each commit. The readers' cache is
        empty after every commit, and reading the due rows from the file again took as long as sending them. A small
        read does not wait for the writer, so that a single webhook is sent at once."""
        self._check_open()
        if is_small:
            return await self.read(query)
        return await self._writer.turn(partial(self._read_in_turn, query))

    def _read_in_turn(self, query: Query[T]) -> T:
        self._end_snapshot()
        try:
            self._writing.execute("BEGIN")
            try:
                return query(self._writes)
            finally:
                self._writing.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageError(str(error)) from error

    async def commit_each(self, sets: Sequence[ChangeSet]) -> list[Exception | None]:
        """Commit through the writer's queue."""
        self._check_open()
        self._commits_in_flight += 1
        self._end_snapshot()
        return await self._writer.commit(sets)

    def _end_snapshot(self) -> None:
        if self._holds_snapshot:
            self._reading.execute("COMMIT")
            self._holds_snapshot = False
        if self._snapshot_end is not None:
            self._snapshot_end.cancel()
            self._snapshot_end = None

    def _check_open(self) -> None:
        if self._writer.closed:
            raise StorageError("The database is closed.")

    async def close(self) -> None:
        """Write all waiting sets, and unlock the file."""
        await self._writer.close()
        self._end_snapshot()
        self._readers.shutdown()
        self._reading.close()
        self._writing.close()
        self._lock.close()

    def _count_answers(self, count: int) -> None:
        self._commits_in_flight -= count

    def _query(self, query: Query[T]) -> T:
        try:
            with contextlib.closing(_connect(self._path)) as connection:
                connection.execute("PRAGMA query_only=ON")
                connection.execute("BEGIN")
                return query(_SqliteView(connection))
        except sqlite3.Error as error:
            raise StorageError(str(error)) from error


def _upgrade(path: Path, *, keep_copy: bool) -> None:
    try:
        copy = upgrade_sqlite(path, keep_copy=keep_copy)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{path} cannot be upgraded: {error}") from error
    if copy is not None:
        _log.info("database_upgraded", file=str(path), copy=str(copy))


def lock_database(database: Path) -> IO[str]:
    """Lock a database's file until the handle is closed. Raises DatabaseInUseError."""
    path = database.with_name(database.name + ".lock")
    handle = lock_file(path)
    if handle is None:
        raise DatabaseInUseError(
            f"Another process serves this database ({path} is locked). SQLite is served by one process; stop the other"
            " one, or name another data folder with --data."
        )
    return handle


def _connect(path: Path) -> sqlite3.Connection:
    # We begin and end transactions, so the driver's own are off. The writer's connection is also used from its thread.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute("PRAGMA cache_size=-65536")
    connection.execute(f"PRAGMA journal_size_limit={_LARGEST_LOG_BYTES}")
    return connection
