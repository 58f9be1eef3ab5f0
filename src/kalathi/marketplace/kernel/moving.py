"""Move business time forward (docs/decisions/0009): from due time to due time, and never past an unfinished job."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from kalathi.marketplace.kernel.clock import BusinessClock, athens, from_millis, to_millis
from kalathi.marketplace.kernel.due import find_next_due_millis
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, invalid_parameter
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Insert
from kalathi.marketplace.kernel.storage.database import Database, View

_COUNTER: Final = "clock_offset_millis"
# The workers may be other processes, so their progress is read from the database; a read takes microseconds.
_POLL_SECONDS: Final = 0.005
# The clock never goes back, so it must not reach a time at which deadlines are beyond the range of dates.
_LATEST_MILLIS: Final = to_millis(datetime(2100, 1, 1, tzinfo=UTC))


def load_offset_millis(view: View) -> int:
    """Return the milliseconds by which business time is ahead of real time. The offset survives restarts."""
    row = view.one("SELECT value FROM counters WHERE name = :name", {"name": _COUNTER})
    return row[0] if row else 0


class ClockMover:
    """Move the clock of a sandbox, one move at a time; a second move waits for the first."""

    def __init__(
        self, database: Database, clock: BusinessClock, *, limit_seconds: float, moved: Callable[[], None]
    ) -> None:
        """`moved` is called after each step, to wake the workers."""
        self._database = database
        self._clock = clock
        self._limit_seconds = limit_seconds
        self._moved = moved
        self._moving = asyncio.Lock()

    async def advance(self, seconds: int) -> datetime:
        """Move the clock forward by `seconds`, counted from the start of this move, which may have to wait for another
        one. Otherwise like `move_to`."""
        async with self._moving:
            return await self._move(self._clock.now_millis() + seconds * 1000)

    async def move_to(self, target: datetime) -> datetime:
        """Move the clock to `target`. Return the new time when no job at or before it is due or leased any more.

        Raises INVALID_PARAMETER for a time that has passed or is too far ahead, UNAVAILABLE if the jobs do not end
        within the limit. The clock then stays at its last step, and no job is lost.
        """
        async with self._moving:
            try:
                target_millis = to_millis(target)
            except (OverflowError, ValueError):
                raise invalid_parameter("now: that time is outside of what a clock can show.") from None
            if target_millis < self._clock.now_millis():
                raise invalid_parameter("The clock moves forward only.")
            return await self._move(target_millis)

    async def _move(self, target_millis: int) -> datetime:
        if target_millis > _LATEST_MILLIS:
            raise invalid_parameter(f"The clock does not go beyond {from_millis(_LATEST_MILLIS):%Y-%m-%d}.")
        self._clock.is_moving = True
        try:
            self._moved()
            while True:
                await self._settle()
                due_at = await self._database.read(find_next_due_millis)
                if due_at is None or due_at > target_millis or self._clock.now_millis() >= target_millis:
                    break
                await self._set(due_at)
            await self._set(target_millis)
        finally:
            self._clock.is_moving = False
        return self._clock.now()

    async def _settle(self) -> None:
        """Wait until nothing is due. Raises UNAVAILABLE if that takes longer than the limit."""
        ends_at = time.monotonic() + self._limit_seconds
        while True:
            # One snapshot: work that ends and plans other work must not slip through between two statements.
            due_at = await self._database.read(find_next_due_millis)
            if due_at is None or due_at > self._clock.now_millis():
                return
            if time.monotonic() > ends_at:
                now = athens(self._clock.now()).isoformat()
                raise DomainError(
                    ErrorCode.UNAVAILABLE,
                    f"Work that is due has not ended within {self._limit_seconds:g} s; the clock stands at {now}."
                    " Try again, or look at slow webhook endpoints.",
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _set(self, now_millis: int) -> None:
        forward = now_millis - self._clock.now_millis()
        if forward <= 0:
            return
        offset = self._clock.offset_millis + forward

        def command(view: View) -> tuple[ChangeSet, None]:
            stored = load_offset_millis(view)
            if stored >= offset:
                return ChangeSet(), None  # Another process has moved it further.
            # Delete and insert the row instead of updating it, because subscribers are called for new rows only.
            row = Insert("counters", {"name": _COUNTER, "value": offset})
            gone = Delete("counters", {"name": _COUNTER}, when={"value": stored})
            return ChangeSet(gone, row) if stored else ChangeSet(row), None

        await self._database.run(command)
        self._clock.follow(offset)
        self._moved()
