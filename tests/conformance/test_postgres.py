"""PostgreSQL only: several processes on one database, and lost connections."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import cast

import psycopg
import pytest

from kalathi.marketplace.kernel import due
from kalathi.marketplace.kernel.due import DueKind
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.storage import migrating
from kalathi.marketplace.kernel.storage.changes import (
    Add,
    ChangeSet,
    ConditionFailedError,
    Insert,
    NewJob,
    StorageError,
    Update,
)
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.kernel.storage.opening import open_database
from kalathi.marketplace.kernel.storage.postgres import PostgresDatabase
from kalathi.marketplace.kernel.storage.postgres_writing import PostgresWriter
from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.marketplace.kernel.storage.spread.nodes import NodeDownError, Nodes
from kalathi.marketplace.kernel.storage.spread.shard_map import Node, ShardMap
from kalathi.marketplace.kernel.storage.spread.writing import NodeWriter
from tests.databases import drop_postgres, emptied, empty_postgres, fresh_postgres, start_server
from tests.market import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def url() -> Iterator[str]:
    """A database with all tables and no rows."""
    fresh = fresh_postgres()
    yield fresh
    drop_postgres(fresh)


@asynccontextmanager
async def _processes(url: str, count: int) -> AsyncIterator[list[Database]]:
    """One database object for each simulated process."""
    opened = [await open_database(url) for _ in range(count)]
    try:
        yield opened
    finally:
        for database in opened:
            await database.close()


def _counter(name: str, value: int = 1) -> Insert:
    return Insert("counters", {"name": name, "value": value})


def _names(view: View) -> set[str]:
    return {row[0] for row in view.all("SELECT name FROM counters", {})}


def _cut_all_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_an_emptied_database_is_as_good_as_a_new_one(url: str) -> None:
    cart = Insert("carts", {"cart_id": "c", "document": b"{}"})
    for _ in range(2):
        async with _processes(url, 1) as [database]:
            await database.commit(ChangeSet(_counter("a"), cart))
        assert emptied(url) == url
        with psycopg.connect(url) as connection:
            for table in METADATA.tables:
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
            assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (migrating.HEAD,)


async def test_every_commit_reports_its_outcome_while_connections_break(url: str) -> None:
    async with _processes(url, 2) as databases:
        outcomes: dict[str, bool] = {}
        ended = asyncio.Event()

        async def write(worker: int) -> None:
            number = 0
            while not ended.is_set():
                name = f"{worker}-{number}"
                try:
                    await databases[worker % 2].commit(ChangeSet(_counter(name)))
                except StorageError:
                    outcomes[name] = False
                else:
                    outcomes[name] = True
                number += 1

        async def read() -> None:
            while not ended.is_set():
                await databases[0].read(_names)

        busy = [asyncio.create_task(write(worker)) for worker in range(8)] + [asyncio.create_task(read())]
        for _ in range(25):
            before = len(outcomes)
            await asyncio.to_thread(_cut_all_connections, url)
            async with asyncio.timeout(20):
                while len(outcomes) < before + 10:
                    await asyncio.sleep(0.002)
        ended.set()
        await asyncio.gather(*busy)
        present = await databases[1].read(_names)
        assert present == {name for name, written in outcomes.items() if written}
        assert len(present) > 250


def _transaction(connection: psycopg.Connection) -> str:
    row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
    assert row is not None
    return str(row[0])


def test_a_commit_with_a_lost_answer_is_recognised_by_its_mark(url: str) -> None:
    writer = PostgresWriter(lambda: psycopg.connect(url, autocommit=True))
    assert writer.write([ChangeSet(_counter("a"))]) == [None]
    with psycopg.connect(url, autocommit=True) as other:
        ended = _transaction(other)
    assert writer._has_happened(ended, 1) is True
    writer._mark += 1  # A group that never reached the server.
    assert writer._has_happened(ended, 1) is False, "whatever has become of the transaction that has its id by now"
    assert writer.write([ChangeSet(_counter("b"))]) == [None]
    writer.close()


class LosingConnection(psycopg.Connection):
    """Breaks after the group's second round trip, so that the answer to its COMMIT is lost."""

    trips = 0

    @contextlib.contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        with super().pipeline() as pipeline:
            yield pipeline
        self.trips += 1
        if self.trips == 2:
            raise psycopg.OperationalError("the connection is lost")


