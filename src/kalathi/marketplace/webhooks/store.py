"""The outbox in the database: the frozen bodies, the attempts, and the rows of their change sets."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from msgspec import Struct

from kalathi.contract.words import ReturnEventType
from kalathi.marketplace.kernel.clock import athens, from_millis
from kalathi.marketplace.kernel.due import DueKind, DueRow, find_planned, plan
from kalathi.marketplace.kernel.storage.changes import Delete, Insert, InsertMany, Value
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.kernel.targets import mask_url
from kalathi.marketplace.webhooks.answer import Answer, explanation_of


class Attempt(Struct, frozen=True, kw_only=True):
    """One recorded attempt. `at` is business time, the duration real; `answer` is the beginning of the answer's
    body."""

    number: int
    at: datetime
    url: str
    outcome: str
    status: int | None
    error: str
    # A sentence for the owner of the endpoint; empty if there is no error.
    explanation: str
    duration_millis: int
    answer: str


class Delivery(Struct, frozen=True, kw_only=True):
    """One event and what became of it: pending, delivered, exhausted, or not_sent (the shop had no URL)."""

    id: str
    event_type: str
    created_at: datetime
    state: str
    attempts: list[Attempt]


def announce(
    shop_id: str, subject: str, sequence: int, *, event_type: str, body: bytes, at_millis: int, has_url: bool
) -> list[Insert]:
    """The rows of a new event: the frozen body, and its delivery if the shop has a URL."""
    row: dict[str, Value] = {
        "shop_id": shop_id,
        "subject": subject,
        "sequence": sequence,
        "event_type": event_type,
        "created_at": at_millis,
        "body": body,
    }
    rows = [Insert("webhook_events", row)]
    if has_url:
        rows.append(plan(DueKind.DELIVERY, shop_id, subject, sequence, due_at=at_millis, anchor_at=at_millis))
    return rows


class FrozenEvent(NamedTuple):
    """An event as it is sent: its type and its bytes."""

    event_type: str
    body: bytes


EventKey = tuple[str, str, int]


def key_of(row: DueRow) -> EventKey:
    """Return the key of a delivery's event."""
    return row.shop_id, row.subject, row.sequence


_EVENT: Final = (
    "SELECT w.shop_id, w.subject, w.sequence, w.event_type, w.body FROM webhook_events w"
    " WHERE w.shop_id = :shop_id AND w.subject = :subject AND w.sequence = :sequence"
)


def find_events(view: View, rows: Sequence[DueRow]) -> dict[EventKey, FrozenEvent]:
    """Return the events of due deliveries; deleted ones are left out. Needs at least one row."""
    found = view.for_each(("shop_id", "subject", "sequence"), [key_of(row) for row in rows], _EVENT, {})
    return {(row[0], row[1], row[2]): FrozenEvent(row[3], row[4]) for row in found}


def last_sequence(view: View, shop_id: str, subject: str) -> int:
    """Return the sequence of a subject's latest event; 0 if it has none."""
    row = view.one(
        "SELECT max(sequence) FROM webhook_events WHERE shop_id = :shop_id AND subject = :subject",
        {"shop_id": shop_id, "subject": subject},
    )
    return row[0] if row and row[0] is not None else 0


def find_opened_url(view: View, shop_id: str, subject: str) -> str | None:
    """Return the URL to which a subject's opening event was delivered; None if it was not delivered."""
    row = view.one(
        "SELECT url FROM openings WHERE shop_id = :shop_id AND subject = :subject",
        {"shop_id": shop_id, "subject": subject},
    )
    return None if row is None else row[0]


def find_opened_urls(view: View, events: Sequence[DueRow]) -> dict[tuple[str, str], str]:
    """Return the URLs to which the opening events of many subjects were delivered, by shop and subject."""
    pairs = list({(event.shop_id, event.subject) for event in events})
    sql = "SELECT o.shop_id, o.subject, o.url FROM openings o WHERE o.shop_id = :shop_id AND o.subject = :subject"
    rows = view.for_each(("shop_id", "subject"), pairs, sql, {})
    return {(shop_id, subject): url for shop_id, subject, url in rows}


