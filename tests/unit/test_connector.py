"""The connector against a fake marketplace: each event has its effect once, also after a crash at any step."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from kalathi.contract.codec import decode, encode
from kalathi.contract.errors import ErrorEntry, ErrorEnvelope
from kalathi.contract.orders import AcceptOptions, LineItem, LocationOption, Order, OrderBody, Success, WindowOption
from kalathi.contract.requests import AcceptRequest, RejectRequest
from kalathi.contract.webhooks import OrderEvent
from kalathi.contract.words import OrderEventType, OrderState
from kalathi.marketplace.kernel.clock import athens
from kalathi.merchant.client import AsyncClient, MarketplaceError, UnreachableError
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.connector import Connector
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.printing import FolderPrinter
from kalathi.merchant.stock import CsvStock
from tests.unit.orders import NOW

pytestmark = pytest.mark.anyio

LINK = "http://market/vouchers/shop/link.pdf"


class FakeMarketplace:
    """Answers as the contract says, for one order at a time; a test may break the line before or after a call."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.calls: list[str] = []
        self.tokens: list[str | None] = []
        self.lose_requests = 0
        self.lose_answers = 0
        self.refuse: HttpAnswer | None = None

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        if self.lose_requests:
            self.lose_requests -= 1
            raise UnreachableError("no answer")
        self.calls.append(f"{method} {url.partition('/orders/')[2] or url}")
        self.tokens.append(headers.get("Authorization"))
        answer = self.refuse or self._answer(url, body)
        if self.lose_answers:
            self.lose_answers -= 1
            raise UnreachableError("no answer")
        return answer

    async def close(self) -> None:
        pass

    def _answer(self, url: str, body: bytes | None) -> HttpAnswer:
        if url == LINK:
            return HttpAnswer(200, b"%PDF voucher")
        code, _, action = url.partition("/orders/")[2].partition("/")
        order = self.orders[code]
        if not action:
            return HttpAnswer(200, encode(OrderBody(order=order)))
        if order.state is not OrderState.OPEN:
            return _error(422, "order_status", f"Order already {order.state}.")
        if action == "accept":
            assert decode(body or b"", AcceptRequest).pickup_location == "here"
            self.orders[code] = replace(order, state=OrderState.ACCEPTED)
        else:
            assert decode(body or b"", RejectRequest).line_items
            self.orders[code] = replace(order, state=OrderState.REJECTED)
        return HttpAnswer(200, encode(Success()))


def _error(status: int, code: str, message: str) -> HttpAnswer:
    return HttpAnswer(status, encode(ErrorEnvelope(errors=[ErrorEntry(code=code, messages=[message])])))


