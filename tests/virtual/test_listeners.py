"""Listeners within the marketplace: database errors lose no event."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from kalathi.marketplace.kernel.storage.changes import StorageError
from kalathi.marketplace.listening.log_tail import Adopted, LogTail
from kalathi.marketplace.listening.messages import EVENT_TYPES, Answered, Event, decode_for_listener
from kalathi.marketplace.listening.shop_listeners import ShopListeners
from kalathi.marketplace.listening.stream import Stream
from kalathi.marketplace.webhooks.log import EventName
from tests.market import open_market

pytestmark = pytest.mark.anyio


class FailingTail(LogTail):
    """The first call of each kind fails with a database error."""

    failures = 0

    async def adopt(self, events: Iterable[EventName]) -> Adopted:
        self._stumble(2)
        return await super().adopt(events)

    async def bodies(self, events: Iterable[EventName]) -> dict[EventName, bytes]:
        wanted = list(events)
        if wanted:
            self._stumble(4)
        return await super().bodies(wanted)

    def _stumble(self, most: int) -> None:
        if self.failures < most:
            self.failures += 1
            raise StorageError("away for a moment")


class Client:
    """A listener that answers each event with 200."""

    def __init__(self, *, is_beside: bool) -> None:
        self.stream = Stream(event_types=EVENT_TYPES, is_beside=is_beside, target="", timeout_seconds=5, user_agent="x")
        self.events: list[Event] = []

    async def take(self, text: str) -> None:
        message = decode_for_listener(text.encode())
        if isinstance(message, Event):
            self.events.append(message)
            if message.number:
                self.stream.receive_answer(Answered(number=message.number, status=200))


async def test_database_errors_cost_a_listener_no_event(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(url=None)
        inside = market.marketplace
        database, clock, listeners = inside.database, inside._clock, inside._listeners
        tail = FailingTail(database, clock, shop.id)
        group = ShopListeners(
            shop.id, "test", database, tail, inside._faults, listeners._shop_transport, listeners._make_worker
        )
        leading, beside = Client(is_beside=False), Client(is_beside=True)
        senders = [asyncio.create_task(client.stream.run_sender(client.take)) for client in (leading, beside)]
        for client in (leading, beside):
            group.join(client.stream)
        running = asyncio.create_task(group.run())
        codes = [await shop.cart(A=1) for _ in range(3)]
        async with asyncio.timeout(20):
            while len(leading.events) < 3 or len(beside.events) < 3:
                await asyncio.sleep(0.01)
                group.wake()
        assert tail.failures == 4
        for client, is_copy in ((leading, False), (beside, True)):
            assert sorted(event.subject for event in client.events) == sorted(codes)
            assert all((event.number == 0) is is_copy for event in client.events)
            assert all(msgspec.json.decode(event.body)["order"]["code"] == event.subject for event in client.events)
        for client in (leading, beside):
            group.leave(client.stream)
        await asyncio.wait_for(running, 20)
        for sender in senders:
            sender.cancel()
        log = await market.operate("GET", f"/marketplace/deliveries?shop_id={shop.id}")
        assert {entry["state"] for entry in log["deliveries"]} == {"delivered"}