def test_a_refused_set_stays_refused_when_the_answer_to_commit_is_lost(url: str) -> None:
    connections: list[type[psycopg.Connection]] = [LosingConnection, psycopg.Connection]
    writer = PostgresWriter(lambda: connections.pop(0).connect(url, autocommit=True))
    refused = ChangeSet(Update("counters", {"name": "no such"}, {"value": 1}))
    outcomes = writer.write([ChangeSet(_counter("a")), refused])
    assert outcomes[0] is None
    assert isinstance(outcomes[1], ConditionFailedError)
    assert not connections
    writer.close()


class OneNode:
    """The nodes of a cluster with one server, which is this one."""

    def __init__(self) -> None:
        self.node = Node(1, "here", 1)
        self.map = ShardMap([("node_marks", 1, -(2**31), self.node)], self.node)
        self.doubts = 0

    def find_down(self, _nodes: Iterable[Node]) -> None:
        """Every node answers."""

    def doubt(self) -> None:
        self.doubts += 1


def test_a_warning_of_a_commit_makes_the_writer_look_for_its_mark(url: str) -> None:
    """Citus says so if a node has not answered a COMMIT, and tells the client that all is well."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE WARNING 'failed to commit'; RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON counters DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION warn()"
        )
    connected: list[psycopg.Connection] = []
    nodes, refusals = OneNode(), [False, True, True, False]

    def connect() -> psycopg.Connection:
        if refusals.pop(0):
            raise NodeDownError(nodes.node)  # It restarts, and is back in a moment.
        connected.append(psycopg.connect(url, autocommit=True))
        return connected[-1]

    writer = NodeWriter(connect, cast(Nodes, nodes), nodes.node)
    refused = ChangeSet(Update("counters", {"name": "no such"}, {"value": 1}))
    outcomes = writer.write([ChangeSet(_counter("a")), refused])
    assert outcomes[0] is None
    assert isinstance(outcomes[1], ConditionFailedError)
    assert len(connected) == 2, "the mark is read on a new connection"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP FUNCTION warn CASCADE")
        assert connection.execute("SELECT count(*), max(mark) FROM node_marks").fetchone() == (1, 1)
    assert writer.write([ChangeSet(_counter("b"))]) == [None]
    assert len(connected) == 2
    writer.close()


def test_a_transaction_id_reused_after_a_crash_is_not_mistaken() -> None:
    server = start_server()
    url = server.url
    migrating.migrate_postgres(url)
    writer = PostgresWriter(lambda: psycopg.connect(url, autocommit=True))
    assert writer.write([ChangeSet(_counter("a"))]) == [None]
    lost = psycopg.connect(url, autocommit=True)
    lost.execute("CHECKPOINT")
    lost.execute("BEGIN")
    transaction = _transaction(lost)
    lost.execute("INSERT INTO counters (name, value) VALUES ('b', 1)")
    server.restart("immediate")
    with contextlib.suppress(psycopg.Error):
        lost.close()
    with psycopg.connect(url, autocommit=True) as other:
        for name in ("c", "d", "e"):
            other.execute("INSERT INTO counters (name, value) VALUES (%s, 1)", [name])
        status = other.execute("SELECT pg_xact_status(%s::xid8)", [transaction]).fetchone()
        assert status == ("committed",), "another one has it by now"
    writer._mark += 1
    assert writer._has_happened(transaction, lost.info.backend_pid if not lost.closed else 1) is False
    writer.close()


def test_an_undelivered_commit_is_detected_and_its_locks_released(url: str) -> None:
    """A firewall dropped the connection: we know it, while the server still waits for the COMMIT."""
    writer = PostgresWriter(lambda: psycopg.connect(url, autocommit=True))
    with contextlib.closing(psycopg.connect(url, autocommit=True)) as forgotten:
        forgotten.execute("BEGIN")
        transaction = _transaction(forgotten)
        forgotten.execute("INSERT INTO counters (name, value) VALUES ('a', 1)")
        assert writer._has_happened(transaction, forgotten.info.backend_pid) is False
        assert writer.write([ChangeSet(_counter("a"))]) == [None]
    writer.close()


def test_a_transaction_id_unknown_to_the_server_was_not_committed(url: str) -> None:
    writer = PostgresWriter(lambda: psycopg.connect(url, autocommit=True))
    assert writer._has_happened(str(2**40), 1) is False
    writer.close()


async def test_during_an_outage_later_callers_fail_without_waiting() -> None:
    database = PostgresDatabase("postgresql://nobody@127.0.0.1:1/none")
    first = asyncio.gather(*(database.read_point(_names) for _ in range(8)), return_exceptions=True)
    async with asyncio.timeout(14):
        assert {type(error) for error in await first} == {StorageError}
    async with asyncio.timeout(4):
        for _ in range(8):
            with pytest.raises(StorageError):
                await database.read_point(_names)
    database.stop_waiting()
    async with asyncio.timeout(4):
        await database.close()


async def test_counters_of_several_processes_add_up_and_never_deadlock(url: str) -> None:
    async with _processes(url, 3) as databases:
        await databases[0].commit(ChangeSet(_counter("a", 0), _counter("b", 0)))
        chance = random.Random(1)

        async def bump(database: Database) -> None:
            for _ in range(40):
                names = chance.sample(["a", "b"], 2)
                parts = [Update("counters", {"name": name}, {"value": Add(1)}) for name in names]
                await database.commit(ChangeSet(*parts))

        await asyncio.gather(*(bump(database) for database in databases * 4))
        rows = await databases[0].read(lambda view: view.all("SELECT name, value FROM counters ORDER BY name", {}))
        assert rows == [("a", 480), ("b", 480)]


async def _until_listening(url: str, count: int) -> None:
    """Wait until so many processes listen. Each notifies its subscribers once when it begins: before this function
    returns, soon after, or before they have subscribed."""
    listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'"
    with psycopg.connect(url, autocommit=True) as connection:
        await until(lambda: connection.execute(listening).fetchone() == (count,))


async def test_other_processes_are_notified_of_new_rows(url: str) -> None:
    async with _processes(url, 2) as (writer, listener):
        heard = asyncio.Event()
        listener.subscribe("due", heard.set)
        await _until_listening(url, 2)
        async with asyncio.timeout(20):
            # The first wait can end with the notification of the beginning, the second cannot.
            for name in ("a", "b"):
                heard.clear()
                await writer.commit(ChangeSet(_counter(name)))
                await heard.wait()


async def test_other_processes_are_told_which_jobs_are_due(url: str) -> None:
    """Unless they are too many for one NOTIFY: then all shops are looked at."""
    async with _processes(url, 2) as (writer, listener):
        heard: asyncio.Queue[list[NewJob] | None] = asyncio.Queue()
        listener.subscribe_jobs(lambda jobs: heard.put_nowait(None if jobs is None else list(jobs)))

        async def plan(count: int) -> list[NewJob] | None:
            rows = [
                due.plan(DueKind.DELIVERY, f"shop{number}", f"{count}", 1, due_at=number, anchor_at=number)
                for number in range(count)
            ]
            await writer.commit(ChangeSet(*rows))
            return await heard.get()

        await _until_listening(url, 2)
        async with asyncio.timeout(20):
            # None is the notification of the beginning.
            first = await plan(3) or await heard.get()
            assert sorted(first or []) == [NewJob("delivery", f"shop{number}", number) for number in range(3)]
            assert await plan(1000) is None
            assert len(await plan(2) or []) == 2


async def test_processes_that_start_together_create_the_tables_once() -> None:
    url = empty_postgres()
    try:
        databases = await asyncio.gather(*(open_database(url) for _ in range(4)))
        await databases[0].commit(ChangeSet(_counter("a")))
        assert await databases[3].read(_names) == {"a"}
        for database in databases:
            await database.close()
    finally:
        drop_postgres(url)


async def test_a_text_with_a_nul_character_is_refused_alone(url: str) -> None:
    async with _processes(url, 1) as [database]:
        outcomes = await asyncio.gather(
            database.commit(ChangeSet(_counter("a"))),
            database.commit(ChangeSet(_counter("nul\0"))),
            database.commit(ChangeSet(_counter("a"))),
            return_exceptions=True,
        )
        assert outcomes[0] is None
        assert isinstance(outcomes[1], DomainError)
        assert outcomes[1].code is ErrorCode.INVALID_PARAMETER
        assert isinstance(outcomes[2], ConditionFailedError)
        sql = "SELECT value FROM counters WHERE name = :name"
        assert await database.read(lambda view: view.one(sql, {"name": "nul\0"})) is None


async def test_an_unreachable_server_raises_storage_error() -> None:
    with pytest.raises(StorageError):
        await open_database("postgresql://nobody@127.0.0.1:1/none")


async def test_the_texts_of_every_key_are_compared_byte_by_byte(url: str) -> None:
    async with _processes(url, 1) as [database]:
        names = ["Ω", "a", "B", "ά", "_", "1"]
        await database.commit(ChangeSet(*(_counter(name) for name in names)))
        found = await database.read(
            lambda view: [row[0] for row in view.all("SELECT name FROM counters ORDER BY name", {})]
        )
        assert found == sorted(names)
    assert METADATA.tables
