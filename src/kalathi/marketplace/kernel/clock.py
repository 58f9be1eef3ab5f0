"""Two times (docs/decisions/0009): business time is passed in and can be moved forward; real time only measures."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

ATHENS = ZoneInfo("Europe/Athens")


def athens(moment: datetime) -> datetime:
    """The same instant as the wire shows it: Europe/Athens, whole seconds.

    The result carries its offset and not the zone: Python compares and subtracts two times of one zone by their wall
    clocks, which is an hour wrong across a change of clocks.
    """
    local = moment.astimezone(ATHENS)
    return local.replace(microsecond=0, tzinfo=timezone(local.utcoffset() or timedelta(0)))


def after(moment: datetime, delay: timedelta) -> datetime:
    """An exact time later, with the offset that Athens has by then."""
    return athens(moment.astimezone(UTC) + delay)


def to_millis(moment: datetime) -> int:
    """Milliseconds since 1970 in UTC, as the integer columns hold times."""
    return int(moment.timestamp() * 1000)


def from_millis(millis: int) -> datetime:
    """The instant of a column, in UTC."""
    return datetime.fromtimestamp(millis / 1000, UTC)


def real_millis() -> int:
    """Real time in milliseconds: for leases, which no clock move may lengthen or end."""
    return time.time_ns() // 1_000_000


class BusinessClock:
    """Business time: real time plus an offset that only grows. The offset is kept in the database by its owner."""

    def __init__(self, offset_millis: int = 0, real: Callable[[], int] = real_millis) -> None:
        self.offset_millis = offset_millis
        self._real = real
        self._latest_millis = 0
        # A move of the clock waits for everything that is due.
        self.is_moving = False

    def follow(self, offset_millis: int) -> bool:
        """Another process may have moved it: whether this is news. It never goes back."""
        if offset_millis <= self.offset_millis:
            return False
        self.offset_millis = offset_millis
        return True

    def now(self) -> datetime:
        """The present instant of the business, in UTC."""
        return from_millis(self.now_millis())

    def now_millis(self) -> int:
        """The same in milliseconds since 1970."""
        # Never back, also when the machine's own clock is set back: it then stands still until that has caught up.
        self._latest_millis = max(self._latest_millis, self._real() + self.offset_millis)
        return self._latest_millis
