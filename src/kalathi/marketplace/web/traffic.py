"""The traffic of a shop, or of one order or return: its calls and its webhooks in one list."""

from datetime import datetime, timedelta, timezone
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from kalathi.marketplace.kernel.clock import ATHENS, from_millis
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.request_log.log import RequestLog
from kalathi.marketplace.request_log.model import CallFilter, StoredCall, subject_of
from kalathi.marketplace.webhooks.log import SentAttempt, latest_attempts
from kalathi.marketplace.webhooks.store import delivery_id

# Calls, and webhooks, in one list.
MOST_OF_EACH: Final = 200


class TrafficEntry(Struct, frozen=True, kw_only=True):
    """One call of the shop, or one attempt of a webhook. `at` is the business time at which it began, in Athens.

    `name` is the call's name (`accept`) or the event's type (`new_order`). `target` is the call's path or the webhook's
    URL. `status` is null without an answer, also while a webhook waits; `outcome` is then `pending` or `not_sent`.
    `id` belongs to the request log or to the delivery log.
    """

    at: datetime
    kind: Literal["call", "webhook"]
    name: str
    subject: str
    method: str
    target: str
    status: int | None
    error: str
    outcome: str
    duration_millis: float
    id: str


class TrafficScope(NamedTuple):
    """The scope of the traffic: a shop, or one of its orders or returns."""

    shop_id: str
    subject: str = ""


async def read_traffic(database: Database, log: RequestLog | None, scope: TrafficScope) -> list[TrafficEntry]:
    """Return the latest calls and webhooks, oldest first. Without a request log there are only webhooks."""
    attempts = await database.read_list(lambda view: latest_attempts(view, scope.shop_id, scope.subject, MOST_OF_EACH))
    calls: list[StoredCall] = []
    if log is not None:
        # A call on an order counts even if it was refused before its shop was known, or if another shop made it.
        wanted = CallFilter(subject=scope.subject) if scope.subject else CallFilter(shop_id=scope.shop_id)
        calls = await log.read_stored(wanted, MOST_OF_EACH)
    timed = [(call.at - call.duration_micros // 1000, _show_call(call, log)) for call in calls if log is not None]
    timed += [(attempt.begun_at, _show_attempt(scope.shop_id, attempt)) for attempt in attempts]
    return [entry for _, entry in sorted(timed, key=lambda pair: pair[0])]


def _show_call(call: StoredCall, log: RequestLog) -> TrafficEntry:
    return TrafficEntry(
        at=_moment(call.at - call.duration_micros // 1000),
        kind="call",
        name=log.name_call(call.method, call.path),
        subject=subject_of(call.path),
        method=call.method,
        target=call.path,
        status=call.status or None,
        error=call.error,
        outcome="",
        duration_millis=call.duration_micros / 1000,
        id=call.id.decode(),
    )


def _show_attempt(shop_id: str, attempt: SentAttempt) -> TrafficEntry:
    return TrafficEntry(
        at=_moment(attempt.begun_at),
        kind="webhook",
        name=attempt.event_type,
        subject=attempt.subject,
        method="POST",
        target=attempt.url,
        status=attempt.status,
        error=attempt.error,
        outcome=attempt.outcome,
        duration_millis=attempt.duration_millis,
        id=delivery_id(shop_id, attempt.subject, attempt.sequence),
    )


def _moment(millis: int) -> datetime:
    """Return a time with its milliseconds, with the offset of Athens (kernel/clock.py says why not with its zone)."""
    local = from_millis(millis).astimezone(ATHENS)
    return local.replace(tzinfo=timezone(local.utcoffset() or timedelta(0)))
