"""Webhooks that were not taken: why, in a closed set of reasons, and how the log bears a flood of them.

A refusal is data. `WebhookHandler` and `Receiver` give each one to one callback; metrics and the status of the
connector show it, and nothing reads the sentences. Calls of browsers and scanners are refused by the same rules;
`is_webhook` distinguishes the marketplace's calls.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from msgspec import UNSET

_log = structlog.get_logger("kalathi.merchant")

_COUNT_AGAIN_SECONDS: Final = 60.0


class RefusalReason(StrEnum):
    """Why a call was not answered with 200."""

    WRONG_PATH = "wrong_path"  # 404: another path, or the right one without the query that belongs to it
    WRONG_METHOD = "wrong_method"  # 405: the right path, but no POST
    INCOMPLETE = "incomplete"  # 400: the sender went away before the body was whole
    TOO_LARGE = "too_large"  # 413
    UNKNOWN_SOURCE = "unknown_source"  # 403: not from the marketplace's published ranges
    NOT_SIGNED = "not_signed"  # 401: `secrets` are set, and the call carries no signature
    BAD_SIGNATURE = "bad_signature"  # 401: signed with another secret, or changed on its way
    SIGNATURE_TOO_OLD = "signature_too_old"  # 401: signed rightly, but at another time than our clock says
    INBOX_FAILED = "inbox_failed"  # 500: it could not be written to the inbox file


class Refusal(NamedTuple):
    """One call that was refused."""

    status: int
    reason: RefusalReason
    detail: str  # A sentence for the operator: no secret, no value of a query.
    is_webhook: bool = True  # False: a call of a browser or a scanner.
    # Of SIGNATURE_TOO_OLD: how far our clock is ahead of the webhook's timestamp; negative: behind.
    clock_ahead_seconds: int | None = None


class _EventHead(msgspec.Struct):
    event_type: msgspec.Raw | msgspec.UnsetType = UNSET
    order: msgspec.Raw | msgspec.UnsetType = UNSET
    returned: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=UNSET, name="return")


_EVENT_HEAD: Final = msgspec.json.Decoder(_EventHead)


def looks_like_webhook(body: bytes) -> bool:
    """Whether a body is an event as the marketplace posts them (docs/contract.md#section-4), readable in whole or
    not."""
    try:
        head = _EVENT_HEAD.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return any(member is not UNSET for member in (head.event_type, head.order, head.returned))


class RefusalLog:
    """Logs the first refusal of each reason in full, and from then on only their number, at most once a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        # By reason and whether it was a webhook: when it was logged last, and how many came since.
        self._since: dict[tuple[RefusalReason, bool], tuple[float, int]] = {}

    def note(self, refusal: Refusal, error: Exception | None = None) -> None:
        """A call was refused; because of this error, if it is ours."""
        key = (refusal.reason, refusal.is_webhook)
        now = self._clock()
        logged_at, count = self._since.get(key, (None, 0))
        # A clock that was set back must not silence the log.
        if logged_at is not None and 0 <= now - logged_at < _COUNT_AGAIN_SECONDS:
            self._since[key] = (logged_at, count + 1)
            return
        self._since[key] = (now, 0)
        fields: dict[str, Any] = {} if logged_at is None else {"more_since_last_line": count}
        if refusal.clock_ahead_seconds is not None:
            fields["clock_ahead_seconds"] = refusal.clock_ahead_seconds
        if error is not None:
            fields["exc_info"] = error
        # Calls of browsers and scanners do not deserve a warning.
        write = _log.warning if refusal.is_webhook else _log.info
        event = "webhook_refused" if refusal.is_webhook else "call_refused"
        write(event, status=refusal.status, reason=refusal.reason, detail=refusal.detail, **fields)


def clock_words(ahead_seconds: int) -> str:
    """A sentence about two clocks that differ."""
    direction = "ahead of" if ahead_seconds > 0 else "behind"
    return (
        f"This machine's clock is {abs(ahead_seconds)} s {direction} the webhook's timestamp, and at most 300 s are"
        " allowed. Set this machine's clock (NTP); if it is right, the marketplace's clock is off or an old webhook was"
        " sent again."
    )
