"""The metrics of a connector for Prometheus.

The connector counts in plain dictionaries. Only a scrape needs the library, which is the extra `metrics`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.publications import UNPUBLISHED
from kalathi.merchant.overview import needs_now
from kalathi.merchant.refusals import Refusal

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class ConnectorMetrics:
    """The instruments of the metrics. Their names are only here."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns seconds since 1970."""
        self._clock = clock
        self._webhooks: Counter[tuple[str, ...]] = Counter()
        self._refused: Counter[tuple[str, ...]] = Counter()
        self._done: Counter[tuple[str, ...]] = Counter()
        self._failures: Counter[tuple[str, ...]] = Counter()

    def note_webhook(self, status: int) -> None:
        """Count an answered webhook."""
        self._webhooks[str(status),] += 1

    def note_refusal(self, refusal: Refusal) -> None:
        """Count a refused call."""
        self._refused[str(refusal.status), refusal.reason, "webhook" if refusal.is_webhook else "noise"] += 1

    def note_done(self, what: str) -> None:
        """Count a completed step, such as accepted, rejected, printed, withdrawn, reviewed or handed_over."""
        self._done[what,] += 1

    def note_failure(self, of: str) -> None:
        """Count a failed job (`look`), hand-over or reconciliation, or an unknown code that was dropped."""
        self._failures[of,] += 1

    def text(self, inbox: Inbox) -> bytes:
        """Render all metrics in the text format of Prometheus. Raises sqlite3.Error, and ModuleNotFoundError without
        the extra `metrics`."""
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  (an extra, which may be missing)
        from prometheus_client.registry import Collector  # noqa: PLC0415  (an extra, which may be missing)

        metrics = list(self._list_metrics(inbox))

        class Once(Collector):
            def collect(self) -> Iterator["Metric"]:
                return iter(metrics)

        registry = CollectorRegistry()
        registry.register(Once())
        return generate_latest(registry)

    def _list_metrics(self, inbox: Inbox) -> Iterator["Metric"]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415  (an extra, which may be missing)

        for name, text, labels, counts in (
            ("webhooks", "Webhooks by the status of the answer.", ["status"], self._webhooks),
            (
                "refused",
                "Refused calls, by status, reason, and kind of call (webhook or noise).",
                ["status", "reason", "call"],
                self._refused,
            ),
            ("done", "Completed steps, by kind.", ["what"], self._done),
            ("failures", "Failed attempts that are retried, by kind.", ["of"], self._failures),
        ):
            counter = CounterMetricFamily(f"kalathi_merchant_{name}", text, labels=labels)
            for values, number in counts.items():
                counter.add_metric(values, number)
            yield counter
        kept = GaugeMetricFamily("kalathi_merchant_kept", "Rows in the inbox, by kind.", labels=["kind"])
        for kind, count in inbox.counts().items():
            kept.add_metric([kind], count)
        yield kept
        yield GaugeMetricFamily(
            "kalathi_merchant_next_deadline_timestamp_seconds",
            "Deadline of the most urgent order, in seconds since 1970; 0 if no order waits for an answer.",
            value=inbox.subjects.next_deadline() or 0,
        )
        since = inbox.moment(UNPUBLISHED)
        yield GaugeMetricFamily(
            "kalathi_merchant_unpublished_seconds",
            "Age of the oldest difference of stock or prices that is not published; 0 if there is none.",
            value=0.0 if since is None else max(self._clock() - since, 0.0),
        )
        yield GaugeMetricFamily(
            "kalathi_merchant_needs_a_person",
            "Number of problems that need a person, as listed by kalathi merchant status.",
            value=len(needs_now(inbox)),
        )
