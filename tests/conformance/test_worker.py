"""The worker outlives what stumbles: a database that does not answer, a handler that fails."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kalathi.marketplace.kernel import due
from kalathi.marketplace.kernel.changes import ChangeSet
from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.database import Database, View
from kalathi.marketplace.kernel.due import DueKind, DueRow
from kalathi.marketplace.worker import Duty, Worker
from tests.market import FakeTime, until

pytestmark = pytest.mark.anyio


class StumblingDatabase(Database):
    """Fails to read a few times, as a locked or failing disk would."""

    stumbles = 0

    @property
    def point(self) -> View:
        if self.stumbles:
            self.stumbles -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return super().point


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
        await self.database.commit(ChangeSet(due.done(row)))
        self.done.append(row.subject)


@asynccontextmanager
async def _working(database: Database, handler: Handler, time: FakeTime) -> AsyncIterator[Worker]:
    worker = Worker(database, BusinessClock(0, time), [Duty(DueKind.EXPIRY, handler.handle, 10, 10)])
    running = asyncio.create_task(worker.run())
    yield worker
    worker.end()
    await running
    await worker.drain()


async def _plan(database: Database, subject: str, time: FakeTime) -> None:
    await database.commit(
        ChangeSet(due.plan(DueKind.EXPIRY, "shop", subject, 1, due_at=time.millis, anchor_at=time.millis))
    )


async def test_the_worker_goes_on_after_the_database_has_stumbled(tmp_path: Path) -> None:
    database, time = StumblingDatabase(tmp_path / "kalathi.db"), FakeTime()
    handler = Handler(database)
    async with _working(database, handler, time) as worker:
        database.stumbles = 5
        await _plan(database, "o1", time)

        def done() -> bool:
            worker.ring()
            return handler.done == ["o1"]

        await until(done)
    database.close()


async def test_a_handler_that_fails_is_tried_again_later_and_holds_up_nobody(tmp_path: Path) -> None:
    database, time = Database(tmp_path / "kalathi.db"), FakeTime()
    handler = Handler(database, failures=2)
    async with _working(database, handler, time) as worker:
        await _plan(database, "o1", time)
        await until(lambda: handler.failures == 1)
        await until(lambda: (due.next_due_millis(database.point) or 0) == time.millis + 60_000)
        time.millis += 60_000
        worker.ring()
        await until(lambda: (due.next_due_millis(database.point) or 0) == time.millis + 120_000)
        await _plan(database, "o2", time)
        await until(lambda: handler.done == ["o2"])
        time.millis += 120_000
        worker.ring()
        await until(lambda: handler.done == ["o2", "o1"])
    database.close()
