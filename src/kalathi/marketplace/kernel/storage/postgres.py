"""PostgreSQL, 15 and later: any number of processes share one database.

Reads run on a few threads, each with its own connection. Writes run in groups over one more connection. After each
group, other processes get a NOTIFY (`postgres_notifying.py`). A process that misses one polls within a second. A lost
connection is opened again without a restart.
"""

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, Final, cast

import psycopg
import structlog
from psycopg import Connection

from kalathi.marketplace.kernel.storage.changes import ChangeSet, NewJob, News, StorageError, Value
from kalathi.marketplace.kernel.storage.database import Command, Database, Query, Row, T
from kalathi.marketplace.kernel.storage.group import GroupWriter
from kalathi.marketplace.kernel.storage.postgres_connecting import CONNECT_SECONDS, KEEPALIVE, set_up
from kalathi.marketplace.kernel.storage.postgres_notifying import Notifier
from kalathi.marketplace.kernel.storage.postgres_writing import PostgresWriter, is_lost
from kalathi.marketplace.kernel.storage.statements import positional

_log = structlog.get_logger("kalathi.database")

_READER_THREADS: Final = 4
_POINTS_OF_A_THREAD: Final = 8
# Errors of the server, not of the statement: it is gone, full, or refuses to write.
_OF_THE_SERVER: Final = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
# The most attempts at a read, each on another connection because the one before was lost.
_MOST_ATTEMPTS: Final = 5
_PATIENCE_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.1
_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresView:
    """A snapshot for a query of several statements. The first statement begins it, in one round trip."""

    __slots__ = ("_begun", "_connection", "_snapshot")
    dialect: Final = "postgresql"

    def __init__(self, connection: Connection, *, snapshot: bool) -> None:
        self._connection = connection
        self._snapshot = snapshot
        self._begun: list[Connection] = []

    def one(self, sql: str, parameters: Mapping[str, Value]) -> Row | None:
        """See View."""
        rows = self.all(sql, parameters)
        return rows[0] if rows else None

    def all(self, sql: str, parameters: Mapping[str, Value]) -> list[Row]:
        """See View."""
        text, names = positional(sql, "%s")
        return self._fetch(self._connection, text.encode(), [parameters[name] for name in names])

    def each_shard(self, sql: str, parameters: Mapping[str, Value], *, is_complete: bool = False) -> list[Row]:
        """See View."""
        del is_complete  # There is one shard, and no part of an answer.
        return self.all(sql, parameters)

    def end(self) -> None:
        """End the snapshot."""
        for connection in self._begun:
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")

    def _fetch(self, connection: Connection, text: bytes, values: list[Any]) -> list[Row]:
        if any(isinstance(value, str) and "\0" in value for value in values):
            return []  # No text of this database has U+0000.
        values = [str(value) if isinstance(value, str) else value for value in values]
        if self._snapshot and connection not in self._begun:
            self._begun.append(connection)
            with connection.pipeline():
                connection.execute(_BEGIN)
                cursor = connection.execute(text, values, binary=True)
            return cursor.fetchall()
        return connection.execute(text, values, binary=True).fetchall()

    def for_each(
        self,
        names: Sequence[str],
        keys: Sequence[tuple[str | int, ...]],
        sql: str,
        parameters: Mapping[str, Value],
        *,
        is_complete: bool = True,
    ) -> list[Row]:
        """See View."""
        return self._fetch(self._connection, *make_for_each(names, keys, sql, parameters))


def make_for_each(
    names: Sequence[str], keys: Sequence[tuple[str | int, ...]], sql: str, parameters: Mapping[str, Value]
) -> tuple[bytes, list[Any]]:
    """Return the statement over arrays of keys, and its values."""
    types = tuple("bigint" if isinstance(value, int) else "text" for value in keys[0])
    text, others = _for_each_statement(tuple(names), types, sql)
    columns: list[Any] = [list(column) for column in zip(*keys, strict=True)]
    return text, [*columns, *(parameters[name] for name in others)]


