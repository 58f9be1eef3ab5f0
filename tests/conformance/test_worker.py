"""The worker survives database errors and failing handlers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kalathi.marketplace.job_kinds import JobKind
from kalathi.marketplace.kernel import due
from kalathi.marketplace.kernel.clock import BusinessClock, real_millis
from kalathi.marketplace.kernel.due import DueKind, DueRow
from kalathi.marketplace.kernel.storage.changes import ChangeSet, StorageError
from kalathi.marketplace.kernel.storage.database import Database, Query, T
from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase
from kalathi.marketplace.worker import Worker
from tests.market import FakeTime, until

pytestmark = pytest.mark.anyio


class FailingDatabase(SqliteDatabase):
    """Fails to read a few times, as a locked or failing disk would."""

    stumbles = 0

    async def read(self, query: Query[T]) -> T:
        # Every read of a database ends here.
        if self.stumbles:
            self.stumbles -= 1
            raise StorageError("disk I/O error")
        return await super().read(query)


class Handler:
    """Does its work, but for the first `failures` times."""

    def __init__(self, database: Database, failures: int = 0) -> None:
        self.database = database
        self.failures = failures
        self.done: list[str] = []

    async def handle(self, row: DueRow) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("a bug")
        await self.database.commit(ChangeSet(due.complete(row)))
        self.done.append(row.subject)


@asynccontextmanager
async def _working(database: Database, handler: Handler, time: FakeTime) -> AsyncIterator[Worker]:
    worker = Worker(database, BusinessClock(0, time), [JobKind(DueKind.EXPIRY, handler.handle, 10, 10)])
    running = asyncio.create_task(worker.run())
    yield worker
    worker.end()
    await running
    await worker.drain()


async def _plan(database: Database, subject: str, time: FakeTime) -> None:
    await database.commit(
        ChangeSet(due.plan(DueKind.EXPIRY, "shop", subject, 1, due_at=time.millis, anchor_at=time.millis))
    )


async def _due_at(database: Database, millis: int) -> None:
    async with asyncio.timeout(20):
        while await database.read(due.find_next_due_millis) != millis:
            await asyncio.sleep(0.002)


async def test_the_worker_continues_after_database_errors(tmp_path: Path) -> None:
    database, time = FailingDatabase(tmp_path / "kalathi.db"), FakeTime()
    handler = Handler(database)
    async with _working(database, handler, time) as worker:
        database.stumbles = 5
        await _plan(database, "o1", time)

        def done() -> bool:
            worker.wake()
            return handler.done == ["o1"]

        await until(done)
    await database.close()


async def test_a_failed_job_is_retried_later_and_delays_no_other(tmp_path: Path) -> None:
    database, time = SqliteDatabase(tmp_path / "kalathi.db"), FakeTime()
    handler = Handler(database, failures=2)
    async with _working(database, handler, time) as worker:
        await _plan(database, "o1", time)
        await until(lambda: handler.failures == 1)
        await _due_at(database, time.millis + 60_000)
        time.millis += 60_000
        worker.wake()
        await _due_at(database, time.millis + 120_000)
        await _plan(database, "o2", time)
        await until(lambda: handler.done == ["o2"])
        time.millis += 120_000
        worker.wake()
        await until(lambda: handler.done == ["o2", "o1"])
    await database.close()


async def test_a_lost_lease_does_not_keep_other_results_from_being_recorded(tmp_path: Path) -> None:
    database, time = SqliteDatabase(tmp_path / "kalathi.db"), FakeTime()
    gate = asyncio.Event()
    begun: list[DueRow] = []

    async def handle(row: DueRow) -> DueRow:
        begun.append(row)
        await gate.wait()
        return row

    def record(rows: Sequence[DueRow]) -> ChangeSet:
        return ChangeSet(due.complete_all(rows))

    worker = Worker(database, BusinessClock(0, time), [JobKind(DueKind.EXPIRY, handle, 10, 10, record)])
    running = asyncio.create_task(worker.run())
    for subject in ("o1", "o2", "o3"):
        await _plan(database, subject, time)
    await until(lambda: len(begun) == 3)
    lost = next(row for row in begun if row.subject == "o2")
    stolen, [theirs] = due.claim([lost], real_millis())
    await database.commit(stolen)
    gate.set()

    async def left() -> list[str]:
        return await database.read(lambda view: [row[0] for row in view.all("SELECT subject FROM due", {})])

    async with asyncio.timeout(20):
        while await left() != ["o2"]:
            await asyncio.sleep(0.002)
    await database.commit(ChangeSet(due.complete(theirs)))
    worker.end()
    await running
    await worker.drain()
    await database.close()


async def test_jobs_claimed_ahead_are_released_when_the_worker_stops(tmp_path: Path) -> None:
    database, time = SqliteDatabase(tmp_path / "kalathi.db"), FakeTime()
    gate = asyncio.Event()
    begun: list[str] = []

    async def handle(row: DueRow) -> DueRow:
        begun.append(row.subject)
        await gate.wait()
        return row

    def record(rows: Sequence[DueRow]) -> ChangeSet:
        return ChangeSet(due.complete_all(rows))

    worker = Worker(database, BusinessClock(0, time), [JobKind(DueKind.EXPIRY, handle, 1, 10, record)])
    for subject in ("o1", "o2"):
        await _plan(database, subject, time)
    running = asyncio.create_task(worker.run())
    await until(lambda: begun == ["o1"])
    worker.end()
    await running
    gate.set()
    await worker.drain()
    rows = await database.read(lambda view: view.all("SELECT subject, lease FROM due", {}))
    assert rows == [("o2", 0)]
    assert begun == ["o1"]
    await database.close()


async def test_claimed_jobs_stay_within_the_memory_limit(tmp_path: Path) -> None:
    database, time = SqliteDatabase(tmp_path / "kalathi.db"), FakeTime()
    gate = asyncio.Event()
    begun: list[str] = []

    async def handle(row: DueRow, prepared: int) -> DueRow:
        begun.append(row.subject)
        await gate.wait()
        return row

    job_kind = JobKind(
        DueKind.EXPIRY,
        handle,
        10,
        10,
        record=lambda rows: ChangeSet(due.complete_all(rows)),
        prepare=lambda _view, found: [400] * len(found),
        weigh=lambda prepared: prepared,
    )
    for number in range(6):
        await _plan(database, f"o{number}", time)
    worker = Worker(database, BusinessClock(0, time), [job_kind], most_bytes=1000)
    running = asyncio.create_task(worker.run())
    await until(lambda: len(begun) >= 2)
    leased = await database.read(lambda view: view.all("SELECT subject FROM due WHERE lease <> 0", {}))
    assert len(leased) in {2, 3}, "two fit, and one more begins while there is any room"
    gate.set()
    await until(lambda: len(begun) == 6)
    worker.end()
    await running
    await worker.drain()
    await database.close()
