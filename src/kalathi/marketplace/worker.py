"""Runs what is due. Claims free rows, gives each to the handler of its kind, and keeps within the slots.

A slow or dead endpoint must never delay another shop: a shop without a free slot is left out of the claim, and no more
of its rows are claimed than it has slots.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

import structlog

from kalathi.marketplace.kernel.changes import ChangeSet, ConditionFailedError, StorageError
from kalathi.marketplace.kernel.clock import BusinessClock, real_millis
from kalathi.marketplace.kernel.database import Database, View
from kalathi.marketplace.kernel.due import DueKind, DueRow, again, claim, claimable, earliest_by_kind, free_all

_log = structlog.get_logger("kalathi.worker")

# Due rows of this process ring a bell; this is how late the others, a freed lease or a stumble, may be noticed.
_LOOK_AGAIN_SECONDS: Final = 1.0
# A claim costs as much for one row as for fifty: under load, here when so much is in flight, claims keep a distance.
_BETWEEN_CLAIMS_SECONDS: Final = 0.005
_LOAD: Final = 16
# What may wait for a slow disk, and how many bytes what is claimed may hold in memory.
_MOST_OUTCOMES: Final = 1000
_MOST_BYTES: Final = 64 * 2**20
_DRAIN_SECONDS: Final = 5.0
_FIRST_PAUSE_MILLIS: Final = 60_000
_LONGEST_PAUSE_MILLIS: Final = 3_600_000


class Duty(NamedTuple):
    """Who does one kind of due work, and how much of it at once, in all and for one shop.

    The handler commits its own outcome together with the end of the row, or gives it to be written together with those
    of others when its slot is free again: a delivery needs its slot while the endpoint answers, not while the disk
    writes. If it cannot be written, the lease runs out and the work is repeated; if the handler raises anything else,
    the row is put off. What `prepare` reads of the rows when they are claimed, all at once, is given to the handler
    beside its row; `weigh` tells how many bytes of memory it holds.
    """

    kind: DueKind
    handle: Callable[..., Awaitable[ChangeSet | None]]
    slots: int
    slots_per_shop: int
    prepare: Callable[[View, Sequence[DueRow]], Sequence[Any]] | None = None
    weigh: Callable[[Any], int] = lambda _prepared: 0


def _within_bytes(duty: Duty, work: list[tuple[DueRow, Any]], free_bytes: int) -> list[tuple[DueRow, Any]]:
    """As many as there is room for; one when there is any."""
    kept: list[tuple[DueRow, Any]] = []
    for row, prepared in work:
        free_bytes -= duty.weigh(prepared)
        if kept and free_bytes < 0:
            break
        kept.append((row, prepared))
    return kept


class Worker:
    """One process's worker: `run`, then `end`, then `drain`."""

    def __init__(
        self, database: Database, clock: BusinessClock, duties: Sequence[Duty], *, most_bytes: int = _MOST_BYTES
    ) -> None:
        """`most_bytes` is what claimed work may hold in memory."""
        self._database = database
        self._clock = clock
        self._duties = duties
        self._most_bytes = most_bytes
        self._bell = asyncio.Event()
        self._stopping = False
        # Real time of the last whole turn; None before the first.
        self.last_turn_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._claimed_at = 0.0
        self._in_flight: dict[DueKind, Counter[str]] = {duty.kind: Counter() for duty in duties}
        self._bytes_in_flight = 0
        self._outcomes: list[tuple[DueRow, ChangeSet]] = []
        self._recording: asyncio.Task[None] | None = None

    def ring(self) -> None:
        """Something may be due: look now."""
        self._bell.set()

    async def run(self) -> None:
        """Works until stopped. Alone with its database it first frees the leases of the process before it; those of
        one of many run out by themselves."""
        self._database.subscribe("due", self.ring)
        leases_are_free = self._database.is_shared
        while not self._stopping:
            self._bell.clear()
            try:
                if not leases_are_free:
                    await self._database.commit(free_all())
                    leases_are_free = True
                seconds = await self._turn()
                self.last_turn_at = time.monotonic()
            except Exception:  # noqa: BLE001  (a database that stumbles must not end the worker; it looks again)
                _log.exception("claim_failed")
                seconds = _LOOK_AGAIN_SECONDS
            if seconds > 0:
                await self._rest(seconds)

    def end(self) -> None:
        """Claims nothing more: `run` returns."""
        self._stopping = True
        self.ring()

    async def drain(self) -> None:
        """After `run` has returned: lets what is in flight end; what does not is repeated at the next start."""
        ends_at = time.monotonic() + _DRAIN_SECONDS
        while unfinished := self._unfinished():
            if time.monotonic() > ends_at:
                break
            await asyncio.wait(unfinished, timeout=ends_at - time.monotonic())
        for task in self._unfinished():
            task.cancel()
        await asyncio.gather(*self._unfinished(), return_exceptions=True)

    def _unfinished(self) -> set[asyncio.Task[None]]:
        return self._tasks if self._recording is None else {*self._tasks, self._recording}

    async def _rest(self, seconds: float) -> None:
        # The bell rings itself: a timer costs a tenth of the task that wait_for makes.
        timer = asyncio.get_running_loop().call_later(seconds, self.ring)
        await self._bell.wait()
        timer.cancel()

    async def _turn(self) -> float:
        """Claims what is due and free, and tells how long to rest if nothing rings before."""
        if len(self._tasks) >= _LOAD:
            await asyncio.sleep(self._claimed_at + _BETWEEN_CLAIMS_SECONDS - time.monotonic())
        duties = [duty for duty in self._duties if self._may_claim(duty)]
        if not duties:
            return _LOOK_AGAIN_SECONDS
        earliest = await self._database.peek(earliest_by_kind)
        now = self._clock.now_millis()
        mine = {duty.kind: earliest[duty.kind] for duty in self._duties if duty.kind in earliest}
        claimed = False
        for duty in duties:
            if mine.get(duty.kind, now + 1) <= now:
                claimed |= await self._claim(duty)
        if claimed:
            return 0.0
        following = min(mine.values(), default=None)
        if following is None or following <= now:
            return _LOOK_AGAIN_SECONDS
        return min(_LOOK_AGAIN_SECONDS, (following - now) / 1000)

    def _may_claim(self, duty: Duty) -> bool:
        """Whether there is a slot, memory for what is sent, and room for what is written."""
        return (
            self._in_flight[duty.kind].total() < duty.slots
            and self._bytes_in_flight < self._most_bytes
            and len(self._outcomes) < _MOST_OUTCOMES
        )

    async def _claim(self, duty: Duty) -> bool:
        in_flight = self._in_flight[duty.kind]
        free = duty.slots - in_flight.total()

        def command(view: View) -> tuple[ChangeSet, list[tuple[DueRow, Any]]]:
            real, now = real_millis(), self._clock.now_millis()
            rows = claimable(
                view,
                duty.kind,
                now_millis=now,
                real_millis=real,
                limit=free,
                per_shop=duty.slots_per_shop,
                busy=in_flight,
            )
            prepared = duty.prepare(view, rows) if duty.prepare and rows else [None] * len(rows)
            work = _within_bytes(duty, list(zip(rows, prepared, strict=True)), self._most_bytes - self._bytes_in_flight)
            changes, leased = claim([row for row, _ in work], real)
            return changes, [(row, prepared) for row, (_, prepared) in zip(leased, work, strict=True)]

        try:
            with self._database.metrics.claim_seconds.time():
                leased = await self._database.claim(command)
        except ConditionFailedError:
            return True  # Somebody else was faster with one of them: look again.
        self._claimed_at = time.monotonic()
        for row, prepared in leased:
            in_flight[row.shop_id] += 1
            self._bytes_in_flight += duty.weigh(prepared)
            task = asyncio.create_task(self._work(duty, row, prepared))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return bool(leased)

    async def _work(self, duty: Duty, row: DueRow, prepared: Any) -> None:
        try:
            outcome = await (duty.handle(row) if duty.prepare is None else duty.handle(row, prepared))
            if outcome is not None:
                self._record(row, outcome)
        except (ConditionFailedError, StorageError) as error:
            _not_written(row, error)
        except Exception:  # noqa: BLE001  (one faulty row must not end the worker; it is logged and repeated later)
            _log.exception("due_work_failed", kind=row.kind, shop_id=row.shop_id, subject=row.subject)
            await self._put_off(row)
        finally:
            self._bytes_in_flight -= duty.weigh(prepared)
            in_flight = self._in_flight[duty.kind]
            in_flight[row.shop_id] -= 1
            if not in_flight[row.shop_id]:
                del in_flight[row.shop_id]
            self.ring()

    def _record(self, row: DueRow, outcome: ChangeSet) -> None:
        """Outcomes that end while others are being written are written together."""
        self._outcomes.append((row, outcome))
        if self._recording is None:
            self._recording = asyncio.create_task(self._write_outcomes())

    async def _write_outcomes(self) -> None:
        try:
            while self._outcomes:
                outcomes, self._outcomes = self._outcomes, []
                try:
                    refusals = await self._database.commit_each([changes for _, changes in outcomes])
                except StorageError as error:
                    refusals = [error] * len(outcomes)
                for (row, _), refusal in zip(outcomes, refusals, strict=True):
                    if refusal is not None:
                        _not_written(row, refusal)
                # What was in their way may go now.
                self.ring()
        finally:
            self._recording = None

    async def _put_off(self, row: DueRow) -> None:
        """A row whose work has failed unexpectedly is due again later, each time after a longer pause."""
        pause_millis = min(_FIRST_PAUSE_MILLIS * 2 ** min(row.attempts, 10), _LONGEST_PAUSE_MILLIS)
        try:
            await self._database.commit(ChangeSet(again(row, self._clock.now_millis() + pause_millis)))
        except (ConditionFailedError, StorageError) as error:
            _log.warning("not_put_off", kind=row.kind, subject=row.subject, error=str(error))


def _not_written(row: DueRow, error: Exception) -> None:
    """The lease runs out, and the work is repeated."""
    if isinstance(error, ConditionFailedError):
        _log.warning("lease_lost", kind=row.kind, shop_id=row.shop_id, subject=row.subject)
    else:
        _log.error("outcome_not_written", kind=row.kind, subject=row.subject, error=str(error))
