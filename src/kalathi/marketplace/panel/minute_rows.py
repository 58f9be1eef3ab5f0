"""The minutes of the operator's overview, from the deliveries of the database."""

from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

from kalathi.marketplace.figures.folding import MINUTE_MILLIS, DeliveryMinute
from kalathi.marketplace.kernel.clock import athens, from_millis
from kalathi.marketplace.kernel.metrics import DURATION_BOUNDS


class MinuteRow(NamedTuple):
    """The deliveries of one minute. `label` is its time in Athens; the durations are upper bounds in milliseconds for a
    half and for 95 % of the attempts; 0 without attempts."""

    label: str
    delivered: int
    failed: int
    half_millis: float
    most_millis: float
    oldest_seconds: int


def list_minutes(found: Mapping[int, DeliveryMinute], last: int, count: int) -> list[MinuteRow]:
    """Return a row for each of the last `count` minutes, the oldest first, also for minutes without deliveries."""
    rows = []
    for minute in range(last - count + 1, last + 1):
        label = f"{athens(from_millis(minute * MINUTE_MILLIS)):%H:%M}"
        entry = found.get(minute)
        if entry is None:
            rows.append(MinuteRow(label, 0, 0, 0, 0, 0))
            continue
        half, most = (find_quantile(entry.buckets, share) for share in (0.5, 0.95))
        rows.append(MinuteRow(label, entry.delivered, entry.failed, half, most, entry.oldest_seconds))
    return rows


def find_quantile(buckets: list[int], share: float) -> float:
    """Return the upper bound in milliseconds of the bucket with this share of the attempts; the largest bound for
    longer ones, and 0 without attempts."""
    total = sum(buckets)
    if not total:
        return 0
    for place, below in enumerate(accumulate(buckets)):
        if below >= share * total:
            return DURATION_BOUNDS[min(place, len(DURATION_BOUNDS) - 1)] * 1000
    return DURATION_BOUNDS[-1] * 1000