@cache
def _for_each_statement(names: tuple[str, ...], types: tuple[str, ...], sql: str) -> tuple[bytes, tuple[str, ...]]:
    """Return the statement over arrays of keys, and the names of the parameters after the arrays."""
    each, others = positional(re.sub(rf":({'|'.join(names)})\b", r"k.\1", sql), "%s")
    arrays = ", ".join(f"%b::{type_}[]" for type_ in types)
    # OFFSET keeps the planner from joining whole tables instead: it would read 30,000 events for the bodies of 400.
    text = f"SELECT r.* FROM unnest({arrays}) k({', '.join(names)}) CROSS JOIN LATERAL ({each} OFFSET 0) r"  # noqa: S608  (names only)
    return text.encode(), others


class _ViewNeededError(Exception):
    """Internal: a prepared command reads all the same."""


class _NoView:
    """The view of a prepared command, which needs none."""

    dialect: Final = "postgresql"

    def one(self, sql: str, parameters: Mapping[str, Value]) -> Row | None:
        raise _ViewNeededError

    def all(self, sql: str, parameters: Mapping[str, Value]) -> list[Row]:
        raise _ViewNeededError

    def for_each(
        self,
        names: Sequence[str],
        keys: Sequence[tuple[str | int, ...]],
        sql: str,
        parameters: Mapping[str, Value],
        *,
        is_complete: bool = True,
    ) -> list[Row]:
        raise _ViewNeededError

    def each_shard(self, sql: str, parameters: Mapping[str, Value], *, is_complete: bool = False) -> list[Row]:
        raise _ViewNeededError


_NO_VIEW: Final = _NoView()
# A point read that waits, and its answer.
_Point = tuple[Query[Any], asyncio.Future[Any]]


