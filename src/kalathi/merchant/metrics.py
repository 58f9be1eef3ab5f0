"""The metrics of a connector for Prometheus; one registry for each connector."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from kalathi.merchant.inbox import Inbox
from kalathi.merchant.overview import needs_now
from kalathi.merchant.refusals import Refusal


class ConnectorMetrics:
    """The instruments; each is named once, here."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._webhooks = Counter(
            "kalathi_merchant_webhooks", "Webhooks by the status of the answer.", ["status"], registry=self._registry
        )
        self._refused = Counter(
            "kalathi_merchant_refused",
            "Calls that were refused, by status, reason, and whether it was a webhook or noise.",
            ["status", "reason", "call"],
            registry=self._registry,
        )
        self._done = Counter("kalathi_merchant_done", "What was done.", ["what"], registry=self._registry)
        self._failures = Counter(
            "kalathi_merchant_failures", "What was tried in vain and is tried again.", ["of"], registry=self._registry
        )
        self._kept = Gauge("kalathi_merchant_kept", "What the inbox holds, by kind.", ["kind"], registry=self._registry)
        self._answer_until = Gauge(
            "kalathi_merchant_next_deadline_timestamp_seconds",
            "Until when the most urgent order is to be answered, in seconds since 1970; 0 when nothing waits.",
            registry=self._registry,
        )

        self._needs = Gauge(
            "kalathi_merchant_needs_a_person",
            "How many things need a person, as kalathi merchant status lists them.",
            registry=self._registry,
        )

    def note_webhook(self, status: int) -> None:
        """A webhook was answered."""
        self._webhooks.labels(str(status)).inc()

    def note_refusal(self, refusal: Refusal) -> None:
        """A call was refused."""
        self._refused.labels(str(refusal.status), refusal.reason, "webhook" if refusal.is_webhook else "noise").inc()

    def note_done(self, what: str) -> None:
        """Something was accepted, rejected, printed, withdrawn, reviewed or handed over."""
        self._done.labels(what).inc()

    def note_failure(self, of: str) -> None:
        """A look, a handover or a reconciliation has failed."""
        self._failures.labels(of).inc()

    def text(self, inbox: Inbox) -> bytes:
        """All of it in Prometheus' text format. Raises sqlite3.Error."""
        self._kept.clear()
        for kind, count in inbox.counts().items():
            self._kept.labels(kind).set(count)
        self._answer_until.set(inbox.subjects.next_deadline() or 0)
        self._needs.set(len(needs_now(inbox)))
        return generate_latest(self._registry)
