"""The delivery log: events, their deliveries and outcomes, and the deletion of old ones."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from kalathi.contract.signatures import sign_headers
from kalathi.marketplace.kernel.clock import athens, from_millis
from kalathi.marketplace.kernel.due import DueKind
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Value
from kalathi.marketplace.kernel.storage.database import Database, Row, View
from kalathi.marketplace.shops.store import signing_secrets
from kalathi.marketplace.webhooks.answer import explanation_of
from kalathi.marketplace.webhooks.refusals import DeliveryNotFound
from kalathi.marketplace.webhooks.store import Attempt, attempts_of, delivery_id, message_id

DeliveryState = Literal["pending", "delivered", "exhausted", "not_sent"]
# The values of a list's `state` filter. `ended` means every state except pending.
DeliveryFilter = Literal["pending", "delivered", "exhausted", "not_sent", "ended"]

_THIS: Final = "shop_id = e.shop_id AND subject = e.subject AND sequence = e.sequence"
_LAST: Final = f"FROM delivery_attempts WHERE {_THIS} ORDER BY number DESC LIMIT 1"
_ENTRIES: Final = f"""
SELECT e.shop_id, e.subject, e.sequence, e.event_type, e.created_at,
  (SELECT due_at FROM due WHERE {_THIS} AND kind = :kind) AS due_at,
  (SELECT count(*) FROM delivery_attempts WHERE {_THIS}) AS attempts,
  (SELECT outcome {_LAST}) AS outcome, (SELECT status {_LAST}) AS status, (SELECT error {_LAST}) AS error
FROM webhook_events e"""  # noqa: S608  (fixed text only)
_AT_ONCE: Final = 100
_STATE: Final = (
    "CASE WHEN x.due_at IS NOT NULL THEN 'pending' WHEN x.outcome IS NULL THEN 'not_sent' ELSE x.outcome END"
)
_FILTERS: Final = {
    "shop_id": "e.shop_id = :shop_id",
    "subject": "e.subject = :subject",
    "event_type": "e.event_type = :event_type",
    "since": "e.created_at >= :since",
}


class EventName(NamedTuple):
    """An event of a shop by its key, with its type and the business time in milliseconds at which it was made."""

    subject: str
    sequence: int
    event_type: str
    at_millis: int


def events_since(view: View, shop_id: str, since_millis: int) -> list[EventName]:
    """Return the shop's events made at or after a business time (milliseconds since 1970), the oldest first."""
    # `|| ''` keeps the database from using the key's index: a large shop has many events, and few of them are new.
    rows = view.all(
        "SELECT subject, sequence, event_type, created_at FROM webhook_events"
        " WHERE shop_id || '' = :shop_id AND created_at >= :since ORDER BY created_at, subject, sequence",
        {"shop_id": shop_id, "since": since_millis},
    )
    return [EventName(*row) for row in rows]


def body_of(view: View, shop_id: str, subject: str, sequence: int) -> bytes | None:
    """Return the frozen bytes of an event; None if it was deleted."""
    row = view.one(
        "SELECT body FROM webhook_events WHERE shop_id = :shop_id AND subject = :subject AND sequence = :sequence",
        {"shop_id": shop_id, "subject": subject, "sequence": sequence},
    )
    return None if row is None else row[0]


class LoggedDelivery(Struct, frozen=True, kw_only=True):
    """One event of the log; `due_at` is the time of the next attempt (business time), the last three members are of the
    last attempt."""

    id: str
    shop_id: str
    subject: str
    event_type: str
    created_at: datetime
    state: DeliveryState
    due_at: datetime | None
    attempts: int
    status: int | None
    error: str
    # A sentence for the owner of the endpoint; empty if there is no error.
    explanation: str


class DeliveryDetail(Struct, frozen=True, kw_only=True):
    """One event whole: its frozen body, the headers that go with it, and each attempt."""

    delivery: LoggedDelivery
    headers: dict[str, str]
    body: msgspec.Raw
    attempts: list[Attempt]


