"""A due delivery: read the event, send it without a transaction, say what is to be recorded (DESIGN, decision 8)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from kalathi.contract.signatures import signed_headers
from kalathi.marketplace.kernel.changes import ChangeSet, Delete, Update
from kalathi.marketplace.kernel.clock import BusinessClock, real_millis
from kalathi.marketplace.kernel.database import Database, View
from kalathi.marketplace.kernel.due import DueRow, again, done
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.webhooks import store
from kalathi.marketplace.webhooks.retry import Delivered, Exhausted, Outcome, RetryAt, RetrySchedule
from kalathi.marketplace.webhooks.sending import NO_HEADERS, Answer, SendError

_log = structlog.get_logger("kalathi.webhooks")


class Sender(Protocol):
    """What is needed of the network; tests give a fake."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """POSTs the bytes, with these headers beside the usual ones, and tells how it ended."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


class Road(Protocol):
    """The way to the network; a sandbox's has faults."""

    async def send(
        self, row: DueRow, event_type: str, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> Answer:
        """Makes this attempt at a delivery and tells how it ended."""
        ...


class Outgoing(NamedTuple):
    """An event on its way: its type and frozen bytes, the shop's URL as it is now, and the secrets that sign."""

    event_type: str
    body: bytes
    url: str | None
    secrets: list[str]


class Dispatcher:
    """Sends what is due to shops and records each attempt together with the end or the repeat of its row."""

    def __init__(self, database: Database, clock: BusinessClock, road: Road, schedule: RetrySchedule) -> None:
        self._database = database
        self._clock = clock
        self._road = road
        self._schedule = schedule

    @staticmethod
    def prepare(view: View, rows: Sequence[DueRow]) -> list[Outgoing | None]:
        """What the claimed deliveries need, in three statements for all of them; None for an event that is gone."""
        events = store.event_bodies(view, rows)
        shop_ids = {row.shop_id for row in rows}
        owners = shops.shops_by_id(view, shop_ids)
        secrets = shops.signing_secrets_by_shop(view, shop_ids)
        prepared: list[Outgoing | None] = []
        for row in rows:
            event = events.get((row.shop_id, row.subject, row.sequence))
            shop = owners.get(row.shop_id)
            if event is None or shop is None:
                prepared.append(None)
            else:
                prepared.append(Outgoing(*event, shop.webhook_url, secrets.get(shop.id, [])))
        return prepared

    @staticmethod
    def weigh(outgoing: Outgoing | None) -> int:
        """How many bytes of memory a prepared delivery holds."""
        return 0 if outgoing is None else len(outgoing.body)

    async def deliver(self, row: DueRow, outgoing: Outgoing | None) -> ChangeSet:
        """One attempt; gives what is to be recorded of it. A crash between the two repeats the attempt with the same
        bytes."""
        if outgoing is None:
            return ChangeSet(done(row))
        event_type, body, url, secrets = outgoing
        if url is None:
            answer = Answer("", None, SendError.NO_URL, b"", 0)
        else:
            # The id is the event's, the same at each attempt; it must hold no full stop.
            name = store.delivery_id(row.shop_id, row.subject, row.sequence).replace(".", "_")
            headers = signed_headers(secrets, name, real_millis() // 1000, body) if secrets else NO_HEADERS
            answer = await self._send(row, event_type, url, body, headers)
        return self._recorded(row, event_type, answer)

    async def _send(self, row: DueRow, event_type: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            return await self._road.send(row, event_type, url, body, headers)
        except Exception:  # noqa: BLE001  (whatever an endpoint brings about counts as one of its attempts)
            _log.exception("webhook_failed")
            return Answer(url, None, SendError.UNFORESEEN, b"", 0)

    def _recorded(self, row: DueRow, event_type: str, answer: Answer) -> ChangeSet:
        at_millis = self._clock.now_millis()
        outcome = self._schedule.outcome(
            delivered=answer.delivered, anchor_at=row.anchor_at, now=at_millis, recorded_before=row.attempts
        )
        if answer.error is SendError.HELD_BACK and isinstance(outcome, RetryAt):
            outcome = RetryAt(at_millis + int(answer.hold_seconds * 1000))
        word, follow_up = _consequence(row, outcome)
        self._database.metrics.deliveries.labels(word).inc()
        self._database.metrics.attempt_seconds.observe(answer.duration_millis / 1000)
        # One wide line an attempt; no body, and no URL, since it may carry a secret.
        _log.info(
            "webhook_attempt",
            shop_id=row.shop_id,
            subject=row.subject,
            event_type=event_type,
            attempt=row.attempts + 1,
            outcome=word,
            status=answer.status,
            error=str(answer.error),
            duration_millis=answer.duration_millis,
        )
        return ChangeSet(follow_up, store.insert_attempt(row, answer, word, at_millis))


def _consequence(row: DueRow, outcome: Outcome) -> tuple[str, Delete | Update]:
    """The word that the log shows, and what becomes of the due row."""
    match outcome:
        case Delivered():
            return "delivered", done(row)
        case Exhausted():
            return "exhausted", done(row)
        case RetryAt(due_at):
            return "retry", again(row, due_at)