def _set_answers(outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for answer, found, error in outcomes:
        if answer.done():
            continue  # Its caller was cancelled.
        if error is None:
            answer.set_result(found)
        else:
            answer.set_exception(error)


class PostgresDatabase(Database):
    """One process's access to a PostgreSQL database with its tables."""

    is_shared = True

    def __init__(self, url: str) -> None:
        """Prepare threads and connections. Connections are opened later, so this raises no error."""
        super().__init__()
        self._url = url
        self._closing = threading.Event()
        self._hurried = threading.Event()
        # The monotonic time of the first failed connection. All callers share one time limit, which counts from it.
        self._down_since: float | None = None
        self._points: list[_Point] = []
        self._local = threading.local()
        self._open: set[Connection] = set()
        self._readers = ThreadPoolExecutor(max_workers=_READER_THREADS, thread_name_prefix="kalathi-reader")
        self._writing = PostgresWriter(self._connect_patiently)
        self._writer = GroupWriter(
            lambda sets: partial(self._writing.write, sets),
            written=self._note_written,
            answered=lambda _count: None,
            measured=self.metrics.note_group,
        )
        self.metrics.watch_queue(self._writer.waiting)
        self._notifier = Notifier(self._connect_notifier, self._closing, self._notify_all)

    async def read_point(self, query: Query[T]) -> T:
        """Read on a reader thread, without a snapshot: one statement needs none. The reads of one turn of the event
        loop share a thread, because passing work to a thread and back takes longer than the statement."""
        self._check_open()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if not self._points:
            loop.call_soon(self._read_points, loop)
        self._points.append((query, answer))
        return cast(T, await answer)

    def _read_points(self, loop: asyncio.AbstractEventLoop) -> None:
        points, self._points = self._points, []
        for start in range(0, len(points), _POINTS_OF_A_THREAD):
            self._readers.submit(self._answer_points, points[start : start + _POINTS_OF_A_THREAD], loop)

    def _answer_points(self, points: list[_Point], loop: asyncio.AbstractEventLoop) -> None:
        """Run the queries of some point reads, and answer them together. Runs on a reader thread."""
        outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        for query, answer in points:
            try:
                found = self._on_a_connection(partial(self._query, query, snapshot=False))
            except Exception as error:  # noqa: BLE001  (the caller gets it)
                outcomes.append((answer, None, error))
            else:
                outcomes.append((answer, found, None))
        with contextlib.suppress(RuntimeError):  # The loop has ended, so nothing waits for the answer.
            loop.call_soon_threadsafe(_set_answers, outcomes)

    async def read(self, query: Query[T]) -> T:
        """Read one snapshot on a reader thread."""
        return await self._on_a_reader(partial(self._query, query, snapshot=True))

    async def read_list(self, query: Query[T]) -> T:
        """Read one snapshot on a reader thread."""
        return await self._on_a_reader(partial(self._query, query, snapshot=True))

    async def read_ahead(self, query: Query[T], *, is_small: bool = False) -> T:
        """Read on a reader thread, without a snapshot: the row of a job is read once, and what belongs to it later."""
        return await self._on_a_reader(partial(self._query, query, snapshot=False))

    def announce(self, table: str) -> None:
        """Call the subscribers here, and send a NOTIFY."""
        self._note_written(News({table}, []))

    async def commit_each(self, sets: Sequence[ChangeSet]) -> list[Exception | None]:
        """Commit through the writer's queue."""
        if self._writer.closed:
            raise StorageError("The database is closed.")
        return await self._writer.commit(sets)

    def stop_waiting(self) -> None:
        """Fail at once from now on if the server cannot be reached."""
        self._hurried.set()

    async def close(self) -> None:
        """Write all waiting sets and close the connections."""
        self._hurried.set()
        await self._writer.close()
        self._closing.set()
        await asyncio.to_thread(self._notifier.close)
        self._readers.shutdown()
        self._writing.close()
        for connection in self._open:
            connection.close()

    async def _decide(self, command: Command[T], *, is_prepared: bool) -> tuple[ChangeSet, T]:
        """Decide on a reader thread. A prepared command decides on the event loop, unless it reads all the same."""
        if is_prepared:
            with contextlib.suppress(_ViewNeededError):
                return command(_NO_VIEW)
        return await self.read(command)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise StorageError("The database is closed.")

    async def _on_a_reader(self, work: Callable[[Connection], T]) -> T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._on_a_connection, work)

    def _on_a_connection(self, work: Callable[[Connection], T]) -> T:
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            connection = self._reader()
            try:
                return work(connection)
            except psycopg.Error as error:
                if not isinstance(error, _OF_THE_SERVER):
                    raise
                # The work has only read, or its transaction ended with the connection, so it can run again on another
                # one.
                lost = is_lost(connection, error)
                if lost:
                    connection.close()
                if attempt == _MOST_ATTEMPTS or not lost:
                    raise StorageError(str(error)) from error
        raise AssertionError("the loop returns or raises")

    def _query(self, query: Query[T], connection: Connection, *, snapshot: bool) -> T:
        view = self._make_view(connection, snapshot=snapshot)
        try:
            return query(view)
        finally:
            view.end()

    def _make_view(self, connection: Connection, *, snapshot: bool) -> PostgresView:
        return PostgresView(connection, snapshot=snapshot)

    def _reader(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            if connection is not None:
                self._open.discard(connection)
            connection = self._connect_patiently()
            self._local.connection = connection
            self._open.add(connection)
        return connection

    def _connect_once(self) -> Connection:
        connection = psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_SECONDS, **KEEPALIVE)
        set_up(connection)
        return connection

    def _connect_patiently(self) -> Connection:
        """Return a new connection. Wait for a server that is unreachable, for example during its restart, until 10
        seconds after the first failure. Raises StorageError."""
        while True:
            try:
                connection = self._connect_once()
            except psycopg.Error as error:
                now = time.monotonic()
                since = self._down_since = self._down_since or now
                if now > since + _PATIENCE_SECONDS or self._hurried.wait(_PAUSE_SECONDS):
                    raise StorageError(str(error)) from error
            else:
                self._down_since = None
                return connection

    def _connect_notifier(self) -> Connection:
        return self._connect_patiently()

    def _note_written(self, news: News) -> None:
        self._notify(news)
        if news.tables:
            self._notifier.notify(news.jobs)

    def _notify_all(self, jobs: list[NewJob] | None) -> None:
        """Call the subscribers of all tables, because another process has written to unknown ones. Runs on the thread
        that listens."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # The loop has ended, and its subscribers with it.
                loop.call_soon_threadsafe(self._notify, News(set(self._listeners), jobs))