def list_deliveries(
    view: View, filters: Mapping[str, Value], state: DeliveryFilter | None, limit: int, offset: int
) -> tuple[list[LoggedDelivery], int]:
    """Return a page of the log, newest first, and the total number of entries. `filters` may have `shop_id`, `subject`,
    `event_type` and `since` (business time in milliseconds since 1970)."""
    conditions = " AND ".join(_FILTERS[name] for name in filters)
    inner = f"{_ENTRIES} WHERE {conditions}" if conditions else _ENTRIES
    outer = "" if not state else f"WHERE {_STATE} <> :state" if state == "ended" else f"WHERE {_STATE} = :state"
    asked: dict[str, Value] = {**filters, "kind": DueKind.DELIVERY}
    asked |= {"state": "pending" if state == "ended" else state} if state else {}
    rows = view.all(
        f"SELECT x.*, {_STATE} AS state FROM ({inner}) x {outer}"  # noqa: S608  (fixed text only)
        " ORDER BY x.created_at DESC, x.shop_id, x.subject, x.sequence DESC LIMIT :limit OFFSET :offset",
        {**asked, "limit": limit, "offset": offset},
    )
    if state:
        counted = view.one(f"SELECT count(*) FROM ({inner}) x {outer}", asked)  # noqa: S608  (fixed text only)
    else:
        where = f" WHERE {conditions}" if conditions else ""
        counted = view.one(f"SELECT count(*) FROM webhook_events e{where}", filters)  # noqa: S608  (fixed text only)
    return [_entry(row) for row in rows], counted[0] if counted else 0


class SentAttempt(NamedTuple):
    """One attempt of an event, or an event without an attempt. Times are business time in milliseconds since 1970.
    The `outcome` of an event without an attempt is `pending` or `not_sent`."""

    subject: str
    sequence: int
    event_type: str
    begun_at: int
    url: str
    outcome: str
    status: int | None
    error: str
    duration_millis: int


def latest_attempts(view: View, shop_id: str, subject: str, limit: int) -> list[SentAttempt]:
    """Return the attempts of a shop's latest events, and the events without an attempt; with `subject`, of this order
    or return only."""
    of_subject = " AND e.subject = :subject" if subject else ""
    rows = view.all(
        "SELECT x.subject, x.sequence, x.event_type, COALESCE(a.at - a.duration_millis, x.created_at),"  # noqa: S608  (fixed text only)
        " COALESCE(a.url, ''), COALESCE(a.outcome, CASE WHEN x.due_at IS NULL THEN 'not_sent' ELSE 'pending' END),"
        " a.status, COALESCE(a.error, ''), COALESCE(a.duration_millis, 0)"
        f" FROM ({_ENTRIES} WHERE e.shop_id = :shop_id{of_subject} ORDER BY e.created_at DESC LIMIT :limit) x"
        " LEFT JOIN delivery_attempts a ON a.shop_id = x.shop_id AND a.subject = x.subject AND a.sequence = x.sequence"
        " ORDER BY x.created_at, x.subject, x.sequence, a.number",
        {"shop_id": shop_id, "subject": subject, "limit": limit, "kind": DueKind.DELIVERY}
        if subject
        else {"shop_id": shop_id, "limit": limit, "kind": DueKind.DELIVERY},
    )
    return [SentAttempt(*row) for row in rows]


def counts_by_state(view: View, most: int) -> dict[str, int]:
    """Return the number of events in each state, among the latest `most` events."""
    rows = view.all(
        f"SELECT y.state, count(*) FROM (SELECT {_STATE} AS state FROM"  # noqa: S608  (fixed text only)
        f" ({_ENTRIES} ORDER BY e.created_at DESC LIMIT :most) x) y GROUP BY y.state",
        {"kind": DueKind.DELIVERY, "most": most},
    )
    return dict(rows)


def oldest_waiting(view: View) -> LoggedDelivery | None:
    """Return the event that has waited longest for its delivery; None if no event waits."""
    row = view.one(
        f"SELECT x.*, 'pending' AS state FROM ({_ENTRIES} JOIN (SELECT shop_id, subject, sequence FROM due"  # noqa: S608  (fixed text only)
        " WHERE kind = :kind ORDER BY anchor_at LIMIT 1) d ON d.shop_id = e.shop_id AND d.subject = e.subject"
        " AND d.sequence = e.sequence) x",
        {"kind": DueKind.DELIVERY},
    )
    return None if row is None else _entry(row)


def oldest_given_up(view: View, most: int) -> LoggedDelivery | None:
    """Return the oldest failed delivery among the latest `most` events; None if there is none."""
    row = view.one(
        f"SELECT y.* FROM (SELECT x.*, {_STATE} AS state FROM ({_ENTRIES} ORDER BY e.created_at DESC LIMIT :most) x) y"  # noqa: S608  (fixed text only)
        " WHERE y.state = 'exhausted' ORDER BY y.created_at LIMIT 1",
        {"kind": DueKind.DELIVERY, "most": most},
    )
    return None if row is None else _entry(row)


