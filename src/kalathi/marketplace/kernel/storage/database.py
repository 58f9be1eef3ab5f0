"""The database: reads are snapshots, writes are change sets (docs/decisions/0002 to 0005).

This is the interface for all other parts: a query is a function of a view, and a command also returns a change set.
`sqlite.py` and `postgres.py` implement it.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.metrics import Metrics
from kalathi.marketplace.kernel.refusals import ConcurrentChange
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, NewJob, News, Value

T = TypeVar("T")
Row = tuple[Any, ...]

# A command that loses a race reads and decides again. Another command wins each time, so a few attempts are plenty.
COMMAND_ATTEMPTS = 5


class DatabaseInUseError(Exception):
    """Another process serves this database file."""


# For the few statements that need a form of their own for each database.
Dialect = Literal["sqlite", "postgresql"]


class View(Protocol):
    """Reads of one snapshot: plain SQL with named parameters (`:code`), all rows fetched."""

    @property
    def dialect(self) -> Dialect:
        """The database's dialect of SQL."""
        ...

    def one(self, sql: str, parameters: Mapping[str, Value]) -> Row | None:
        """The first row, or None."""
        ...

    def all(self, sql: str, parameters: Mapping[str, Value]) -> list[Row]:
        """Every row."""
        ...

    def for_each(
        self,
        names: Sequence[str],
        keys: Sequence[tuple[str | int, ...]],
        sql: str,
        parameters: Mapping[str, Value],
        *,
        is_complete: bool = True,
    ) -> list[Row]:
        """Run the statement for each key in turn, with the key's values as its parameters `names`, and return all rows,
        in one round trip. Needs at least one key. If the database is spread over nodes, the rows of a node that does
        not answer raise StorageError, or without `is_complete` are missing."""
        ...

    def each_shard(self, sql: str, parameters: Mapping[str, Value], *, is_complete: bool = False) -> list[Row]:
        """Return the rows of a statement that searches the rows of all shops. If the database is spread over nodes, the
        statement runs once for each shard, by itself, and the rows come in any order; parts on a node that does not
        answer are missing, or with `is_complete` raise StorageError."""
        ...


def pad_rows(rows: Sequence[T]) -> list[T]:
    """Repeat the last row until their number is a power of two. So lists in a statement have few lengths, and the
    database meets few different statements. Needs at least one row."""
    length = 1 << (len(rows) - 1).bit_length()
    return [*rows, *([rows[-1]] * (length - len(rows)))]


JobListener = Callable[[Sequence[NewJob] | None], None]
OrderListener = Callable[[Sequence[tuple[str, str]]], None]
Query = Callable[[View], T]
Command = Callable[[View], tuple[ChangeSet, T]]


class Database(ABC):
    """The database of a process, used from one event loop."""

    # Whether other processes may serve the same database.
    is_shared = False

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._job_listeners: list[JobListener] = []
        self._order_listeners: list[OrderListener] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def place_of(self, key: str) -> str:
        """Return the name of the place that has the rows of a shop, or of a code or a cart. A change set of one place
        is written faster, and can be written while another place does not answer."""
        del key
        return ""

    def count_places(self) -> int:
        """Return the number of places."""
        return 1

    @abstractmethod
    async def read_point(self, query: Query[T]) -> T:
        """Run a query of one statement. Raises the query's own errors, StorageError."""

    @abstractmethod
    async def read(self, query: Query[T]) -> T:
        """Run a short query of a few statements on one snapshot. Raises the query's own errors, StorageError."""

    @abstractmethod
    async def read_list(self, query: Query[T]) -> T:
        """Read a list, or anything else that takes longer than a point. Raises the query's own errors, StorageError."""

    @abstractmethod
    async def read_ahead(self, query: Query[T], *, is_small: bool = False) -> T:
        """Read the worker's next jobs; `is_small` if they are few. The statements of the query need not see the same
        snapshot. Raises the query's own errors, StorageError."""

    @abstractmethod
    async def commit_each(self, sets: Sequence[ChangeSet]) -> list[Exception | None]:
        """Commit each set on its own, and return when every set is on disk or refused. The result has None for a
        written set, else its ConditionFailedError or StorageError; nothing of a refused set was written."""

    async def commit(self, changes: ChangeSet) -> None:
        """Commit a set, and return when it is on disk. Raises ConditionFailedError or StorageError; then nothing was
        written."""
        (refusal,) = await self.commit_each((changes,))
        if refusal is not None:
            raise refusal

    def stop_waiting(self) -> None:  # noqa: B027  (only PostgreSQL waits for a server)
        """Stop waiting for an unreachable server, because the process is stopping."""

    @abstractmethod
    async def close(self) -> None:
        """Write all waiting change sets and close the database."""

    async def run(self, command: Command[T], *, is_prepared: bool = False) -> T:
        """Read, decide and commit; repeat after a lost race. Return the command's result. A command that `is_prepared`
        has most likely read the data of its first attempt already.

        Raises the command's own DomainError, DomainError CONFLICT after too many lost races, StorageError.
        """
        for attempt in range(COMMAND_ATTEMPTS):
            changes, answer = await self._decide(command, is_prepared=is_prepared and not attempt)
            if changes.is_empty:
                return answer
            try:
                await self.commit(changes)
            except ConditionFailedError:
                continue
            return answer
        raise refuse(ConcurrentChange())

    async def _decide(self, command: Command[T], *, is_prepared: bool) -> tuple[ChangeSet, T]:
        return await self.read(command)

    def subscribe(self, table: str, listener: Callable[[], None]) -> None:
        """Call the listener on the running event loop after each commit that inserts rows into the table, or changes
        rows of a table of `WATCHED`."""
        self._loop = asyncio.get_running_loop()
        self._listeners.setdefault(table, []).append(listener)

    def unsubscribe(self, table: str, listener: Callable[[], None]) -> None:
        """Stop calling the listener."""
        self._listeners.get(table, []).remove(listener)

    def subscribe_jobs(self, listener: JobListener) -> None:
        """Call the listener on the running event loop after each commit that inserts due rows, with these rows; with
        None if they are not known."""
        self._loop = asyncio.get_running_loop()
        self._job_listeners.append(listener)

    def unsubscribe_jobs(self, listener: JobListener) -> None:
        """Stop calling the listener."""
        self._job_listeners.remove(listener)

    def subscribe_orders(self, listener: OrderListener) -> None:
        """Call the listener after each commit of this process that changes orders, with their shops and codes."""
        self._order_listeners.append(listener)

    def announce(self, table: str) -> None:
        """Call the subscribers of the table, here and in other processes, although it got no new row."""
        self._notify(News({table}, []))

    def _notify(self, news: News) -> None:
        for table in news.tables:
            for listener in tuple(self._listeners.get(table, ())):
                listener()
        if news.orders:
            for order_listener in self._order_listeners:
                order_listener(news.orders)
        if news.jobs is None or news.jobs:
            for job_listener in tuple(self._job_listeners):
                job_listener(news.jobs)
