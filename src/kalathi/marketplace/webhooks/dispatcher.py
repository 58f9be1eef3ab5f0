"""Deliver a due event: read it, send it outside of any transaction, and return the outcome (docs/decisions/0008)."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from kalathi.contract.signatures import sign_headers
from kalathi.marketplace.kernel.clock import BusinessClock, real_millis
from kalathi.marketplace.kernel.due import DueRow, complete_all, repeat_at
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.webhooks import store
from kalathi.marketplace.webhooks.answer import NO_HEADERS, SENTENCES, Answer, SendError
from kalathi.marketplace.webhooks.listeners import LISTENER_URL
from kalathi.marketplace.webhooks.openings import FOLLOWING, OPENING
from kalathi.marketplace.webhooks.retry import Delivered, Exhausted, Outcome, RetryAt, RetrySchedule

_log = structlog.get_logger("kalathi.webhooks")


class Sender(Protocol):
    """The network as a dispatcher uses it; tests have a fake."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """POST the bytes, with these headers beside the usual ones, and return the answer."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Transport(Protocol):
    """The layer between the dispatcher and the network. A sandbox injects faults here."""

    def prepare_body(self, row: DueRow, event_type: str, body: bytes) -> bytes:
        """Return the bytes to sign and send: the event's own, or with a fault of the sandbox."""
        ...

    async def send(
        self, row: DueRow, event_type: str, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> Answer:
        """Make this attempt at a delivery and return the answer."""
        ...


class Outgoing(NamedTuple):
    """A prepared delivery: the event's type and frozen bytes, the shop's current URL for it, and the signing secrets.
    Without a URL, `why_not` is the reason why it is not sent."""

    event_type: str
    body: bytes
    url: str | None
    secrets: list[str]
    why_not: SendError = SendError.NO_URL


class Freed(NamedTuple):
    """The attempt did not take place; the row can be read again."""


FREED: Final = Freed()


class Attempted(NamedTuple):
    """An ended attempt at a due row, at this business time (milliseconds since 1970). The answer is None if the event
    was deleted, or if no attempt took place."""

    row: DueRow
    answer: Answer | None
    outcome: Outcome | Freed = Exhausted()
    word: str = ""
    at_millis: int = 0
    # The URL to which an opening event was delivered; else empty.
    opens: str = ""


class Dispatcher:
    """Send due events to shops, and record each attempt together with the end or the retry of its row."""

    def __init__(
        self,
        database: Database,
        clock: BusinessClock,
        transport: Transport,
        schedule: RetrySchedule,
        *,
        has_listeners: bool = False,
    ) -> None:
        """With `has_listeners` the transport leads to the listeners of one shop, which need not have a URL."""
        self._no_url = LISTENER_URL if has_listeners else None
        self._database = database
        self._clock = clock
        self._transport = transport
        self._schedule = schedule

    def prepare(self, view: View, rows: Sequence[DueRow]) -> list[Outgoing | None]:
        """Return the prepared deliveries of due rows, read with three or four statements for all of them. A row whose
        event or shop is gone gets None."""
        events = store.find_events(view, rows)
        shop_ids = {row.shop_id for row in rows}
        owners = shops.shops_by_id(view, shop_ids)
        secrets = shops.signing_secrets_by_shop(view, shop_ids)
        following = [row for row in rows if events.get(store.key_of(row), _GONE).event_type == FOLLOWING]
        reached = store.find_opened_urls(view, following) if following else {}
        prepared: list[Outgoing | None] = []
        for row in rows:
            event, shop = events.get(store.key_of(row)), owners.get(row.shop_id)
            if event is None or shop is None:
                prepared.append(None)
                continue
            event_type, body = event
            url, why_not = shop.url_for(event_type) or self._no_url, SendError.NO_URL
            if event_type == FOLLOWING and reached.get((row.shop_id, row.subject)) != url:
                url, why_not = None, SendError.SILENCED
            prepared.append(Outgoing(event_type, body, url, secrets.get(shop.id, []), why_not))
        return prepared

    @staticmethod
    def weigh(outgoing: Outgoing | None) -> int:
        """Return the size of a prepared delivery in bytes."""
        return 0 if outgoing is None else len(outgoing.body)

    async def deliver(self, row: DueRow, outgoing: Outgoing | None) -> Attempted:
        """Make one attempt and return how it ended. If the process crashes before the attempt is recorded, it is
        repeated with the same bytes."""
        if outgoing is None:
            return Attempted(row, None)
        event_type, body, url, secrets, why_not = outgoing
        if url is None:
            answer = Answer("", None, why_not, b"", 0)
        else:
            body, headers = self._transport.prepare_body(row, event_type, body), NO_HEADERS
            if secrets:
                name = store.message_id(row.shop_id, row.subject, row.sequence)
                headers = sign_headers(secrets, name, real_millis() // 1000, body)
            answer = await self._send(row, event_type, url, body, headers)
        if answer.error is SendError.LISTENER_GONE:
            return Attempted(row, None, FREED)
        ended = self._make_outcome(row, event_type, answer)
        if event_type == OPENING and isinstance(ended.outcome, Delivered):
            return ended._replace(opens=url or "")
        return ended

    @staticmethod
    def record(ended: Sequence[Attempted]) -> ChangeSet:
        """Return the change set of ended attempts: each record together with the end or the retry of its row."""
        over = [entry.row for entry in ended if not isinstance(entry.outcome, RetryAt) and entry.outcome is not FREED]
        tries = [(entry.row, entry.answer, entry.word, entry.at_millis) for entry in ended if entry.answer is not None]
        changes = ChangeSet()
        if over:
            changes.add(complete_all(over))
        if tries:
            changes.add(store.insert_attempts(tries))
        for attempted in ended:
            if isinstance(attempted.outcome, RetryAt):
                changes.add(repeat_at(attempted.row, attempted.outcome.due_at))
            if attempted.opens:
                changes.add(*store.record_opening(attempted.row, attempted.opens, attempted.at_millis))
        return changes

    async def _send(self, row: DueRow, event_type: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            return await self._transport.send(row, event_type, url, body, headers)
        except Exception:  # noqa: BLE001  (any error that an endpoint causes counts as one of its attempts)
            _log.exception("webhook_failed")
            return Answer(url, None, SendError.UNFORESEEN, b"", 0)

    def _make_outcome(self, row: DueRow, event_type: str, answer: Answer) -> Attempted:
        at_millis = self._clock.now_millis()
        outcome = _DELIVERED if answer.delivered else self._plan_next(row, answer, at_millis)
        word = _WORDS[type(outcome)]
        self._database.metrics.note_attempt(
            row.shop_id, word, answer.duration_millis / 1000, delivered=answer.delivered
        )
        # Write one log line for each attempt, without the body, and without the URL, which may contain a secret.
        _log.info(
            "webhook_attempt",
            shop_id=row.shop_id,
            subject=row.subject,
            event_type=event_type,
            attempt=row.attempts + 1,
            outcome=word,
            status=answer.status,
            error=answer.error,
            duration_millis=answer.duration_millis,
            **(_explain(answer.error) if answer.error else _NOTHING),
        )
        return Attempted(row, answer, outcome, word, at_millis)

    def _plan_next(self, row: DueRow, answer: Answer, at_millis: int) -> Outcome:
        """Return the outcome of an attempt that failed."""
        if answer.error is SendError.SILENCED:
            return Exhausted()
        outcome = self._schedule.outcome(
            delivered=False,
            anchor_at=row.anchor_at,
            now=at_millis,
            recorded_before=row.attempts,
            due_at=row.due_at,
            retry_after_millis=int(answer.retry_after_seconds * 1000),
        )
        if answer.error is SendError.HELD_BACK and isinstance(outcome, RetryAt):
            return RetryAt(at_millis + int(answer.hold_seconds * 1000))
        return outcome


def _explain(error: SendError) -> dict[str, str]:
    return {"explanation": SENTENCES[error]}


_NOTHING: Final[dict[str, str]] = {}
_DELIVERED: Final = Delivered()
_GONE: Final = store.FrozenEvent("", b"")
# The words that the log shows.
_WORDS: Final = {Delivered: "delivered", Exhausted: "exhausted", RetryAt: "retry"}