def opening_under_way(view: View, shop_id: str, subject: str) -> DueRow | None:
    """The due row for which later events have to wait: an opening event that is neither delivered nor given up, or the
    job that follows its delivery."""
    row = view.one(
        "SELECT d.kind, d.sequence FROM due d LEFT JOIN webhook_events e ON e.shop_id = d.shop_id"
        " AND e.subject = d.subject AND e.sequence = d.sequence"
        " WHERE d.shop_id = :shop_id AND d.subject = :subject AND d.kind IN (:delivery, :opened)"
        " AND (d.kind = :opened OR e.event_type = :created) ORDER BY d.sequence DESC LIMIT 1",
        {
            "shop_id": shop_id,
            "subject": subject,
            "delivery": DueKind.DELIVERY,
            "opened": DueKind.OPENED,
            "created": ReturnEventType.CREATED,
        },
    )
    return None if row is None else find_planned(view, DueKind(row[0]), shop_id, subject, row[1])


def event_type_of(view: View, shop_id: str, subject: str, sequence: int) -> str | None:
    """Return the type of an event; None if it was deleted."""
    row = view.one(
        "SELECT event_type FROM webhook_events"
        " WHERE shop_id = :shop_id AND subject = :subject AND sequence = :sequence",
        {"shop_id": shop_id, "subject": subject, "sequence": sequence},
    )
    return None if row is None else row[0]


def find_held_events(view: View, shop_id: str, subject: str) -> list[int]:
    """Return the sequences, in order, of the events since the latest opening event that have neither an attempt nor a
    planned delivery."""
    rows = view.all(
        "SELECT e.sequence FROM webhook_events e WHERE e.shop_id = :shop_id AND e.subject = :subject"
        " AND e.event_type = :updated AND e.sequence > (SELECT max(o.sequence) FROM webhook_events o"
        " WHERE o.shop_id = e.shop_id AND o.subject = e.subject AND o.event_type = :created)"
        " AND NOT EXISTS (SELECT 1 FROM due d WHERE d.shop_id = e.shop_id AND d.kind = :delivery"
        " AND d.subject = e.subject AND d.sequence = e.sequence)"
        " AND NOT EXISTS (SELECT 1 FROM delivery_attempts a WHERE a.shop_id = e.shop_id AND a.subject = e.subject"
        " AND a.sequence = e.sequence) ORDER BY e.sequence",
        {
            "shop_id": shop_id,
            "subject": subject,
            "updated": ReturnEventType.UPDATED,
            "created": ReturnEventType.CREATED,
            "delivery": DueKind.DELIVERY,
        },
    )
    return [row[0] for row in rows]


def record_opening(row: DueRow, url: str, at_millis: int) -> list[Delete | Insert]:
    """Record that an opening event was delivered to this URL, and plan the job that releases later events."""
    key: dict[str, Value] = {"shop_id": row.shop_id, "subject": row.subject}
    release: dict[str, Value] = {**key, "kind": DueKind.OPENED, "sequence": row.sequence}
    return [
        # After a manual resend, the new rows replace those of the earlier delivery.
        Delete("openings", key, touches=None),
        Delete("due", release, touches=None),
        Insert("openings", {**key, "url": url}),
        plan(DueKind.OPENED, row.shop_id, row.subject, row.sequence, due_at=at_millis, anchor_at=at_millis),
    ]


class ListenerLease(NamedTuple):
    """The process that delivers a shop's webhooks to its listeners; real time, in milliseconds since 1970."""

    holder: str
    expires_at: int


def listener_lease(view: View, shop_id: str) -> ListenerLease | None:
    """The lease of the shop's listeners; it may have expired."""
    row = view.one("SELECT holder, expires_at FROM listeners WHERE shop_id = :shop_id", {"shop_id": shop_id})
    return None if row is None else ListenerLease(*row)


class Backlog(NamedTuple):
    """The undelivered events: their number, and the time of the oldest, in milliseconds since 1970."""

    events: int
    oldest_at: int | None


def backlog(view: View) -> Backlog:
    """All deliveries that wait or are under way."""
    row = view.one("SELECT count(*), min(anchor_at) FROM due WHERE kind = :kind", {"kind": DueKind.DELIVERY})
    return Backlog(*row) if row else Backlog(0, None)