def body_before(view: View, name: str) -> bytes | None:
    """Return the body of the subject's previous event; None for its first event. Raises NOT_FOUND."""
    shop_id, subject, sequence = parts_of(name)
    row = view.one(
        "SELECT body FROM webhook_events WHERE shop_id = :shop_id AND subject = :subject AND sequence < :sequence"
        " ORDER BY sequence DESC LIMIT 1",
        {"shop_id": shop_id, "subject": subject, "sequence": sequence},
    )
    return None if row is None else row[0]


def delivery_detail(view: View, name: str, headers: dict[str, str], now_seconds: int) -> DeliveryDetail:
    """Return one delivery with its body, its headers and all attempts. `headers` are those of every webhook. If the
    shop signs, the signature's headers for this real time (seconds since 1970) are added. Raises NOT_FOUND."""
    shop_id, subject, sequence = parts_of(name)
    key: dict[str, Value] = {"shop_id": shop_id, "subject": subject, "sequence": sequence}
    row = view.one(
        f"SELECT x.*, {_STATE} AS state, b.body FROM ({_ENTRIES} WHERE e.shop_id = :shop_id AND e.subject = :subject"  # noqa: S608  (fixed text only)
        " AND e.sequence = :sequence) x JOIN webhook_events b"
        " ON b.shop_id = x.shop_id AND b.subject = x.subject AND b.sequence = x.sequence",
        {**key, "kind": DueKind.DELIVERY},
    )
    if row is None:
        raise refuse(DeliveryNotFound())
    secrets = [*signing_secrets(view, shop_id).values()]
    if secrets:
        headers = headers | sign_headers(secrets, message_id(shop_id, subject, sequence), now_seconds, row[-1])
    return DeliveryDetail(
        delivery=_entry(row[:-1]),
        headers=headers,
        body=msgspec.Raw(row[-1]),
        attempts=attempts_of(view, shop_id, subject).get(sequence, []),
    )


def parts_of(name: str) -> tuple[str, str, int]:
    """Return shop, subject and sequence of a delivery's id. Raises NOT_FOUND for any other text."""
    parts = name.split(".")
    if len(parts) != 3 or not (parts[2].isascii() and parts[2].isdigit() and len(parts[2]) <= 9):
        raise refuse(DeliveryNotFound())
    return parts[0], parts[1], int(parts[2])


def forgotten(view: View, before_millis: int, limit: int) -> ChangeSet:
    """Return the deletion of up to `limit` events that are older than a business time and no longer wait; empty if
    there are none."""
    rows = view.all(
        "SELECT e.shop_id, e.subject, e.sequence FROM webhook_events e WHERE e.created_at < :before"  # noqa: S608  (fixed text only)
        f" AND NOT EXISTS (SELECT 1 FROM due WHERE {_THIS} AND kind = :kind) ORDER BY e.created_at LIMIT :limit",
        {"before": before_millis, "kind": DueKind.DELIVERY, "limit": limit},
    )
    changes = ChangeSet()
    for shop_id, subject, sequence in rows:
        key: dict[str, Value] = {"shop_id": shop_id, "subject": subject, "sequence": sequence}
        changes.add(Delete("webhook_events", key, touches=None), Delete("delivery_attempts", key, touches=None))
    return changes


async def forget_old(database: Database, before_millis: int, ending: asyncio.Event) -> int:
    """Delete all old events, in small sets so that other commits do not wait. Stop when the process ends. Return the
    number of deleted events."""
    count = 0
    while not ending.is_set():
        changes = await database.read_list(lambda view: forgotten(view, before_millis, _AT_ONCE))
        if changes.is_empty:
            return count
        await database.commit(changes)
        count += len(changes.guarded) // 2
    return count


def _entry(row: Row) -> LoggedDelivery:
    shop_id, subject, sequence, event_type, created_at, due_at, attempts, _outcome, status, error, state = row
    return LoggedDelivery(
        id=delivery_id(shop_id, subject, sequence),
        shop_id=shop_id,
        subject=subject,
        event_type=event_type,
        created_at=athens(from_millis(created_at)),
        state=state,
        due_at=None if due_at is None else athens(from_millis(due_at)),
        attempts=attempts,
        status=status,
        error=error or "",
        explanation=explanation_of(error),
    )
