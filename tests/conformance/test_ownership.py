"""Workers that share a database: each shop has one owner, and only the owner's results are written."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from kalathi.marketplace.kernel import due
from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.due import DueKind, DueRow
from kalathi.marketplace.kernel.shards import LEASE_MILLIS, SHARDS, shard_of
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, Insert
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.worker.job_kinds import JobKind
from kalathi.marketplace.worker.ownership import Ownership
from kalathi.marketplace.worker.running import Worker
from tests.market import FakeTime, until

pytestmark = pytest.mark.anyio


class Member:
    """A worker's ownership, with its own clock."""

    def __init__(self, database: Database, time: FakeTime) -> None:
        self.busy: set[int] = set()
        self.ownership = Ownership(database, time, lambda: None)
        self.ownership.busy = lambda: self.busy
        self._running = asyncio.create_task(self.ownership.run())

    def count(self) -> int:
        """The number of shards whose jobs it may start."""
        return sum(self.ownership.owns(shop_id) for shop_id in _ONE_OF_EACH)

    async def crash(self) -> None:
        """End without handing over."""
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running

    async def end(self) -> None:
        """End as SIGTERM does."""
        self.ownership.end()
        await self._running
        await self.ownership.hand_over()


def _find_one_of_each() -> list[str]:
    names: dict[int, str] = {}
    number = 0
    while len(names) < SHARDS:
        names.setdefault(shard_of(f"s{number}"), f"s{number}")
        number += 1
    return list(names.values())


_ONE_OF_EACH = _find_one_of_each()


def _note(name: str) -> Insert:
    return Insert("counters", {"name": name, "value": 1})


async def test_workers_share_the_shards_as_they_come_and_go(database: Database) -> None:
    time = FakeTime()
    first = Member(database, time)
    await until(lambda: first.count() == SHARDS)
    second = Member(database, time)
    await until(lambda: (first.count(), second.count()) == (SHARDS // 2, SHARDS // 2))
    assert not any(first.ownership.owns(shop) and second.ownership.owns(shop) for shop in _ONE_OF_EACH)
    await first.end()
    await until(lambda: second.count() == SHARDS)
    await second.end()
    assert await database.read(lambda view: view.all("SELECT shard FROM shards UNION SELECT 0 FROM workers", {})) == []


async def test_a_crashed_workers_shards_are_taken_over_when_its_lease_ends(database: Database) -> None:
    time = FakeTime()
    first = Member(database, time)
    await until(lambda: first.count() == SHARDS)
    await first.crash()
    second = Member(database, time)
    await asyncio.sleep(0)
    time.millis += LEASE_MILLIS - 1
    second.ownership._news.set()
    await until(lambda: second.ownership._lease_ends_at > time.millis)
    assert second.count() == 0
    time.millis += 1
    second.ownership._news.set()
    await until(lambda: second.count() == SHARDS)
    await second.end()


async def test_a_worker_without_a_valid_lease_starts_nothing(database: Database) -> None:
    time = FakeTime()
    member = Member(database, time)
    await until(lambda: member.count() == SHARDS)
    await member.crash()
    time.millis += LEASE_MILLIS
    assert member.count() == 0


async def test_a_shard_with_running_jobs_is_given_up_when_they_have_ended(database: Database) -> None:
    time = FakeTime()
    first = Member(database, time)
    await until(lambda: first.count() == SHARDS)
    first.busy = set(range(SHARDS))
    second = Member(database, time)
    await until(lambda: first.count() == SHARDS // 2)
    assert second.count() == 0, "the jobs still run"
    first.busy = set()
    first.ownership.jobs_ended()
    await until(lambda: second.count() == SHARDS // 2)
    for member in (first, second):
        await member.end()


async def test_only_the_owners_results_are_written(database: Database) -> None:
    """Also when the owner before still believes that it owns the shop."""
    time, ahead = FakeTime(), FakeTime()
    first = Member(database, time)
    await until(lambda: first.count() == SHARDS)
    await first.crash()
    ahead.millis += LEASE_MILLIS
    second = Member(database, ahead)
    await until(lambda: second.count() == SHARDS)
    assert first.count() == SHARDS, "both believe it"
    for shop_id in ("s1", "s2"):
        with pytest.raises(ConditionFailedError):
            await database.commit(ChangeSet(*first.ownership.fence({shop_id}), _note(shop_id)))
        await database.commit(ChangeSet(*second.ownership.fence({shop_id}), _note(shop_id)))
    await second.end()


async def test_a_group_writes_the_owners_results_and_refuses_the_others(database: Database) -> None:
    time = FakeTime()
    member = Member(database, time)
    await until(lambda: member.count() == SHARDS)
    sets = []
    for number in range(40):
        fence = member.ownership.fence({f"s{number}"})
        if number % 3 == 0:
            fence = [part._replace(when={"token": 1}) for part in fence]
        sets.append(ChangeSet(*fence, _note(f"n{number:02}")))
    outcomes = await database.commit_each(sets)
    assert [type(outcome) for outcome in outcomes] == [
        ConditionFailedError if number % 3 == 0 else type(None) for number in range(40)
    ]
    written = await database.read(lambda view: view.all("SELECT name FROM counters ORDER BY name", {}))
    assert [row[0] for row in written] == [f"n{number:02}" for number in range(40) if number % 3]
    await member.end()


class Shared:
    """Workers on one database, and the jobs that each has run."""

    def __init__(self, database: Database, time: FakeTime) -> None:
        self._database = database
        self._time = time
        self.ran: list[tuple[int, str]] = []
        self.workers: list[Worker] = []

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        number = len(self.workers)

        async def handle(row: DueRow) -> DueRow:
            self.ran.append((number, row.shop_id))
            await asyncio.sleep(0)
            return row

        def record(rows: Sequence[DueRow]) -> ChangeSet:
            return ChangeSet(due.complete_all(rows))

        clock = BusinessClock(0, self._time)
        worker = Worker(self._database, clock, [JobKind(DueKind.EXPIRY, handle, 10, 10, record)], real=self._time)
        worker._ownership = worker._ownership or Ownership(self._database, self._time, worker._change_shards)
        worker._ownership.busy = worker._list_busy
        self.workers.append(worker)
        running = asyncio.create_task(worker.run())
        yield worker
        worker.end()
        await running
        await worker.drain()

    async def plan(self, subject: str) -> None:
        at = self._time.millis
        rows = [due.plan(DueKind.EXPIRY, shop, subject, 1, due_at=at, anchor_at=at) for shop in _ONE_OF_EACH]
        await self._database.commit(ChangeSet(*rows))


async def test_each_job_runs_once_while_workers_join_and_leave(database: Database) -> None:
    shared = Shared(database, FakeTime())
    async with shared.worker():
        await shared.plan("o1")
        await until(lambda: len(shared.ran) == SHARDS)
        async with shared.worker() as second:
            ownership = second._ownership
            assert ownership is not None
            await until(lambda: sum(ownership.owns(shop) for shop in _ONE_OF_EACH) == SHARDS // 2)
            await shared.plan("o2")
            await until(lambda: len(shared.ran) == 2 * SHARDS)
            assert sum(number == 1 for number, _ in shared.ran) == SHARDS // 2
        await shared.plan("o3")
        await until(lambda: len(shared.ran) == 3 * SHARDS)
        assert sum(number == 0 for number, _ in shared.ran) == 2 * SHARDS + SHARDS // 2
    assert await database.read(due.find_next_due_millis) is None
