"""The metrics of one process for Prometheus: one registry for each marketplace, so that tests can have many."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The instruments; each is named once, here."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.deliveries = Counter(
            "kalathi_webhook_attempts", "Attempts at deliveries by outcome.", ["outcome"], registry=self._registry
        )
        self.attempt_seconds = Histogram(
            "kalathi_webhook_attempt_seconds", "Time of one attempt.", buckets=_SECONDS, registry=self._registry
        )
        self.read_ahead_seconds = Histogram(
            "kalathi_read_ahead_seconds", "Time to read due work.", buckets=_SECONDS, registry=self._registry
        )
        self.commit_seconds = Histogram(
            "kalathi_commit_seconds", "Time to write a group.", buckets=_SECONDS, registry=self._registry
        )
        self.group_size = Histogram(
            "kalathi_commit_group_size", "Change sets of a group.", buckets=_SIZES, registry=self._registry
        )
        self._queue = Gauge("kalathi_writer_queue", "Change sets that wait for the writer.", registry=self._registry)
        self._oldest = Gauge(
            "kalathi_oldest_undelivered_seconds", "Age of the oldest event not delivered yet.", registry=self._registry
        )
        self._pending = Gauge(
            "kalathi_undelivered_events", "Events that are not delivered yet.", registry=self._registry
        )

        self._by_outcome: dict[str, Counter] = {}

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Measure the number of waiting change sets at each scrape."""
        self._queue.set_function(length)

    def note_attempt(self, outcome: str, seconds: float) -> None:
        """Count an ended delivery attempt, and record its duration."""
        counter = self._by_outcome.get(outcome)
        if counter is None:
            counter = self._by_outcome[outcome] = self.deliveries.labels(outcome)
        counter.inc()
        self.attempt_seconds.observe(seconds)

    def note_group(self, size: int, seconds: float) -> None:
        """Record the size of a written group, and the duration of its write."""
        self.group_size.observe(size)
        self.commit_seconds.observe(seconds)

    def text(self, oldest_seconds: float, pending: int) -> bytes:
        """Return all metrics in Prometheus's text format. The arguments are the age of the oldest undelivered event and
        the number of undelivered events."""
        self._oldest.set(oldest_seconds)
        self._pending.set(pending)
        return generate_latest(self._registry)
