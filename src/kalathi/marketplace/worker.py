"""The worker: claim free due rows, run the handler of each kind, and respect the limits on slots.

A slow or dead endpoint must never delay another shop. So the worker claims no more rows of a shop than the shop has
slots, and none of a shop without a free slot. In all it claims twice as many rows as there are slots, so that a slot
that becomes free has its next row at once.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from kalathi.marketplace.job_kinds import Claimed, JobKind, WorkerPool
from kalathi.marketplace.kernel.clock import BusinessClock, real_millis
from kalathi.marketplace.kernel.due import (
    DueRow,
    Wanted,
    claim,
    find_claimable,
    find_earliest_by_kind,
    free_all,
    release,
    repeat_at,
)
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, StorageError
from kalathi.marketplace.kernel.storage.database import Database, View

_log = structlog.get_logger("kalathi.worker")

# The longest delay until the worker notices a due row that did not wake it: after a missed notification, an expired
# lease, or an error.
_POLL_SECONDS: Final = 1.0
# A claim of one row costs as much as a claim of fifty. So under load, with `_LOAD` slots in use, the worker pauses
# between claims.
_BETWEEN_CLAIMS_SECONDS: Final = 0.005
_LOAD: Final = 16
# The most results that may wait for a slow disk, and the most bytes of memory that claimed rows may hold.
_MOST_RESULTS: Final = 1000
_MOST_BYTES: Final = 64 * 2**20
# A row that has waited this long for a slot is released: its job may take 12 s (the largest `webhook_timeout_seconds`),
# and its lease ends after 20 s.
_MOST_WAIT_SECONDS: Final = 5.0
# The pauses between attempts to write a result. They stop while the lease can still hold, because an expired lease
# would send the webhook twice.
_PAUSES_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 3.0)
_DRAIN_SECONDS: Final = 5.0
_FIRST_PAUSE_MILLIS: Final = 60_000
_LONGEST_PAUSE_MILLIS: Final = 3_600_000


_GIVEN_BACK: Final = object()
_Result = tuple[JobKind, DueRow, Any]


def _limit_bytes(work: list[Claimed], free_bytes: int) -> list[Claimed]:
    """Return the first rows that fit into the free memory, and at least one if there is any."""
    kept: list[Claimed] = []
    for claimed in work:
        free_bytes -= claimed.weight
        if kept and free_bytes < 0:
            break
        kept.append(claimed)
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
        frees_leases: bool = True,
    ) -> None:
        """`most_bytes` limits the memory of claimed rows. `real` returns the time of leases, in milliseconds since
        1970. Only the first worker of a process `frees_leases`."""
        self._database = database
        self._clock = clock
        self._most_bytes = most_bytes
        self._real = real
        self._leases_are_free = database.is_shared or not frees_leases
        self._awake = asyncio.Event()
        self._stopping = False
        # Monotonic time of the last whole turn, in seconds; None before the first.
        self.last_turn_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._claimed_at = 0.0
        self._pools = [WorkerPool(job_kind) for job_kind in job_kinds]
        self._bytes = 0
        self._results: list[_Result] = []
        self._recording: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Wake the worker, because a job may be due."""
        self._awake.set()

    async def run(self) -> None:
        """Claim and run jobs until `end` is called. If this is the only process of the database, first free the leases
        of the process before it. With several processes, the leases of a dead process expire."""
        self._database.subscribe("due", self.wake)
        try:
            while not self._stopping:
                await self._run_turn()
        finally:
            self._database.unsubscribe("due", self.wake)

    async def _run_turn(self) -> None:
        self._awake.clear()
        try:
            if not self._leases_are_free:
                await self._database.commit(free_all())
                self._leases_are_free = True
            seconds = await self._turn()
            self.last_turn_at = time.monotonic()
        except Exception:  # noqa: BLE001  (a database error must not end the worker; it tries again)
            _log.exception("claim_failed")
            seconds = _POLL_SECONDS
        if seconds > 0:
            await self._rest(seconds)

    def end(self) -> None:
        """Stop claiming, so that `run` returns."""
        self._stopping = True
        self.wake()

    async def drain(self) -> None:
        """Finish the jobs in flight, and release the rows that wait for a slot. Call it after `run` has returned. A job
        that is still unfinished after 5 seconds is cancelled, and repeated when its lease expires."""
        for pool in self._pools:
            while pool.ready:
                self._give_back(pool, pool.ready.popleft())
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _DRAIN_SECONDS
        while unfinished := self._list_unfinished():
            if loop.time() > ends_at:
                break
            await asyncio.wait(unfinished, timeout=ends_at - loop.time())
        for task in self._list_unfinished():
            task.cancel()
        await asyncio.gather(*self._list_unfinished(), return_exceptions=True)

    def _list_unfinished(self) -> set[asyncio.Task[None]]:
        return self._tasks if self._recording is None else {*self._tasks, self._recording}

    async def _rest(self, seconds: float) -> None:
        # A timer costs a tenth of `wait_for`, which creates a task.
        timer = asyncio.get_running_loop().call_later(seconds, self.wake)
        await self._awake.wait()
        timer.cancel()

    async def _turn(self) -> float:
        """Claim free due rows, and return the seconds to sleep unless the worker is woken."""
        if len(self._tasks) >= _LOAD:
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(self._claimed_at + _BETWEEN_CLAIMS_SECONDS - now)
        pools = [pool for pool in self._pools if pool.room > 0]
        if not pools or self._bytes >= self._most_bytes or len(self._results) >= _MOST_RESULTS:
            return _POLL_SECONDS
        earliest = await self._database.read_point(find_earliest_by_kind)
        now = self._clock.now_millis()
        claimed = False
        for pool in pools:
            if earliest.get(pool.job_kind.kind, now + 1) <= now:
                claimed |= await self._claim(pool)
        if claimed:
            return 0.0
        following = min(
            (earliest[pool.job_kind.kind] for pool in self._pools if pool.job_kind.kind in earliest), default=None
        )
        if following is None or following <= now:
            return _POLL_SECONDS
        return min(_POLL_SECONDS, (following - now) / 1000)

    async def _claim(self, pool: WorkerPool) -> bool:
        job_kind, room, busy, free_bytes = pool.job_kind, pool.room, dict(pool.by_shop), self._most_bytes - self._bytes
        per_shop, slots_of = pool.limits(is_hurried=self._clock.is_moving)
        at = asyncio.get_running_loop().time()

        def command(view: View) -> tuple[ChangeSet, list[Claimed]]:
            real = self._real()
            wanted = Wanted(
                job_kind.kind,
                now_millis=self._clock.now_millis(),
                real_millis=real,
                limit=room,
                per_shop=per_shop,
                busy=busy,
                beside=job_kind.beside,
                slots_of=slots_of,
                only_shop=job_kind.only_shop,
            )
            found = find_claimable(view, wanted)
            prepared = job_kind.prepare(view, found) if job_kind.prepare and found else [None] * len(found)
            work = [
                Claimed(row, what, job_kind.weigh(what), at) for (row, _), what in zip(found, prepared, strict=True)
            ]
            work = _limit_bytes(work, free_bytes)
            changes, leased = claim([claimed.row for claimed in work], real)
            for claimed, row in zip(work, leased, strict=True):
                claimed.row = row
            return changes, work

        try:
            with self._database.metrics.claim_seconds.time():
                work = await self._database.claim(command)
        except ConditionFailedError:
            return True  # Another worker has claimed one of them: claim again.
        self._claimed_at = asyncio.get_running_loop().time()
        self._begin(pool, work)
        return bool(work)

    def _begin(self, pool: WorkerPool, work: list[Claimed]) -> None:
        for claimed in work:
            self._bytes += claimed.weight
            pool.add(claimed)
        # A free slot means that no row was waiting, since a job that ends takes the next row.
        for _ in range(min(pool.job_kind.slots - pool.slots_taken, len(work))):
            pool.slots_taken += 1
            task = asyncio.create_task(self._work_off(pool))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work_off(self, pool: WorkerPool) -> None:
        """Run the waiting rows in one slot, one after the other."""
        loop = asyncio.get_running_loop()
        try:
            while pool.ready:
                claimed = pool.ready.popleft()
                if loop.time() - claimed.claimed_at > _MOST_WAIT_SECONDS:
                    self._give_back(pool, claimed)
                else:
                    await self._work(pool, claimed)
        finally:
            pool.slots_taken -= 1
            self.wake()

    async def _work(self, pool: WorkerPool, claimed: Claimed) -> None:
        job_kind, row = pool.job_kind, claimed.row
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            result = await (
                job_kind.handle(row) if job_kind.prepare is None else job_kind.handle(row, claimed.prepared)
            )
            if job_kind.record is not None:
                self._record(pool, row, result)
        except (ConditionFailedError, StorageError) as error:
            _not_written(row, error)
        except Exception:  # noqa: BLE001  (one faulty row must not end the worker; it is logged and repeated later)
            _log.exception("job_failed", kind=row.kind, shop_id=row.shop_id, subject=row.subject)
            await self._put_off(row)
        finally:
            pool.note_duration(row.shop_id, loop.time() - started)
            self._free_slot(pool, claimed)

    def _give_back(self, pool: WorkerPool, claimed: Claimed) -> None:
        """Release a row whose lease might expire while its job runs, because it has waited too long, or that there is
        no time for."""
        self._record(pool, claimed.row, _GIVEN_BACK)
        self._free_slot(pool, claimed)

    def _free_slot(self, pool: WorkerPool, claimed: Claimed) -> None:
        self._bytes -= claimed.weight
        pool.remove(claimed.row.shop_id)
        self.wake()

    def _record(self, pool: WorkerPool, row: DueRow, result: Any) -> None:
        """Queue a result. Results that arrive during a write are written together by the next one."""
        self._results.append((pool.job_kind, row, result))
        if self._recording is None:
            self._recording = asyncio.create_task(self._write_results())

    async def _write_results(self) -> None:
        try:
            while self._results:
                results, self._results = self._results, []
                for pause_seconds in (*_PAUSES_SECONDS, None):
                    results = await self._write_results_once(results, is_last=pause_seconds is None)
                    if not results or pause_seconds is None:
                        break
                    await asyncio.sleep(pause_seconds)
                # Deliveries that waited for these results can be claimed now.
                self.wake()
        finally:
            self._recording = None

    async def _write_results_once(self, results: list[_Result], *, is_last: bool) -> list[_Result]:
        """Write all results in one change set; if the database refuses it, write each result on its own. Return the
        results to retry after a StorageError; none if this is the last attempt."""
        refusals = await self._try_to_write([results])
        if refusals == [None]:
            return []
        refusals = await self._try_to_write([[result] for result in results])
        later = []
        for result, refusal in zip(results, refusals, strict=True):
            if isinstance(refusal, StorageError) and not is_last:
                later.append(result)
            elif isinstance(refusal, StorageError | ConditionFailedError):
                _not_written(result[1], refusal)
            elif refusal is not None:
                # The database will never accept this result. Put the row off: repeated at once, the job would be
                # repeated for ever.
                _log.error("outcome_refused", kind=result[1].kind, subject=result[1].subject, error=str(refusal))
                await self._put_off(result[1])
        return later

    async def _try_to_write(self, groups: list[list[_Result]]) -> list[Exception | None]:
        try:
            return await self._database.commit_each([_changes(group) for group in groups])
        except StorageError as error:
            return [error] * len(groups)

    async def _put_off(self, row: DueRow) -> None:
        """Put off a row after an unexpected failure of its job, each time for longer."""
        pause_millis = min(_FIRST_PAUSE_MILLIS * 2 ** min(row.attempts, 10), _LONGEST_PAUSE_MILLIS)
        try:
            await self._database.commit(ChangeSet(repeat_at(row, self._clock.now_millis() + pause_millis)))
        except (ConditionFailedError, StorageError) as error:
            _log.warning("postpone_failed", kind=row.kind, subject=row.subject, error=str(error))


def _changes(results: list[_Result]) -> ChangeSet:
    """Return one change set: the records of ended jobs, by kind, and the releases of rows given back."""
    changes = ChangeSet(*(release(row) for _, row, result in results if result is _GIVEN_BACK))
    for job_kind in {job_kind.kind: job_kind for job_kind, _, _ in results}.values():
        ended = [result for its, _, result in results if its is job_kind and result is not _GIVEN_BACK]
        if job_kind.record is not None and ended:
            changes.extend([job_kind.record(ended)])
    return changes


def _not_written(row: DueRow, error: Exception) -> None:
    """Log a result that was not written. Its lease expires, and the job is repeated."""
    if isinstance(error, ConditionFailedError):
        _log.warning("lease_lost", kind=row.kind, shop_id=row.shop_id, subject=row.subject)
    else:
        _log.error("outcome_not_written", kind=row.kind, subject=row.subject, error=str(error))
