"""The rate limit (contract, section 1): off by default, per shop, in real time."""

import time
from collections.abc import Callable
from typing import Final

from kalathi.marketplace.kernel.errors import DomainError, ErrorCode

# A bound on what is kept of shops that have gone quiet: whoever is full needs no entry.
_MOST_SHOPS: Final = 10_000


class RateLimit:
    """A bucket a shop: it holds a minute's calls and fills evenly ("token bucket")."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    @property
    def is_on(self) -> bool:
        """Whether there is a limit at all."""
        return self._per_minute > 0

    def take(self, shop_id: str) -> None:
        """One call of this shop. Raises RATE_LIMITED, which says when to come back."""
        now = self._clock()
        left, at = self._buckets.get(shop_id, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - at) * self._per_minute / 60)
        if left < 1:
            self._buckets[shop_id] = (left, now)
            seconds = max(1, -(-int((1 - left) * 60_000 / self._per_minute) // 1000))
            raise DomainError(
                ErrorCode.RATE_LIMITED,
                f"More than {self._per_minute} calls in a minute. Come back in {seconds} s.",
                retry_after_seconds=seconds,
            )
        if len(self._buckets) >= _MOST_SHOPS:
            self._buckets.clear()
        self._buckets[shop_id] = (left - 1, now)

    def give_back(self, shop_id: str) -> None:
        """The last call does not count."""
        left, at = self._buckets.get(shop_id, (float(self._per_minute), self._clock()))
        self._buckets[shop_id] = (min(left + 1, float(self._per_minute)), at)
