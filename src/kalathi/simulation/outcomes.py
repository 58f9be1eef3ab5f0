"""Read the outcomes of the webhooks of orders and returns from the delivery log."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from kalathi.contract.words import ReturnEventType
from kalathi.operator_calls import are_settled
from kalathi.simulation.operator import OperatorClient

# Longer than the usual time limit of a webhook.
FIRST_ATTEMPTS_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.1
_RETURN_EVENTS: Final = frozenset(ReturnEventType)


class WebhookOutcome(NamedTuple):
    """A webhook and its last attempt. `state` is that of the delivery log; `status` is None without an answer."""

    event_type: str
    subject: str
    state: str
    url: str
    status: int | None
    explanation: str
    duration_millis: int
    attempts: int
    error: str = ""

    @property
    def has_injected_failure(self) -> bool:
        """Whether a fault rule failed the last attempt, so that the endpoint has nothing to do with it."""
        return self.error.startswith("injected")

    @property
    def is_delivered(self) -> bool:
        """Whether the endpoint accepted the webhook."""
        return self.state == "delivered"

    @property
    def is_of_returns(self) -> bool:
        """Whether the webhook is about a return."""
        return self.event_type in _RETURN_EVENTS

    def line(self) -> str:
        """Render a line for a person: `new_order  261129-1  → http://127.0.0.1:8000/hook 200 in 12 ms`."""
        return f"{self.event_type:23}  {self.subject}  {self._outcome()}"

    def _outcome(self) -> str:
        if self.state == "not_sent" and self.is_of_returns:
            return "nothing was sent: no URL for returns, or it has not received the first event of this return"
        if self.state == "not_sent":
            return "no webhook URL: nothing was sent"
        if not self.attempts:
            return "not tried yet"
        if self.status is None:
            return f"→ {self.url} no answer: {self.explanation}"
        return f"→ {self.url} {self.status} in {self.duration_millis} ms"


async def webhook_outcomes(
    operator: OperatorClient, subjects: Sequence[str], *, limit_seconds: float
) -> list[WebhookOutcome]:
    """Return the webhooks of these orders and returns, oldest first. Wait for the first attempt at each, no longer than
    the limit. Raises OperatorError."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + limit_seconds
    while True:
        entries = [entry for subject in subjects for entry in await operator.deliveries(subject)]
        if are_settled(entries) or loop.time() > ends_at:
            return [await _outcome(operator, entry) for entry in entries]
        await asyncio.sleep(_POLL_SECONDS)


async def _outcome(operator: OperatorClient, entry: dict[str, Any]) -> WebhookOutcome:
    attempts = (await operator.delivery(entry["id"]))["attempts"] if entry["attempts"] else []
    last = attempts[-1] if attempts else {}
    return WebhookOutcome(
        entry["event_type"],
        entry["subject"],
        entry["state"],
        last.get("url", ""),
        last.get("status"),
        last.get("explanation", ""),
        last.get("duration_millis", 0),
        len(attempts),
        last.get("error", ""),
    )
