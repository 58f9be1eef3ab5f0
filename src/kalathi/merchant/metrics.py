"""The metrics of a connector for Prometheus; one registry for each connector."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from kalathi.merchant.inbox import Inbox
from kalathi.merchant.overview import needs_now
from kalathi.merchant.refusals import Refusal


class ConnectorMetrics:
    """The instruments of the metrics. Their names are only here."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._webhooks = Counter(
            "kalathi_merchant_webhooks", "Webhooks by the status of the answer.", ["status"], registry=self._registry
        )
        self._refused = Counter(
            "kalathi_merchant_refused",
            "Refused calls, by status, reason, and kind of call (webhook or noise).",
            ["status", "reason", "call"],
            registry=self._registry,
        )
        self._done = Counter("kalathi_merchant_done", "Completed steps, by kind.", ["what"], registry=self._registry)
        self._failures = Counter(
            "kalathi_merchant_failures", "Failed attempts that are retried, by kind.", ["of"], registry=self._registry
        )
        self._kept = Gauge("kalathi_merchant_kept", "Rows in the inbox, by kind.", ["kind"], registry=self._registry)
        self._answer_until = Gauge(
            "kalathi_merchant_next_deadline_timestamp_seconds",
            "Deadline of the most urgent order, in seconds since 1970; 0 if no order waits for an answer.",
            registry=self._registry,
        )

        self._needs = Gauge(
            "kalathi_merchant_needs_a_person",
            "Number of problems that need a person, as listed by kalathi merchant status.",
            registry=self._registry,
        )

    def note_webhook(self, status: int) -> None:
        """Count an answered webhook."""
        self._webhooks.labels(str(status)).inc()

    def note_refusal(self, refusal: Refusal) -> None:
        """Count a refused call."""
        self._refused.labels(str(refusal.status), refusal.reason, "webhook" if refusal.is_webhook else "noise").inc()

    def note_done(self, what: str) -> None:
        """Count a completed step, such as accepted, rejected, printed, withdrawn, reviewed or handed_over."""
        self._done.labels(what).inc()

    def note_failure(self, of: str) -> None:
        """Count a failed job (`look`), hand-over or reconciliation, or an unknown code that was dropped."""
        self._failures.labels(of).inc()

    def text(self, inbox: Inbox) -> bytes:
        """Render all metrics in the text format of Prometheus. Raises sqlite3.Error."""
        self._kept.clear()
        for kind, count in inbox.counts().items():
            self._kept.labels(kind).set(count)
        self._answer_until.set(inbox.subjects.next_deadline() or 0)
        self._needs.set(len(needs_now(inbox)))
        return generate_latest(self._registry)
