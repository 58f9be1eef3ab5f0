"""The database: reads are snapshots, writes are change sets (DESIGN, decisions 2 to 5). SQLite for now.

One process serves a database file; a lock file beside it refuses a second. Point reads run inline on the event loop:
on a local file they take tens of microseconds, and a thread hop would cost more.
"""

import asyncio
import contextlib
import fcntl
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from kalathi.marketplace.kernel.changes import ChangeSet, ConditionFailedError, StorageError, Value
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.schema import METADATA
from kalathi.marketplace.kernel.statements import positional
from kalathi.marketplace.kernel.writer import GroupWriter

T = TypeVar("T")
Row = tuple[Any, ...]

# A command that loses a race reads and decides anew; each time somebody else has won, so a few times are plenty.
COMMAND_ATTEMPTS = 5
_READER_THREADS = 2


class DatabaseInUseError(Exception):
    """Another process serves this database file."""


class View:
    """Reads of one snapshot: plain SQL with named parameters (`:code`), all rows fetched."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def one(self, sql: str, parameters: Mapping[str, Value]) -> Row | None:
        """The first row, or None."""
        text, names = positional(sql)
        row: Row | None = self._connection.execute(text, [parameters[name] for name in names]).fetchone()
        return row

    def all(self, sql: str, parameters: Mapping[str, Value]) -> list[Row]:
        """Every row."""
        text, names = positional(sql)
        return self._connection.execute(text, [parameters[name] for name in names]).fetchall()


Command = Callable[[View], tuple[ChangeSet, T]]


class Database:
    """One SQLite file in WAL mode with `synchronous=FULL`; use it from one event loop."""

    def __init__(self, path: Path) -> None:
        """Opens the file and makes the tables that are not there. Raises DatabaseInUseError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(path.with_name(path.name + ".lock"))
        writing = _connect(path)
        _make_tables(writing)
        self._reading = _connect(path)
        self._reading.execute("PRAGMA query_only=ON")
        self._reads = View(self._reading)
        self._holds_snapshot = False
        self._commits_in_flight = 0
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._writing = writing
        self._path = path
        self._readers = ThreadPoolExecutor(max_workers=_READER_THREADS, thread_name_prefix="kalathi-reader")
        self._writer = GroupWriter(writing, written=self._tell, answered=self._count_answers)

    @contextlib.contextmanager
    def view(self) -> Iterator[View]:
        """A snapshot: all reads inside see the same state. No await inside, since the connection is shared."""
        self._hold_snapshot()
        if self._holds_snapshot:
            yield self._reads
            return
        self._reading.execute("BEGIN")
        try:
            yield self._reads
        finally:
            self._reading.execute("COMMIT")

    @property
    def point(self) -> View:
        """For single reads, each on the latest state."""
        self._hold_snapshot()
        return self._reads

    async def commit(self, changes: ChangeSet) -> None:
        """Returns when the set is on disk. Raises ConditionFailedError or StorageError; then nothing was written."""
        if self._writer.closed:
            raise StorageError("The database is closed.")
        self._commits_in_flight += 1
        if self._holds_snapshot:
            self._reading.execute("COMMIT")
            self._holds_snapshot = False
        await self._writer.commit(changes)

    def _count_answers(self, count: int) -> None:
        self._commits_in_flight -= count

    def _hold_snapshot(self) -> None:
        """Keeps one read transaction open over many reads while nothing is being written: nobody else writes this
        file, so the snapshot stays the latest state. Taking and leaving WAL's locks for each read cost a GET a fifth of
        its time. During writes no snapshot is held, because it would keep the log from being started over."""
        if not (self._holds_snapshot or self._commits_in_flight):
            self._reading.execute("BEGIN")
            self._holds_snapshot = True

    async def read(self, query: Callable[[View], T]) -> T:
        """For lists and whatever else takes longer than a point read: a snapshot of its own, on a reader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._query, query)

    def _query(self, query: Callable[[View], T]) -> T:
        with contextlib.closing(_connect(self._path)) as connection:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("BEGIN")
            return query(View(connection))

    async def run(self, command: Command[T]) -> T:
        """Reads, decides and commits; anew when a race was lost. Gives what the command gave beside its set.

        Raises the command's own DomainError, DomainError CONFLICT when the race goes on, StorageError.
        """
        for _ in range(COMMAND_ATTEMPTS):
            with self.view() as view:
                changes, answer = command(view)
            try:
                await self.commit(changes)
            except ConditionFailedError:
                continue
            return answer
        raise DomainError(ErrorCode.CONFLICT, "Somebody else is changing this at the same moment. Try again.")

    def subscribe(self, table: str, listener: Callable[[], None]) -> None:
        """The listener is called on the present event loop after a commit has put rows into the table."""
        loop = asyncio.get_running_loop()

        def call() -> None:
            with contextlib.suppress(RuntimeError):  # The loop has ended, and with it whoever wanted to know.
                loop.call_soon_threadsafe(listener)

        self._listeners.setdefault(table, []).append(call)

    def close(self) -> None:
        """Writes what still waits and frees the file for another process."""
        self._writer.close()
        self._readers.shutdown()
        self._reading.close()
        self._writing.close()
        self._lock.close()

    def _tell(self, tables: set[str]) -> None:
        for table in tables:
            for listener in self._listeners.get(table, ()):
                listener()


def _lock(path: Path) -> IO[str]:
    handle = path.open("w", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise DatabaseInUseError(
            f"Another process serves this database ({path} is locked). SQLite is served by one process; stop the other"
            " one, or name another data folder with --data."
        ) from None
    return handle


def _connect(path: Path) -> sqlite3.Connection:
    # Transactions are ours, so the driver's own are off; the writer's connection is used from its thread.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute("PRAGMA cache_size=-65536")
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    dialect = sqlite.dialect()
    for table in METADATA.sorted_tables:
        connection.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)))
        for index in table.indexes:
            connection.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect)))


__all__ = ["COMMAND_ATTEMPTS", "Command", "Database", "DatabaseInUseError", "Row", "StorageError", "View"]
