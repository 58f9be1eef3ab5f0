"""The metrics of one process for Prometheus: one registry for each marketplace, so that tests can have many."""

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from kalathi import __version__

DURATION_BOUNDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class AttemptWindow(NamedTuple):
    """The attempts at deliveries since the window was last taken: their outcomes by shop, and the number of attempts in
    each bucket of DURATION_BOUNDS; the last bucket has the longer ones."""

    by_shop: dict[tuple[str, bool], int]
    buckets: list[int]


class _Attempts(Collector):
    """The attempts at deliveries. The library's own counter and histogram take a lock for each attempt, which costs
    3 µs; attempts are counted on one thread only."""

    def __init__(self) -> None:
        self._outcomes: dict[str, int] = {}
        self._buckets = [0] * (len(DURATION_BOUNDS) + 1)
        self._seconds = 0.0

    def note(self, outcome: str, seconds: float) -> None:
        """Count one attempt."""
        self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
        self._buckets[bisect_left(DURATION_BOUNDS, seconds)] += 1
        self._seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics at a scrape."""
        outcomes = CounterMetricFamily(
            "kalathi_webhook_attempts", "Attempts at deliveries by outcome.", labels=["outcome"]
        )
        for outcome, count in self._outcomes.items():
            outcomes.add_metric([outcome], count)
        yield outcomes
        buckets = _sum_up(self._buckets)
        yield HistogramMetricFamily(
            "kalathi_webhook_attempt_seconds", "Time of one attempt.", buckets=buckets, sum_value=self._seconds
        )


class _Requests(Collector):
    """The HTTP requests by route and status, counted on one thread only, like the attempts."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], int] = {}
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def note(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = route, status
        self._counts[key] = self._counts.get(key, 0) + 1
        buckets = self._buckets.get(route)
        if buckets is None:
            buckets = self._buckets[route] = [0] * (len(DURATION_BOUNDS) + 1)
        buckets[bisect_left(DURATION_BOUNDS, seconds)] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics at a scrape."""
        requests = CounterMetricFamily(
            "kalathi_http_requests", "HTTP requests; status 0: no answer was sent.", labels=["route", "status"]
        )
        for (route, status), count in self._counts.items():
            requests.add_metric([route, str(status)], count)
        yield requests
        times = HistogramMetricFamily("kalathi_http_request_seconds", "Time until the answer begins.", labels=["route"])
        for route, buckets in self._buckets.items():
            times.add_metric([route], _sum_up(buckets), self._seconds[route])
        yield times


def _sum_up(buckets: list[int]) -> list[tuple[str, int]]:
    """Return the buckets as Prometheus has them: each with the ones below it."""
    names = [*map(floatToGoString, DURATION_BOUNDS), "+Inf"]
    return list(zip(names, accumulate(buckets), strict=True))


def _make_window() -> AttemptWindow:
    return AttemptWindow({}, [0] * (len(DURATION_BOUNDS) + 1))


class Metrics:
    """The instruments; each is named once, here."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._window = _make_window()
        self._attempts = _Attempts()
        self._registry.register(self._attempts)
        self._requests = _Requests()
        self._registry.register(self._requests)
        self._refused_sign_ins = Counter(
            "kalathi_refused_sign_ins", "Refused attempts to sign in to the pages.", registry=self._registry
        )
        build = Info("kalathi_build", "The version of the software and of Python.", registry=self._registry)
        build.info({"version": __version__, "python": platform.python_version()})
        self.read_ahead_seconds = Histogram(
            "kalathi_read_ahead_seconds", "Time to read due work.", buckets=DURATION_BOUNDS, registry=self._registry
        )
        self.commit_seconds = Histogram(
            "kalathi_commit_seconds", "Time to write a group.", buckets=DURATION_BOUNDS, registry=self._registry
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

        self._orders = Gauge("kalathi_orders", "Orders by state.", ["state"], registry=self._registry)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Measure the number of waiting change sets at each scrape."""
        self._queue.set_function(length)

    def note_attempt(self, shop_id: str, outcome: str, seconds: float, *, delivered: bool) -> None:
        """Count an ended delivery attempt, and record its duration."""
        self._attempts.note(outcome, seconds)
        by_shop, buckets = self._window
        by_shop[shop_id, delivered] = by_shop.get((shop_id, delivered), 0) + 1
        buckets[bisect_left(DURATION_BOUNDS, seconds)] += 1

    def take_window(self) -> AttemptWindow:
        """Return the attempts since the last call, and begin a new window."""
        taken, self._window = self._window, _make_window()
        return taken

    def note_request(self, route: str, status: int, seconds: float) -> None:
        """Count an HTTP request, and record the time until its answer began. Status 0: no answer was sent."""
        self._requests.note(route, status, seconds)

    def note_refused_sign_in(self) -> None:
        """Count a refused attempt to sign in to the pages."""
        self._refused_sign_ins.inc()

    def note_group(self, size: int, seconds: float) -> None:
        """Record the size of a written group, and the duration of its write."""
        self.group_size.observe(size)
        self.commit_seconds.observe(seconds)

    def text(self, oldest_seconds: float, pending: int, orders: Mapping[str, int]) -> bytes:
        """Return all metrics in Prometheus's text format, with the age of the oldest undelivered event, the number of
        undelivered events, and the number of orders by state."""
        for state, number in orders.items():
            self._orders.labels(state).set(number)
        self._oldest.set(oldest_seconds)
        self._pending.set(pending)
        return generate_latest(self._registry)
