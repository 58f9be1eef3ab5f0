"""Runs what is due. Claims free rows, gives each to the handler of its kind, and keeps within the slots.

A slow or dead endpoint must never delay another shop: a shop without a free slot is left out of the claim, and no more
of its rows are claimed than it has slots.
"""

import asyncio
import contextlib
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
_BETWEEN_CLAIMS_SECONDS: Final = 0.01
_DRAIN_SECONDS: Final = 5.0
_FIRST_PAUSE_MILLIS: Final = 60_000
_LONGEST_PAUSE_MILLIS: Final = 3_600_000


class Duty(NamedTuple):
    """Who does one kind of due work, and how much of it at once, in all and for one shop.

    The handler commits its own outcome together with the end of the row. If it cannot write, the lease runs out and
    the work is repeated; if it raises anything else, the row is put off. What `prepare` reads of the rows when they
    are claimed, all at once, is given to the handler beside its row.
    """

    kind: DueKind
    handle: Callable[..., Awaitable[None]]
    slots: int
    slots_per_shop: int
    prepare: Callable[[View, Sequence[DueRow]], Sequence[Any]] | None = None


def _within_slots(rows: Sequence[DueRow], in_flight: Counter[str], slots_per_shop: int) -> list[DueRow]:
    taken = Counter(in_flight)
    kept = []
    for row in rows:
        if taken[row.shop_id] < slots_per_shop:
            taken[row.shop_id] += 1
            kept.append(row)
    return kept


class Worker:
    """One process's worker: `run`, then `end`, then `drain`."""

    def __init__(self, database: Database, clock: BusinessClock, duties: Sequence[Duty]) -> None:
        self._database = database
        self._clock = clock
        self._duties = duties
        self._bell = asyncio.Event()
        self._stopping = False
        # Real time of the last whole turn; None before the first.
        self.last_turn_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._claimed_at: dict[DueKind, float] = {}
        self._in_flight: dict[DueKind, Counter[str]] = {duty.kind: Counter() for duty in duties}

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
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._bell.wait(), seconds)

    def end(self) -> None:
        """Claims nothing more: `run` returns."""
        self._stopping = True
        self.ring()

    async def drain(self) -> None:
        """After `run` has returned: lets what is in flight end; what does not is repeated at the next start."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_DRAIN_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _turn(self) -> float:
        """Claims what is due and free, and tells how long to rest if nothing rings before."""
        earliest = await self._database.peek(earliest_by_kind)
        now = self._clock.now_millis()
        mine = {duty.kind: earliest[duty.kind] for duty in self._duties if duty.kind in earliest}
        claimed = False
        for duty in self._duties:
            if mine.get(duty.kind, now + 1) <= now:
                claimed |= await self._claim(duty)
        if claimed:
            return 0.0
        following = min(mine.values(), default=None)
        if following is None or following <= now:
            return _LOOK_AGAIN_SECONDS
        return min(_LOOK_AGAIN_SECONDS, (following - now) / 1000)

    async def _claim(self, duty: Duty) -> bool:
        in_flight = self._in_flight[duty.kind]
        free = duty.slots - in_flight.total()
        if free <= 0 or self._is_too_soon(duty, free):
            return False
        busy_shops = [shop_id for shop_id, count in in_flight.items() if count >= duty.slots_per_shop]

        def command(view: View) -> tuple[ChangeSet, list[tuple[DueRow, Any]]]:
            real, now = real_millis(), self._clock.now_millis()
            found = claimable(view, duty.kind, now_millis=now, real_millis=real, limit=free, busy_shops=busy_shops)
            rows = _within_slots(found, in_flight, duty.slots_per_shop)
            prepared = duty.prepare(view, rows) if duty.prepare and rows else [None] * len(rows)
            changes, leased = claim(rows, real)
            return changes, list(zip(leased, prepared, strict=True))

        try:
            with self._database.metrics.claim_seconds.time():
                leased = await self._database.claim(command)
        except ConditionFailedError:
            return True  # Somebody else was faster with one of them: look again.
        self._claimed_at[duty.kind] = time.monotonic()
        for row, prepared in leased:
            in_flight[row.shop_id] += 1
            task = asyncio.create_task(self._work(duty, row, prepared))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return bool(leased)

    def _is_too_soon(self, duty: Duty, free: int) -> bool:
        """While most slots are taken, claims keep a distance, so that each finds more than the one slot that has just
        become free: a claim costs as much for one row as for fifty."""
        if free * 4 >= duty.slots:
            return False
        soonest = self._claimed_at.get(duty.kind, 0.0) + _BETWEEN_CLAIMS_SECONDS
        wait = soonest - time.monotonic()
        if wait <= 0:
            return False
        asyncio.get_running_loop().call_later(wait, self.ring)
        return True

    async def _work(self, duty: Duty, row: DueRow, prepared: Any) -> None:
        try:
            await (duty.handle(row) if duty.prepare is None else duty.handle(row, prepared))
        except ConditionFailedError:
            _log.warning("lease_lost", kind=row.kind, shop_id=row.shop_id, subject=row.subject)
        except StorageError as error:
            _log.error("outcome_not_written", kind=row.kind, subject=row.subject, error=str(error))
        except Exception:  # noqa: BLE001  (one faulty row must not end the worker; it is logged and repeated later)
            _log.exception("due_work_failed", kind=row.kind, shop_id=row.shop_id, subject=row.subject)
            await self._put_off(row)
        finally:
            in_flight = self._in_flight[duty.kind]
            in_flight[row.shop_id] -= 1
            if not in_flight[row.shop_id]:
                del in_flight[row.shop_id]
            self.ring()

    async def _put_off(self, row: DueRow) -> None:
        """A row whose work has failed unexpectedly is due again later, each time after a longer pause."""
        pause_millis = min(_FIRST_PAUSE_MILLIS * 2 ** min(row.attempts, 10), _LONGEST_PAUSE_MILLIS)
        try:
            await self._database.commit(ChangeSet(again(row, self._clock.now_millis() + pause_millis)))
        except (ConditionFailedError, StorageError) as error:
            _log.warning("not_put_off", kind=row.kind, subject=row.subject, error=str(error))
