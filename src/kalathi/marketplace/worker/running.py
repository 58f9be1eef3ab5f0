"""The worker: read due rows of our shops, run the handler of each kind, and write the results.

Rows are read ahead, so that a free slot always finds a row. Only this worker runs the jobs of its shops, so it keeps
their progress in memory (`job_queue.py`): jobs that wait, jobs that run, and results that are not written yet.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from kalathi.marketplace.kernel.clock import BusinessClock, real_millis
from kalathi.marketplace.kernel.due import DueRow, Found, Wanted, find_due, find_earliest_by_kind, repeat_at
from kalathi.marketplace.kernel.shards import shard_of
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, NewJob, StorageError
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.worker.job_kinds import Job, JobKind
from kalathi.marketplace.worker.job_queue import JobQueue
from kalathi.marketplace.worker.ownership import Ownership
from kalathi.marketplace.worker.recording import Callbacks, Recorder, Result, log_outdated

_log = structlog.get_logger("kalathi.worker")

# The longest delay until the worker notices a due row that did not wake it: after a missed notification, a change of
# owners, or an error.
_POLL_SECONDS: Final = 1.0
# A read of one row costs as much as a read of fifty. So under load, with `_LOAD` slots in use, the worker pauses
# between reads.
_BETWEEN_READS_SECONDS: Final = 0.005
_LOAD: Final = 16
_FEW_SHOPS: Final = 8
# The most results that may wait for a slow disk, and the most bytes of memory that rows may hold.
_MOST_RESULTS: Final = 1000
_MOST_BYTES: Final = 64 * 2**20
# A row that has waited this long for a slot is read again, because the shop's URL may have changed.
_MOST_WAIT_SECONDS: Final = 5.0
# The pause before a job whose outcome could not be written runs again.
_COOLING_SECONDS: Final = 5.0
_DRAIN_SECONDS: Final = 5.0
_FIRST_PAUSE_MILLIS: Final = 60_000
_LONGEST_PAUSE_MILLIS: Final = 3_600_000


def _limit_bytes(jobs: list[Job], free_bytes: int) -> list[Job]:
    """Return the first jobs that fit into the free memory, and at least one if there is any."""
    kept: list[Job] = []
    for job in jobs:
        free_bytes -= job.weight
        if kept and free_bytes < 0:
            break
        kept.append(job)
    return kept


class Worker:
    """The worker of one process: call `run`, then `end`, then `drain`."""

    def __init__(
        self,
        database: Database,
        clock: BusinessClock,
        job_kinds: Sequence[JobKind],
        *,
        most_bytes: int = _MOST_BYTES,
        real: Callable[[], int] = real_millis,
        is_alone: bool = False,
        name: str = "",
    ) -> None:
        """`most_bytes` limits the memory of rows that were read. `real` returns the time of leases, in milliseconds
        since 1970. A worker that `is_alone` owns all the shops that it reads: on a database that no other process
        serves, and for the listeners of one shop. `name` is unique among the workers of the database; by default it is
        random. Create the worker on a running event loop."""
        self._database = database
        self._clock = clock
        self._most_bytes = most_bytes
        self._real = real
        self._ownership: Ownership | None = None
        if database.is_shared and not is_alone:
            self._ownership = Ownership(database, real, self._change_shards, name)
            self._ownership.busy = self._list_busy
        callbacks = Callbacks(
            fence=lambda shops: self._ownership.fence(shops) if self._ownership else [],
            settled=self._settle,
            outdated=self._note_outdated,
            put_off=self._put_off,
            resumed=self.wake,
        )
        self._recorder = Recorder(database, callbacks)
        self._loop = asyncio.get_running_loop()
        self._awake = asyncio.Event()
        # Whether jobs of any shop may be due. If not, only shops are read that are known to have more jobs.
        self._has_news = True
        self._next_due_at: int | None = None
        self._stopping = False
        # Monotonic time of the last whole turn, in seconds; None before the first.
        self.last_turn_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._owning: asyncio.Task[None] | None = None
        self._cooling: set[asyncio.TimerHandle] = set()
        self._read_at = 0.0
        self._queues = [JobQueue(job_kind) for job_kind in job_kinds]
        self._by_kind: dict[str, JobQueue] = {queue.job_kind.kind: queue for queue in self._queues}
        self._bytes = 0

    def wake(self) -> None:
        """Wake the worker, because a job of any shop may be due."""
        self._has_news = True
        self._awake.set()

    def _note_jobs(self, jobs: Sequence[NewJob] | None) -> None:
        """Note new due rows. So the next read asks only for the shops that have some."""
        if jobs is None:
            self.wake()
            return
        now = self._clock.now_millis()
        for kind, shop_id, due_at in jobs:
            queue = self._by_kind.get(kind)
            if queue is None or not self._owns(shop_id):
                continue
            if due_at <= now:
                queue.note_jobs(shop_id)
            elif self._next_due_at is None or due_at < self._next_due_at:
                self._next_due_at = due_at
            self._awake.set()

    async def run(self) -> None:
        """Read and run jobs until `end` is called."""
        self._database.subscribe_jobs(self._note_jobs)
        if self._ownership is not None:
            self._owning = asyncio.create_task(self._ownership.run())
        try:
            while not self._stopping:
                await self._run_turn()
        finally:
            self._database.unsubscribe_jobs(self._note_jobs)
            if self._ownership is not None and self._owning is not None:
                self._ownership.end()
                await self._owning

    async def _run_turn(self) -> None:
        self._awake.clear()
        try:
            seconds = await self._turn()
            self.last_turn_at = time.monotonic()
        except Exception:  # noqa: BLE001  (a database error must not end the worker; it tries again)
            _log.exception("read_ahead_failed")
            self._awake.clear()  # Pause before the next attempt, even if a job has ended in the meantime.
            self._has_news = True
            seconds = _POLL_SECONDS
        if seconds > 0:
            await self._rest(seconds)

    def end(self) -> None:
        """Stop reading, so that `run` returns."""
        self._stopping = True
        self.wake()

    async def drain(self) -> None:
        """Finish the jobs in flight, and hand our shops over to other workers. Call it after `run` has returned. A job
        that is still unfinished after 5 seconds is cancelled, and runs again later."""
        for queue in self._queues:
            self._drop(queue, queue.waiting_shops())
        if self._ownership is not None:
            await self._ownership.hand_over(only_idle=True)
        loop = self._loop
        ends_at = loop.time() + _DRAIN_SECONDS
        while unfinished := self._list_unfinished():
            if loop.time() >= ends_at:
                break
            await asyncio.wait(unfinished, timeout=ends_at - loop.time())
        for task in self._list_unfinished():
            task.cancel()
        await asyncio.gather(*self._list_unfinished(), return_exceptions=True)
        for timer in self._cooling:
            timer.cancel()
        if self._ownership is not None:
            await self._ownership.hand_over()

    def _list_unfinished(self) -> set[asyncio.Task[None]]:
        return self._tasks | self._recorder.tasks

    async def _rest(self, seconds: float) -> None:
        # A timer costs a tenth of `wait_for`, which creates a task.
        timer = self._loop.call_later(seconds, self.wake)
        await self._awake.wait()
        timer.cancel()

    async def _turn(self) -> float:
        """Read due rows, and return the seconds to sleep unless the worker is woken."""
        if len(self._tasks) >= _LOAD:
            now = self._loop.time()
            await asyncio.sleep(self._read_at + _BETWEEN_READS_SECONDS - now)
        for queue in self._queues:
            self._start_jobs(queue)  # They may have waited for results to be written.
        queues = [queue for queue in self._queues if queue.room > 0]
        if not queues or self._bytes >= self._most_bytes or self._is_behind():
            return _POLL_SECONDS
        if self._has_news:
            self._has_news = False
            earliest = await self._database.read_point(find_earliest_by_kind)
            now = self._clock.now_millis()
            found = [
                await self._read(queue, is_whole=True)
                for queue in queues
                if earliest.get(queue.job_kind.kind, now + 1) <= now
            ]
            wanted = {queue.job_kind.kind for queue in self._queues}
            self._next_due_at = min((at for kind, at in earliest.items() if kind in wanted), default=None)
        else:
            found = [await self._read(queue, is_whole=False) for queue in queues if queue.more]
        return 0.0 if any(found) else self._seconds_to_rest()

    def _seconds_to_rest(self) -> float:
        """Return the time until the next job is due, and at most the time after which all shops are looked at again."""
        if self._next_due_at is None:
            return _POLL_SECONDS
        seconds = (self._next_due_at - self._clock.now_millis()) / 1000
        return min(seconds, _POLL_SECONDS) if seconds > 0 else _POLL_SECONDS

    def _is_behind(self) -> bool:
        """Whether too many results wait for the disk."""
        return self._recorder.unwritten >= _MOST_RESULTS

    async def _read(self, queue: JobQueue, *, is_whole: bool) -> bool:
        """Read due rows: `is_whole` of all shops, else of those that may have more. Return whether there were any."""
        job_kind, at = queue.job_kind, self._loop.time()
        noted = queue.take_more()
        wanted = self._make_wanted(queue, None if is_whole else list(noted))

        def query(view: View) -> tuple[Found, list[Job]]:
            found = find_due(view, wanted)
            rows = found.rows
            prepared = job_kind.prepare(view, rows) if job_kind.prepare and rows else [None] * len(rows)
            return found, [Job(row, what, job_kind.weigh(what), at) for row, what in zip(rows, prepared, strict=True)]

        ended_before = queue.ended
        is_small = not is_whole and len(noted) <= _FEW_SHOPS
        with self._database.metrics.read_ahead_seconds.time():
            found, jobs = await self._database.read_ahead(query, is_small=is_small)
        queue.note_read(found, noted, wanted.held, ended_before)
        self._read_at = self._loop.time()
        # The shop may have another owner since the read began.
        jobs = [job for job in jobs if self._may_run(job.row.shop_id)]
        kept = _limit_bytes(jobs, self._most_bytes - self._bytes)
        for job in jobs[len(kept) :]:
            queue.more.setdefault(job.row.shop_id, 0)
        self._bytes += sum(job.weight for job in kept)
        queue.add(kept)
        self._start_jobs(queue)
        return bool(kept)

    def _make_wanted(self, queue: JobQueue, shops: Sequence[str] | None) -> Wanted:
        job_kind, is_hurried = queue.job_kind, self._clock.is_moving
        return Wanted(
            job_kind.kind,
            now_millis=self._clock.now_millis(),
            real_millis=self._real(),
            limit=queue.room,
            most_of=lambda shop_id: queue.most_to_read(shop_id, is_hurried=is_hurried),
            # A copy from before the read: the row of a result that is written during the read may still be found.
            held={shop_id: frozenset(names) for shop_id, names in queue.held.items()},
            owns=self._may_run,
            shops=(job_kind.only_shop,) if job_kind.only_shop else shops,
            of_listeners=bool(job_kind.only_shop),
        )

    def _owns(self, shop_id: str) -> bool:
        return self._ownership is None or self._ownership.owns(shop_id)

    def _may_run(self, shop_id: str) -> bool:
        """Whether jobs of a shop may be read and started. An attempt that cannot be recorded is not made."""
        return self._owns(shop_id) and not self._recorder.is_stuck(shop_id)

    def _start_jobs(self, queue: JobQueue) -> None:
        """Start a task for each job that may start now."""
        while (job := self._next_job(queue)) is not None:
            task = asyncio.create_task(self._work_off(queue, job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next_job(self, queue: JobQueue) -> Job | None:
        """Take a slot for the next job that may start. Jobs that waited too long, or that may not run now, are
        dropped."""
        if self._is_behind():
            return None
        now = self._loop.time()
        while (job := queue.start(is_hurried=self._clock.is_moving)) is not None:
            if now - job.read_at <= _MOST_WAIT_SECONDS and self._may_run(job.row.shop_id):
                return job
            self._bytes -= job.weight
            queue.give_back(job.row)
            self._awake.set()
        return None

    async def _work_off(self, queue: JobQueue, first: Job) -> None:
        """Run jobs in one slot, one after the other."""
        job: Job | None = first
        while job is not None:
            await self._work(queue, job)
            job = self._next_job(queue)
            if queue.may_start:  # The end of a job may allow more than one other to start.
                self._start_jobs(queue)
        self._awake.set()

    async def _work(self, queue: JobQueue, job: Job) -> None:
        job_kind, row = queue.job_kind, job.row
        loop = self._loop
        started = loop.time()
        try:
            result = await (job_kind.handle(row) if job_kind.prepare is None else job_kind.handle(row, job.prepared))
        except (ConditionFailedError, StorageError) as error:
            _not_written(row, error)
            self._cool(queue, row)
        except Exception:  # noqa: BLE001  (one faulty row must not end the worker; it is logged and repeated later)
            _log.exception("job_failed", kind=row.kind, shop_id=row.shop_id, subject=row.subject)
            await self._put_off(Result(queue, row, None))
        else:
            if job_kind.record is not None:
                self._recorder.add(Result(queue, row, result))
            else:
                queue.let_go(row)
        finally:
            queue.end(row, loop.time() - started)
            self._bytes -= job.weight
            if queue.room:
                self._awake.set()

    def _settle(self, result: Result) -> None:
        """Let go of a row whose result is written or refused: its retry, or the event that waited for it, can be read
        now."""
        result.queue.let_go(result.row)
        self._awake.set()
        if self._ownership is not None:
            self._ownership.jobs_ended()

    def _note_outdated(self, result: Result) -> None:
        """Let go of a row whose result was refused. If the database has several places, hold it for a while: its shop
        may have moved to another one, and until the database knows this, we would read the old row again and again."""
        if self._database.count_places() == 1:
            self._settle(result)
            return
        self._cool(result.queue, result.row)
        if self._ownership is not None:
            self._ownership.jobs_ended()

    def _cool(self, queue: JobQueue, row: DueRow) -> None:
        """Hold a row whose outcome was not written for a while: at once, the job would most likely fail again."""

        def let_go() -> None:
            self._cooling.discard(timer)
            queue.let_go(row)
            self._awake.set()

        timer = self._loop.call_later(_COOLING_SECONDS, let_go)
        self._cooling.add(timer)

    def _drop(self, queue: JobQueue, shop_ids: Sequence[str]) -> None:
        for job in queue.drop_waiting(shop_ids):
            self._bytes -= job.weight

    def _change_shards(self) -> None:
        """Drop the waiting jobs of shops that are no longer ours, and read those of new ones."""
        for queue in self._queues:
            self._drop(queue, [shop_id for shop_id in queue.waiting_shops() if not self._owns(shop_id)])
        self.wake()

    def _list_busy(self) -> set[int]:
        """Return the shards of shops with jobs that run, or whose results are not written."""
        return {shard_of(shop_id) for queue in self._queues for shop_id in queue.held}

    async def _put_off(self, result: Result) -> None:
        """Put off a row after an unexpected failure of its job, each time for longer."""
        row = result.row
        pause_millis = min(_FIRST_PAUSE_MILLIS * 2 ** min(row.attempts, 10), _LONGEST_PAUSE_MILLIS)
        try:
            await self._database.commit(ChangeSet(repeat_at(row, self._clock.now_millis() + pause_millis)))
        except (ConditionFailedError, StorageError) as error:
            _log.warning("postpone_failed", kind=row.kind, subject=row.subject, error=str(error))
            self._cool(result.queue, row)
        else:
            result.queue.let_go(row)


def _not_written(row: DueRow, error: Exception) -> None:
    """Log an outcome that was not written. The job runs again."""
    if isinstance(error, ConditionFailedError):
        log_outdated(row)
    else:
        _log.error("outcome_not_written", kind=row.kind, subject=row.subject, error=str(error))