def count_attempts(view: View, shop_id: str, subject: str, sequence: int) -> int:
    """Return the number of attempts at an event."""
    row = view.one(
        "SELECT count(*) FROM delivery_attempts"
        " WHERE shop_id = :shop_id AND subject = :subject AND sequence = :sequence",
        {"shop_id": shop_id, "subject": subject, "sequence": sequence},
    )
    return row[0] if row else 0


def delivery_id(shop_id: str, subject: str, sequence: int) -> str:
    """Return the id of a delivery in the log and the API. It contains the shop, because a demo order has the same code
    in every shop."""
    return f"{shop_id}.{subject}.{sequence}"


def message_id(shop_id: str, subject: str, sequence: int) -> str:
    """Return the id of an event in its signatures, the same for each attempt. It must not contain a full stop."""
    return delivery_id(shop_id, subject, sequence).replace(".", "_")


_ATTEMPT: Final = (
    "shop_id",
    "subject",
    "sequence",
    "number",
    "at",
    "url",
    "outcome",
    "status",
    "error",
    "duration_millis",
    "answer",
)


def insert_attempts(attempts: Iterable[tuple[DueRow, Answer, str, int]]) -> InsertMany:
    """Return the records of attempts. Each attempt is its due row, the answer, the outcome's word, and the business
    time in milliseconds since 1970. The number of an attempt is part of the key, so that none is recorded twice."""
    rows = [
        (
            row.shop_id,
            row.subject,
            row.sequence,
            row.attempts + 1,
            at_millis,
            answer.url,
            outcome,
            answer.status,
            answer.error,
            answer.duration_millis,
            answer.body,
        )
        for row, answer, outcome, at_millis in attempts
    ]
    return InsertMany("delivery_attempts", _ATTEMPT, rows)


def attempts_of(view: View, shop_id: str, subject: str) -> dict[int, list[Attempt]]:
    """The attempts at each event of a subject, by the event's sequence, oldest first."""
    key: dict[str, Value] = {"shop_id": shop_id, "subject": subject}
    attempts: dict[int, list[Attempt]] = {}
    for sequence, number, at, url, outcome, status, error, duration, answer in view.all(
        "SELECT sequence, number, at, url, outcome, status, error, duration_millis, answer FROM delivery_attempts"
        " WHERE shop_id = :shop_id AND subject = :subject ORDER BY sequence, number",
        key,
    ):
        attempt = Attempt(
            number=number,
            at=athens(from_millis(at)),
            url=mask_url(url),
            outcome=outcome,
            status=status,
            error=error,
            explanation=explanation_of(error),
            duration_millis=duration,
            answer=answer.decode("utf-8", "replace"),
        )
        attempts.setdefault(sequence, []).append(attempt)
    return attempts


def deliveries(view: View, shop_id: str, subject: str) -> list[Delivery]:
    """Every event of a subject with its attempts, oldest first."""
    key: dict[str, Value] = {"shop_id": shop_id, "subject": subject}
    events = view.all(
        "SELECT sequence, event_type, created_at FROM webhook_events"
        " WHERE shop_id = :shop_id AND subject = :subject ORDER BY sequence",
        key,
    )
    attempts = attempts_of(view, shop_id, subject)
    pending = {
        row[0]
        for row in view.all(
            "SELECT sequence FROM due WHERE kind = :kind AND shop_id = :shop_id AND subject = :subject",
            {"kind": DueKind.DELIVERY, **key},
        )
    }
    return [
        Delivery(
            id=delivery_id(shop_id, subject, sequence),
            event_type=event_type,
            created_at=athens(from_millis(created_at)),
            state=_state(sequence in pending, attempts.get(sequence, [])),
            attempts=attempts.get(sequence, []),
        )
        for sequence, event_type, created_at in events
    ]


def _state(pending: bool, attempts: list[Attempt]) -> str:  # noqa: FBT001  (read at one place, right above)
    if pending:
        return "pending"
    if not attempts:
        return "not_sent"
    return attempts[-1].outcome
