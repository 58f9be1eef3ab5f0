"""A connector runs for months: what it has in memory does not grow with what has gone through it."""

import gc
import os
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest

from kalathi.contract.codec import encode
from kalathi.contract.orders import AcceptOptions, LineItem, LocationOption, Order, OrderBody, Success, WindowOption
from kalathi.contract.webhooks import OrderEvent
from kalathi.contract.words import OrderEventType, OrderState
from kalathi.marketplace.kernel.clock import athens
from kalathi.merchant.client import AsyncClient, Retries
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.connector import Connector
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.printing import FolderPrinter
from kalathi.merchant.receiver import WebhookHandler
from kalathi.merchant.stock import CsvStock
from tests.unit.orders import NOW

pytestmark = pytest.mark.anyio

# `make chaos` asks for a hundred thousand.
EVENTS = int(os.environ.get("KALATHI_TEST_EVENTS", "2000"))
GROWTH_BYTES = 300_000


class Endless:
    """A marketplace whose orders are open until they are accepted; it remembers none that was asked for after that."""

    def __init__(self) -> None:
        self._accepted: set[str] = set()
        self.accepted = 0

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        code, _, action = url.partition("/orders/")[2].partition("/")
        if action:
            self._accepted.add(code)
            self.accepted += 1
            return HttpAnswer(200, encode(Success()))
        state = OrderState.ACCEPTED if code in self._accepted else OrderState.OPEN
        self._accepted.discard(code)
        return HttpAnswer(200, encode(OrderBody(order=_order(code, state))))

    async def close(self) -> None:
        pass


def _order(code: str, state: OrderState) -> Order:
    options = AcceptOptions(
        number_of_parcels=[1],
        pickup_location=[LocationOption(id="here", label="Σταδίου 1")],
        pickup_window=[WindowOption(id=7, label="15:00 - 18:00, Τρί 03/12/19")],
    )
    line = LineItem(id="line", shop_uid="A", product_name="Βιβλίο", quantity=1)
    return Order(code=code, state=state, line_items=[line], accept_options=options)


async def test_memory_stays_flat_over_many_events(tmp_path: Path) -> None:
    (tmp_path / "stock.csv").write_text("shop_uid,quantity\nA,999999999\n", "utf-8")
    market = Endless()
    inbox = Inbox(tmp_path / "inbox.db")
    client = AsyncClient("http://market", "secret", transport=market, retries=Retries(attempts=1))
    stock = CsvStock(tmp_path / "stock.csv")
    connector = Connector(client, inbox, stock, FolderPrinter(tmp_path / "out"), lambda _: None)
    handler = WebhookHandler(inbox)

    async def some(first: int, last: int) -> int:
        for number in range(first, last):
            order = _order(f"o{number}", OrderState.OPEN)
            event = OrderEvent(event_type=OrderEventType.NEW_ORDER, event_time=athens(NOW), order=order)
            assert handler.handle(encode(event), {}).status == 200
            if number % 50 == 49:
                await connector.work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = await some(0, 500)
        after = await some(500, 500 + EVENTS)
    finally:
        tracemalloc.stop()
    inbox.close()
    print(f"{EVENTS} events: {before} bytes before, {after} after")
    assert market.accepted == 500 + EVENTS
    assert after - before < GROWTH_BYTES
