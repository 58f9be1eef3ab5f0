"""Two times (docs/decisions/0009): business time is passed in and can be moved forward; real time only measures."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

ATHENS = ZoneInfo("Europe/Athens")


def athens(moment: datetime) -> datetime:
    """Return the instant as the wire shows it: in Europe/Athens, in whole seconds.

    The result has a fixed offset instead of the time zone. Python compares and subtracts two times of one zone by their
    wall clocks, which is an hour wrong across a change to or from summer time.
    """
    local = moment.astimezone(ATHENS)
    return local.replace(microsecond=0, tzinfo=timezone(local.utcoffset() or timedelta(0)))


def after(moment: datetime, delay: timedelta) -> datetime:
    """Return the instant after an exact delay, with the offset of Athens at that instant."""
    return athens(moment.astimezone(UTC) + delay)


def to_millis(moment: datetime) -> int:
    """Return milliseconds since 1970 in UTC, the form of times in integer columns."""
    return int(moment.timestamp() * 1000)


def from_millis(millis: int) -> datetime:
    """Return the instant of a column's milliseconds since 1970, in UTC."""
    return datetime.fromtimestamp(millis / 1000, UTC)


def real_millis() -> int:
    """Return real time in milliseconds since 1970. Leases use it, because a clock move must not lengthen or end
    them."""
    return time.time_ns() // 1_000_000


class BusinessClock:
    """Business time: real time plus an offset that only grows. The caller stores the offset in the database."""

    def __init__(self, offset_millis: int = 0, real: Callable[[], int] = real_millis) -> None:
        self.offset_millis = offset_millis
        self._real = real
        self._latest_millis = 0
        # Whether a move of the clock is waiting for all due jobs.
        self.is_moving = False

    def follow(self, offset_millis: int) -> bool:
        """Apply the offset of another process. Return whether it is ahead of ours; the clock never goes back."""
        if offset_millis <= self.offset_millis:
            return False
        self.offset_millis = offset_millis
        return True

    def now(self) -> datetime:
        """Return the current business time, in UTC."""
        return from_millis(self.now_millis())

    def now_millis(self) -> int:
        """Return the current business time in milliseconds since 1970."""
        # Business time never goes back. If the machine's clock is set back, business time stands still until that clock
        # has caught up.
        self._latest_millis = max(self._latest_millis, self._real() + self.offset_millis)
        return self._latest_millis
