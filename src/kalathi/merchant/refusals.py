"""Refused webhooks: a closed set of reasons, and a log that limits repeated refusals.

A refusal is data. `WebhookHandler` and `Receiver` pass each one to one callback. The connector's metrics and status
show it, and no code parses the sentences. The same rules refuse calls of browsers and scanners; `is_webhook`
distinguishes the marketplace's calls.
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
    """The reason why a call was not answered with 200."""

    WRONG_PATH = "wrong_path"  # 404: another path, or the right one without its query
    WRONG_METHOD = "wrong_method"  # 405: the right path, but no POST
    INCOMPLETE = "incomplete"  # 400: the sender closed the connection before the end of the body
    TOO_LARGE = "too_large"  # 413
    UNKNOWN_SOURCE = "unknown_source"  # 403: not from the marketplace's published ranges
    NOT_SIGNED = "not_signed"  # 401: `secrets` are set, and the call carries no signature
    BAD_SIGNATURE = "bad_signature"  # 401: signed with another secret, or changed in transit
    SIGNATURE_TOO_OLD = "signature_too_old"  # 401: the signature is right, but its time differs too much from our clock
    INBOX_FAILED = "inbox_failed"  # 500: it could not be written to the inbox file


class Refusal(NamedTuple):
    """One call that was refused."""

    status: int
    reason: RefusalReason
    detail: str  # A sentence for the operator: no secret, no value of a query.
    is_webhook: bool = True  # False: a call of a browser or a scanner.
    # For SIGNATURE_TOO_OLD: our clock minus the webhook's timestamp, so a negative number means that our clock is
    # behind.
    clock_ahead_seconds: int | None = None


class _EventHead(msgspec.Struct):
    event_type: msgspec.Raw | msgspec.UnsetType = UNSET
    order: msgspec.Raw | msgspec.UnsetType = UNSET
    returned: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=UNSET, name="return")


_EVENT_HEAD: Final = msgspec.json.Decoder(_EventHead)


def looks_like_webhook(body: bytes) -> bool:
    """Whether a body looks like an event of the marketplace (docs/contract.md#section-4), even if it is partly
    unreadable."""
    try:
        head = _EVENT_HEAD.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return any(member is not UNSET for member in (head.event_type, head.order, head.returned))


class RefusalLog:
    """Log the first refusal of each reason at once, and after that at most one a minute, with the number of the
    others."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        # By reason and whether it was a webhook: when it was logged last, and how many came since.
        self._since: dict[tuple[RefusalReason, bool], tuple[float, int]] = {}

    def note(self, refusal: Refusal, error: Exception | None = None) -> None:
        """Log or count a refusal. `error` is our own error that caused it, if there is one."""
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
    """Describe the difference between this machine's clock and a webhook's timestamp, for a person."""
    direction = "ahead of" if ahead_seconds > 0 else "behind"
    return (
        f"This machine's clock is {abs(ahead_seconds)} s {direction} the webhook's timestamp, and at most 300 s are"
        " allowed. Set this machine's clock (NTP); if it is right, the marketplace's clock is off or an old webhook was"
        " sent again."
    )
