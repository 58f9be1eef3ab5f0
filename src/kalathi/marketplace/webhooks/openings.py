"""Events that follow another: an update of a return is sent only to a URL that received the return's created event
(docs/contract.md#section-8).

While the created event is being delivered, later events are stored without a delivery of their own. After its delivery,
their deliveries are planned, in order. If it fails for good, they are never planned. So the state of a later event
follows from three facts in the database: the URL that received the created event, whether a created event is being
delivered, and the event's own place in the order.
"""

from kalathi.contract.words import ReturnEventType
from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.due import DueKind, DueRow, complete, find_planned, plan
from kalathi.marketplace.kernel.storage.changes import Add, ChangeSet, Insert, Update
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.webhooks import store

OPENING = ReturnEventType.CREATED
FOLLOWING = ReturnEventType.UPDATED


def announce_following(
    view: View,
    shop_id: str,
    subject: str,
    sequence: int,
    *,
    event_type: str,
    body: bytes,
    at_millis: int,
    url: str | None,
) -> list[Insert | Update]:
    """Return the rows of an event that follows an opening event. `url` is the shop's current URL; None if nothing is to
    be sent."""
    waits_for = None if url is None else store.opening_under_way(view, shop_id, subject)
    reached = url is not None and store.find_opened_url(view, shop_id, subject) == url
    rows: list[Insert | Update] = [
        *store.announce(
            shop_id,
            subject,
            sequence,
            event_type=event_type,
            body=body,
            at_millis=at_millis,
            has_url=reached and waits_for is None,
        )
    ]
    if waits_for is not None:
        # The delivery of the opening event must see this event: the set fails if that delivery has ended since it was
        # read. (The attempts at a delivery itself are counted.)
        looks_again = Add(1 if waits_for.kind is DueKind.OPENED else 0)
        rows.append(Update("due", waits_for.key(), {"attempts": looks_again}))
    return rows


def reaches(view: View, shop_id: str, subject: str, url: str) -> bool:
    """Whether the opening event was delivered to this URL, or is under way."""
    if store.find_opened_url(view, shop_id, subject) == url:
        return True
    return store.opening_under_way(view, shop_id, subject) is not None


class Openings:
    """The handler of the due row that a delivered opening event leaves behind."""

    def __init__(self, database: Database, clock: BusinessClock) -> None:
        self._database = database
        self._clock = clock

    async def release(self, row: DueRow) -> None:
        """Plan the deliveries of the events since, unless the shop's URL has changed in the meantime."""

        def command(view: View) -> tuple[ChangeSet, None]:
            present = find_planned(view, row.kind, row.shop_id, row.subject, row.sequence)
            if present is None:
                return ChangeSet(), None  # Another worker has released them by now.
            changes = ChangeSet(complete(present))
            shop = shops.shop(view, row.shop_id)
            url = None if shop is None else shop.returns_url
            if url is None or store.find_opened_url(view, row.shop_id, row.subject) != url:
                return changes, None
            now = self._clock.now_millis()
            changes.add(
                *(
                    plan(DueKind.DELIVERY, row.shop_id, row.subject, sequence, due_at=now, anchor_at=now)
                    for sequence in store.find_held_events(view, row.shop_id, row.subject)
                )
            )
            return changes, None

        await self._database.run(command)
