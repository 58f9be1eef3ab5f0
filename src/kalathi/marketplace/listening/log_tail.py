"""New events of one shop, read from the delivery log, and due rows for events that the shop has no URL for."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from kalathi.marketplace.kernel.clock import BusinessClock, real_millis
from kalathi.marketplace.kernel.due import DueKind, find_planned, plan
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.webhooks import log, store
from kalathi.marketplace.webhooks.listeners import LISTENER_URL
from kalathi.marketplace.webhooks.log import EventName
from kalathi.marketplace.webhooks.openings import FOLLOWING, OPENING

# An event becomes visible when it is committed, a moment after the time that it carries.
_COMMIT_MILLIS: Final = 10_000
_AT_ONCE: Final = 100


class LogTail:
    """Read each new event of a shop once."""

    def __init__(
        self, database: Database, clock: BusinessClock, shop_id: str, real: Callable[[], int] = real_millis
    ) -> None:
        self._database = database
        self._clock = clock
        self._shop_id = shop_id
        self._real = real
        # Real and business time of recent reads. Events from before the oldest of them are not read again.
        self._reads: deque[tuple[int, int]] = deque([(real(), clock.now_millis())])
        self._seen: set[EventName] = set()

    async def read_new(self) -> list[EventName]:
        """Return up to 100 events that were not returned before, the oldest first. Raises StorageError."""
        now = (self._real(), self._clock.now_millis())
        while len(self._reads) > 1 and self._reads[1][0] <= now[0] - _COMMIT_MILLIS:
            self._reads.popleft()
        since = self._reads[0][1]
        found = await self._database.read_list(lambda view: log.events_since(view, self._shop_id, since))
        new = [event for event in found if event not in self._seen][:_AT_ONCE]
        self._seen.update(new)
        if len(new) < _AT_ONCE:
            self._reads.append(now)
        self._seen = {event for event in self._seen if event.at_millis >= since}
        return new

    async def bodies(self, events: Iterable[EventName]) -> dict[EventName, bytes]:
        """Return the frozen bodies of events that still exist. Raises StorageError."""
        wanted = list(events)

        def query(view: View) -> dict[EventName, bytes]:
            found = {event: log.body_of(view, self._shop_id, event.subject, event.sequence) for event in wanted}
            return {event: body for event, body in found.items() if body is not None}

        return await self._database.read_list(query)

    async def adopt(self, events: Iterable[EventName]) -> "Adopted":
        """Plan the delivery of events for which the shop has no URL, because a listener stands in for it. Raises
        DomainError CONFLICT, StorageError."""
        wanted = list(events)

        def command(view: View) -> tuple[ChangeSet, Adopted]:
            changes, adopted = ChangeSet(), Adopted(set(), [])
            shop = shops.shop(view, self._shop_id)
            now = self._clock.now_millis()
            opening: set[str] = set()
            for event in wanted:
                key = (self._shop_id, event.subject, event.sequence)
                if find_planned(view, DueKind.DELIVERY, *key) or store.count_attempts(view, *key):
                    adopted.delivered.add(event)
                elif shop is None or shop.url_for(event.event_type) is not None:
                    continue  # The shop's own URL must not receive it (docs/contract.md#section-8).
                elif event.event_type == FOLLOWING and (
                    event.subject in opening or store.opening_under_way(view, *key[:2]) is not None
                ):
                    adopted.waiting.append(event)
                elif event.event_type != FOLLOWING or store.find_opened_url(view, *key[:2]) == LISTENER_URL:
                    changes.add(plan(DueKind.DELIVERY, *key, due_at=now, anchor_at=now))
                    adopted.delivered.add(event)
                    opening |= {event.subject} if event.event_type == OPENING else set()
            return changes, adopted

        return await self._database.run(command)


class Adopted(NamedTuple):
    """The events that are delivered as attempts, and those that wait for the event that opens their return."""

    delivered: set[EventName]
    waiting: list[EventName]
