"""Rate limits, in real time: of a shop's calls (docs/contract.md#section-1; off by default), and of wrong tokens."""

import time
from collections.abc import Callable
from typing import Final

from kalathi.marketplace.kernel.errors import ErrorCode, Refusal, refuse

# A bound on the memory for shops and addresses; a full bucket needs no entry.
_MOST_BUCKETS: Final = 10_000


class TooManyCalls(Refusal, frozen=True):
    """A shop or an address has used up its calls. The next one is possible after `seconds`."""

    most: int
    what: str
    seconds: int
    CODE = ErrorCode.RATE_LIMITED
    SENTENCE = "More than {most} {what} in a minute. Come back in {seconds} s."


class RateLimit:
    """A token bucket for each shop or address. It holds one minute's calls and refills evenly."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic, what: str = "calls") -> None:
        """`what` names the counted calls in the refusal's sentence."""
        self._per_minute = per_minute
        self._clock = clock
        self._what = what
        self._buckets: dict[str, tuple[float, float]] = {}

    @property
    def is_on(self) -> bool:
        """Whether the limit is on."""
        return self._per_minute > 0

    def count(self, key: str) -> None:
        """Count one call of this shop or address. Raises RATE_LIMITED with the seconds to wait."""
        now = self._clock()
        left, at = self._buckets.get(key, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - at) * self._per_minute / 60)
        if left < 1:
            self._buckets[key] = (left, now)
            seconds = max(1, -(-int((1 - left) * 60_000 / self._per_minute) // 1000))
            refusal = TooManyCalls(self._per_minute, self._what, seconds)
            raise refuse(refusal, retry_after_seconds=seconds)
        if len(self._buckets) >= _MOST_BUCKETS:
            self._drop_buckets(now)
        self._buckets[key] = (left - 1, now)

    def give_back(self, key: str) -> None:
        """Undo the count of one call."""
        left, at = self._buckets.get(key, (float(self._per_minute), self._clock()))
        self._buckets[key] = (min(left + 1, float(self._per_minute)), at)

    def _drop_buckets(self, now: float) -> None:
        """Drop the buckets that are full again, or all buckets if there are still too many."""
        per_second = self._per_minute / 60
        self._buckets = {
            key: (left, at)
            for key, (left, at) in self._buckets.items()
            if left + (now - at) * per_second < self._per_minute
        }
        if len(self._buckets) >= _MOST_BUCKETS:
            self._buckets.clear()
