"""The worker survives database errors and failing handlers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kalathi.marketplace.kernel import due
from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.due import DueKind, DueRow
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, StorageError
from kalathi.marketplace.kernel.storage.database import Database, Query, T
from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase
from kalathi.marketplace.worker.job_kinds import JobKind
from kalathi.marketplace.worker.running import Worker
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


async def worker_rests(worker: Worker) -> None:
    """Wait until the worker has had two more turns."""
    for _ in range(2):
        before = worker.last_turn_at
        worker.wake()
        await until(lambda before=before: worker.last_turn_at != before)  # type: ignore[misc]  # Of a lambda with a default.


async def _plan(database: Database, subject: str, time: FakeTime, shop_id: str = "shop") -> None:
    await database.commit(
        ChangeSet(due.plan(DueKind.EXPIRY, shop_id, subject, 1, due_at=time.millis, anchor_at=time.millis))
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


class Gate:
    """A job kind whose jobs end when the gate opens, and whose results are written together."""

    def __init__(self, slots: int = 10) -> None:
        self.opened = asyncio.Event()
        self.begun: list[DueRow] = []
        self.kind = JobKind(
            DueKind.EXPIRY, self._handle, slots, slots, record=lambda rows: ChangeSet(due.complete_all(rows))
        )

    async def _handle(self, row: DueRow) -> DueRow:
        self.begun.append(row)
        await self.opened.wait()
        return row


async def _left(database: Database) -> list[str]:
    return await database.read(lambda view: [row[0] for row in view.all("SELECT subject FROM due", {})])


async def test_a_refused_result_does_not_keep_other_results_from_being_recorded(tmp_path: Path) -> None:
    database, time, gate = SqliteDatabase(tmp_path / "kalathi.db"), FakeTime(), Gate()
    worker = Worker(database, BusinessClock(0, time), [gate.kind])
    running = asyncio.create_task(worker.run())
    for subject in ("o1", "o2", "o3"):
        await _plan(database, subject, time)
    await until(lambda: len(gate.begun) == 3)
    stolen = next(row for row in gate.begun if row.subject == "o2")
    await database.commit(ChangeSet(due.repeat_at(stolen, time.millis + 1000)))
    gate.opened.set()
    async with asyncio.timeout(20):
        while await _left(database) != ["o2"]:
            await asyncio.sleep(0.002)
    worker.end()
    await running
    await worker.drain()
    await database.close()


async def test_jobs_read_ahead_do_not_start_when_the_worker_stops(tmp_path: Path) -> None:
    database, time, gate = SqliteDatabase(tmp_path / "kalathi.db"), FakeTime(), Gate(slots=1)
    worker = Worker(database, BusinessClock(0, time), [gate.kind])
    for subject in ("o1", "o2"):
        await _plan(database, subject, time)
    running = asyncio.create_task(worker.run())
    await until(lambda: len(gate.begun) == 1)
    worker.end()
    await running
    gate.opened.set()
    await worker.drain()
    assert await _left(database) == ["o2"]
    assert [row.subject for row in gate.begun] == ["o1"]
    await database.close()


class FullDisk(SqliteDatabase):
    """A database that can be read, but not written."""

    is_full = False
    writes = 0

    async def commit_each(self, sets: Sequence[ChangeSet]) -> list[Exception | None]:
        self.writes += 1
        if self.is_full:
            return [StorageError("database or disk is full") for _ in sets]
        return await super().commit_each(sets)


async def test_a_result_waits_for_a_full_disk_and_its_job_does_not_run_again(tmp_path: Path) -> None:
    database, time, gate = FullDisk(tmp_path / "kalathi.db"), FakeTime(), Gate()
    worker = Worker(database, BusinessClock(0, time), [gate.kind])
    running = asyncio.create_task(worker.run())
    await _plan(database, "o1", time)
    await until(lambda: len(gate.begun) == 1)
    await _plan(database, "o2", time)
    await until(lambda: len(gate.begun) == 2)
    database.is_full = True
    writes = database.writes
    gate.opened.set()
    await until(lambda: database.writes >= writes + 4)
    assert sorted(await _left(database)) == ["o1", "o2"]
    database.is_full = False
    await _plan(database, "o3", time)
    async with asyncio.timeout(20):
        while await _left(database):
            await asyncio.sleep(0.002)
    assert sorted(row.subject for row in gate.begun) == ["o1", "o2", "o3"], "once each"
    worker.end()
    await running
    await worker.drain()
    await database.close()


async def test_a_backlog_of_any_kind_is_worked_off_without_waiting_for_the_next_look(tmp_path: Path) -> None:
    database, time, gate = SqliteDatabase(tmp_path / "kalathi.db"), FakeTime(), Gate(slots=2)
    gate.opened.set()
    for number in range(100):
        await _plan(database, f"o{number}", time)
    worker = Worker(database, BusinessClock(0, time), [gate.kind])
    running = asyncio.create_task(worker.run())
    # Ten jobs are read at a time. With a look once a second, these would take ten seconds.
    async with asyncio.timeout(5):
        while await _left(database):
            await asyncio.sleep(0.002)
    worker.end()
    await running
    await worker.drain()
    await database.close()


async def test_no_job_starts_while_results_cannot_be_written(tmp_path: Path) -> None:
    database, time, gate = FullDisk(tmp_path / "kalathi.db"), FakeTime(), Gate(slots=2)
    for number in range(20):
        await _plan(database, f"o{number}", time)
    worker = Worker(database, BusinessClock(0, time), [gate.kind])
    running = asyncio.create_task(worker.run())
    await until(lambda: len(gate.begun) == 2)
    database.is_full = True
    gate.opened.set()
    writes = database.writes
    await until(lambda: database.writes >= writes + 4)
    begun = len(gate.begun)
    await until(lambda: database.writes >= writes + 6)
    assert len(gate.begun) == begun < 20
    database.is_full = False
    await until(lambda: len(gate.begun) == 20)
    worker.end()
    await running
    await worker.drain()
    assert await _left(database) == []
    await database.close()


class TwoPlaces(SqliteDatabase):
    """A database with shops at two places, of which one may be away."""

    is_away = False

    def place_of(self, key: str) -> str:
        return "away" if key == "away" else "here"

    async def commit_each(self, sets: Sequence[ChangeSet]) -> list[Exception | None]:
        outcomes: list[Exception | None] = []
        for changes in sets:
            places = {self.place_of(str(row[0])) for part in changes.guarded_many for row in part.rows}
            assert len(places) <= 1, "the results of each place are written by themselves"
            is_refused = self.is_away and "away" in places
            outcomes += [StorageError("no answer")] if is_refused else await super().commit_each([changes])
        return outcomes


async def test_results_of_a_place_that_is_away_hold_up_no_other_place(tmp_path: Path) -> None:
    database, time, gate = TwoPlaces(tmp_path / "kalathi.db"), FakeTime(), Gate(slots=4)
    gate.opened.set()
    worker = Worker(database, BusinessClock(0, time), [gate.kind])
    running = asyncio.create_task(worker.run())
    database.is_away = True
    await _plan(database, "a1", time, shop_id="away")
    await until(lambda: len(gate.begun) == 1)
    for number in range(20):
        await _plan(database, f"o{number}", time)
        await _plan(database, f"b{number}", time, shop_id="away")
    async with asyncio.timeout(20):
        while sum(name.startswith("o") for name in await _left(database)):
            await asyncio.sleep(0.002)
    away = [row.subject for row in gate.begun if row.shop_id == "away"]
    assert len(away) <= 4, "no attempt begins that cannot be recorded"
    database.is_away = False
    async with asyncio.timeout(20):
        while await _left(database):
            await asyncio.sleep(0.002)
    assert sorted(row.subject for row in gate.begun) == sorted({row.subject for row in gate.begun}), "once each"
    worker.end()
    await running
    await worker.drain()
    await database.close()


class MovedShop(SqliteDatabase):
    """A database of two places, in which a shop has moved away: its old rows can be read, and not written."""

    def count_places(self) -> int:
        return 2

    async def commit_each(self, sets: Sequence[ChangeSet]) -> list[Exception | None]:
        outcomes: list[Exception | None] = []
        for changes in sets:
            is_old = any(row[0] == "moved" for part in changes.guarded_many for row in part.rows)
            outcomes += [ConditionFailedError()] if is_old else await super().commit_each([changes])
        return outcomes


async def test_the_old_row_of_a_moved_shop_is_not_run_again_and_again(tmp_path: Path) -> None:
    database, time, gate = MovedShop(tmp_path / "kalathi.db"), FakeTime(), Gate()
    gate.opened.set()
    worker = Worker(database, BusinessClock(0, time), [gate.kind])
    running = asyncio.create_task(worker.run())
    await _plan(database, "m1", time, shop_id="moved")
    await until(lambda: len(gate.begun) == 1)
    for number in range(30):
        await _plan(database, f"o{number}", time)
        await until(lambda number=number: any(row.subject == f"o{number}" for row in gate.begun))  # type: ignore[misc]
    assert sum(row.shop_id == "moved" for row in gate.begun) == 1
    worker.end()
    await running
    await worker.drain()
    await database.close()


async def test_jobs_read_ahead_stay_within_the_memory_limit(tmp_path: Path) -> None:
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
    await worker_rests(worker)
    assert len(begun) in {2, 3}, "two fit, and one more begins while there is any room"
    gate.set()
    await until(lambda: len(begun) == 6)
    worker.end()
    await running
    await worker.drain()
    await database.close()