class Shop:
    """A connector with everything around it; `restart` is what a crash leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.market = FakeMarketplace()
        self.told: list[str] = []
        (folder / "stock.csv").write_text("shop_uid,quantity\nA,2\n", "utf-8")
        self.restart()

    def restart(self) -> None:
        self.inbox = Inbox(self.folder / "inbox.db")
        client = AsyncClient("http://market", "secret", transport=self.market)
        stock = CsvStock(self.folder / "stock.csv", self.inbox)
        self.connector = Connector(client, self.inbox, stock, FolderPrinter(self.folder / "out"), self.told.append)

    def order(self, code: str, quantity: int, state: OrderState = OrderState.OPEN) -> Order:
        options = AcceptOptions(
            number_of_parcels=[1],
            pickup_location=[LocationOption(id="here", label="Σταδίου 1")],
            pickup_window=[WindowOption(id=7, label="15:00 - 18:00, Τρί 03/12/19")],
        )
        line = LineItem(id="line", shop_uid="A", product_name="Βιβλίο", quantity=quantity)
        order = Order(code=code, state=state, line_items=[line], accept_options=options)
        self.market.orders.setdefault(code, order)
        return order

    def receive(self, order: Order, event_type: OrderEventType = OrderEventType.NEW_ORDER) -> None:
        self.inbox.put(encode(OrderEvent(event_type=event_type, event_time=athens(NOW), order=order)))


async def test_an_order_in_stock_is_accepted_once_and_its_pieces_are_reserved(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    order = shop.order("o1", 2)
    shop.receive(order)
    shop.receive(order)
    await shop.connector.work()
    await shop.connector.work()
    assert shop.market.calls == ["POST o1/accept"]
    assert shop.inbox.reserved_pieces() == {"A": 2}
    shop.receive(shop.order("o2", 1))
    await shop.connector.work()
    assert shop.market.orders["o2"].state is OrderState.REJECTED, "the same piece is not sold twice"


async def test_limited_stock_is_rejected_and_nothing_stays_reserved(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.receive(shop.order("o1", 3))
    await shop.connector.work()
    assert shop.market.calls == ["POST o1/reject"]
    assert shop.inbox.reserved_pieces() == {}
    assert shop.told == ["rejected o1: Βιβλίο: 2 of 3 available"]


@pytest.mark.parametrize("lost", ["lose_requests", "lose_answers"])
async def test_a_crash_around_the_accept_repeats_it_without_harm(tmp_path: Path, lost: str) -> None:
    shop = Shop(tmp_path)
    shop.receive(shop.order("o1", 2))
    setattr(shop.market, lost, 1)
    with pytest.raises(UnreachableError):
        await shop.connector.work()
    shop.inbox.close()
    shop.restart()
    await shop.connector.work()
    assert shop.market.orders["o1"].state is OrderState.ACCEPTED
    assert shop.inbox.reserved_pieces() == {"A": 2}
    assert shop.inbox.pending() == []


async def test_a_voucher_is_downloaded_without_the_token_and_printed_once(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    accepted = replace(shop.order("o1", 1, OrderState.ACCEPTED), courier_voucher=LINK)
    shop.receive(accepted, OrderEventType.ORDER_UPDATED)
    shop.receive(replace(accepted, comments="seen again"), OrderEventType.ORDER_UPDATED)
    await shop.connector.work()
    assert shop.market.calls == [f"GET {LINK}"]
    assert shop.market.tokens == [None]
    assert (tmp_path / "out" / "o1.pdf").read_bytes() == b"%PDF voucher"


@pytest.mark.parametrize("state", [OrderState.CANCELLED, OrderState.EXPIRED, OrderState.DISPATCHED])
async def test_the_pieces_of_an_order_that_has_ended_or_left_are_no_longer_reserved(
    tmp_path: Path, state: OrderState
) -> None:
    shop = Shop(tmp_path)
    order = shop.order("o1", 2)
    shop.receive(order)
    await shop.connector.work()
    shop.receive(replace(order, state=state), OrderEventType.ORDER_UPDATED)
    await shop.connector.work()
    assert shop.inbox.reserved_pieces() == {}


async def test_an_order_that_was_cancelled_before_our_answer_keeps_nothing_reserved(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    order = shop.order("o1", 2)
    shop.market.orders["o1"] = replace(order, state=OrderState.CANCELLED)
    shop.receive(order)
    await shop.connector.work()
    assert shop.inbox.reserved_pieces() == {}
    assert shop.told == ["o1 was answered already: cancelled"]


@pytest.mark.parametrize("status", [401, 403, 406, 429, 500, 503])
async def test_a_wrong_setup_or_a_busy_marketplace_makes_events_wait_and_none_is_lost(
    tmp_path: Path, status: int
) -> None:
    shop = Shop(tmp_path)
    shop.receive(shop.order("o1", 1))
    shop.market.refuse = _error(status, "some_code", "Some sentence.")
    with pytest.raises(UnreachableError, match="Some sentence"):
        await shop.connector.work()
    shop.market.refuse = None
    await shop.connector.work()
    assert shop.market.orders["o1"].state is OrderState.ACCEPTED


async def test_what_needs_a_person_is_put_aside_and_does_not_stop_the_rest(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.inbox.put(b"not json")
    shop.inbox.put(b'{"event_type": "merchant_return_created"}')
    unknown = replace(shop.order("o1", 1), line_items=[LineItem(id="line", shop_uid="Z", quantity=1)])
    shop.receive(unknown)
    shop.receive(shop.order("o2", 1))
    await shop.connector.work()
    assert [note.partition(":")[0] for _, note in shop.inbox.aside()] == [
        "The event cannot be read",
        "The event cannot be read",
        "Order o1",
    ]
    assert shop.market.orders["o2"].state is OrderState.ACCEPTED


async def test_a_refusal_is_an_error_with_the_marketplaces_own_words_and_no_secret() -> None:
    market = FakeMarketplace()
    market.refuse = _error(422, "invalid_parameter", "pickup_window: 1 is not valid.")
    client = AsyncClient("http://market/", "secret", transport=market)
    with pytest.raises(MarketplaceError, match="pickup_window: 1 is not valid") as refused:
        await client.accept("o1", "here", 1)
    assert refused.value.has_code("invalid_parameter")
    assert "secret" not in repr(client) + repr(refused.value)
    market.refuse = HttpAnswer(404, b"<html>no envelope</html>")
    with pytest.raises(MarketplaceError, match="no envelope"):
        await client.order("o1")
