"""The connector and its source of stock: pieces that have left, sources that are away, products that cannot be read."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from kalathi.contract.orders import LineItem, Order, Size
from kalathi.contract.words import OrderEventType, OrderState
from kalathi.merchant.client import AsyncClient, Retries
from kalathi.merchant.client.flows import OrderReading
from kalathi.merchant.connector import Connector
from kalathi.merchant.decisions import Accept, Decision
from kalathi.merchant.habits import Habits
from kalathi.merchant.handing_over import FunctionRecipient
from kalathi.merchant.policy import OrderPolicy, Policy
from kalathi.merchant.printing import FolderPrinter
from kalathi.merchant.stock import FunctionStock, Shelf, Stock, StockError
from tests.unit.test_connector import LINK, Shop, shop

pytestmark = pytest.mark.anyio
__all__ = ["shop"]

LEFT = [
    OrderState.DISPATCHED,
    OrderState.DELIVERED,
    OrderState.PARTIALLY_DELIVERED,
    OrderState.FOR_RETURN,
    OrderState.PARTIALLY_RETURNED,
]
NOT_SENT = [OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED]


class FakeSource:
    """A source with configured pieces, or with an error."""

    sends_itself = True
    poll_seconds = 30.0

    def __init__(self, *, lags: bool, **pieces: int) -> None:
        self.lags = lags
        self.pieces = pieces
        self.error: Exception | None = None
        self.asked = 0
        self.answers: asyncio.Event | None = None

    async def read(self) -> Shelf:
        self.asked += 1
        if self.answers is not None:
            await self.answers.wait()
        if self.error is not None:
            raise self.error
        return Shelf(dict(self.pieces))

    async def refresh(self) -> Shelf:
        return await self.read()


def _connect(shop: Shop, stock: Stock, **more: Any) -> None:
    """The shop's connector with another source."""
    client = AsyncClient("http://market", "secret", transport=shop.market, retries=Retries(attempts=1))
    printer = FolderPrinter(shop.folder / "out")
    shop.connector = Connector(client, shop.inbox, stock, printer, shop.told.append, clock=lambda: shop.seconds, **more)


async def _see(shop: Shop, code: str, state: OrderState, **different: object) -> None:
    shop.receive(shop.order(code, 1, state, **different), OrderEventType.ORDER_UPDATED)
    await shop.work(until_seconds=shop.seconds)


def _order_of(content: dict[str, object]) -> dict[str, object]:
    order = content["order"]
    assert isinstance(order, dict)
    return order


def _state(shop: Shop, code: str) -> str:
    return shop.market.orders[code].state


def _held(shop: Shop) -> dict[str, int]:
    return shop.inbox.reservations.pieces()


# What has left


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("ended", NOT_SENT)
async def test_an_order_cancelled_after_dispatch_keeps_pieces_and_label(
    shop: Shop, left: OrderState, ended: OrderState
) -> None:
    await _see(shop, "o1", OrderState.ACCEPTED, courier_voucher=LINK)
    await _see(shop, "o1", left)
    shop.restart()
    await _see(shop, "o1", ended)
    assert _held(shop) == {"A": 1}
    assert (shop.folder / "out" / "o1.pdf").exists()
    shop.stock("shop_uid,quantity\nA,2\n")
    await shop.check()
    assert _held(shop) == {"A": 1}, "the same number says nothing"
    shop.stock("shop_uid,quantity\nA,1\n")
    shop.receive(shop.order("o2", 1))
    await shop.work()
    assert _state(shop, "o2") == OrderState.ACCEPTED
    assert shop.inbox.reservations.of("o1") == {}


async def test_a_returned_order_releases_its_pieces(shop: Shop) -> None:
    for code in ("o1", "o2"):
        await _see(shop, code, OrderState.ACCEPTED)
        await _see(shop, code, OrderState.DISPATCHED)
    await _see(shop, "o1", OrderState.CANCELLED)
    await _see(shop, "o1", OrderState.RETURNED)
    await _see(shop, "o2", OrderState.PARTIALLY_RETURNED)
    assert _held(shop) == {"A": 1}, "which of its pieces are back, the order does not say"


async def test_a_dispatch_known_only_from_an_event_keeps_the_pieces(shop: Shop) -> None:
    for code in ("o1", "o2"):
        await _see(shop, code, OrderState.ACCEPTED, courier_voucher=LINK)
    shop.inbox.subjects.note_left("o1")
    await _see(shop, "o1", OrderState.ACCEPTED)
    assert shop.inbox.reservations.list_departed() == [], "what the marketplace shows now is stronger than an event"
    for code in ("o1", "o2"):
        await _see(shop, code, OrderState.CANCELLED)
    assert _held(shop) == {"A": 1}
    assert [(shop.folder / "out" / f"{code}.pdf").exists() for code in ("o1", "o2")] == [True, False]
    assert shop.inbox.subjects.has_left("o1")
    assert not shop.inbox.subjects.has_left("o2")
    assert not shop.inbox.subjects.has_left("unheard of")


async def test_the_same_bytes_written_again_sell_no_piece_twice(shop: Shop) -> None:
    shop.stock("shop_uid,quantity\nA,1\n")
    shop.receive(shop.order("o1", 1))
    await shop.work()
    await _see(shop, "o1", OrderState.DISPATCHED)
    for number in range(3):
        shop.restart()
        shop.stock("shop_uid,quantity\nA,1\n")
        shop.receive(shop.order(f"again{number}", 1))
        await shop.work()
        assert _state(shop, f"again{number}") == OrderState.REJECTED


async def test_an_export_that_begins_to_name_sizes_sells_no_piece_twice(shop: Shop) -> None:
    def sized(code: str, value: str) -> Order:
        size = Size(label="Νούμερο", value=value, shop_variation_uid=f"A-{value}")
        line = LineItem(id="line", shop_uid="A", product_name="Παπούτσι", quantity=1, size=size)
        return shop.order(code, 1, line_items=[line])

    shop.stock("shop_uid,quantity\nA,2\n")
    shop.receive(sized("o1", "44"))
    await shop.work()
    await _see(shop, "o2", OrderState.ACCEPTED)
    await _see(shop, "o2", OrderState.DISPATCHED)
    shop.restart()
    shop.stock("shop_uid,quantity\nA,2\nA-44,1\nA-42,1\n")
    shop.receive(sized("o3", "44"))
    shop.receive(sized("o4", "42"))
    await shop.work()
    assert _state(shop, "o3") == OrderState.REJECTED, "the only one is reserved for o1"
    assert _state(shop, "o4") == OrderState.OPEN, "the piece of o2, which names no size, could be this one"
    assert any("orders hold 1 of A without a size" in line for line in shop.told)
    assert _held(shop) == {"A": 1, "A-44": 1}
    shop.stock("shop_uid,quantity\nA,3\n")
    shop.receive(sized("o5", "42"))
    await shop.work()
    assert _state(shop, "o5") == OrderState.ACCEPTED, "o2 was released when the number of A rose"
    assert _held(shop) == {"A": 2}


@pytest.mark.parametrize("keeps_product", [False, True])
async def test_pieces_without_a_size_may_be_of_every_size(shop: Shop, keeps_product: bool) -> None:
    shop.stock("shop_uid,quantity\nA,1\n")
    shop.receive(shop.order("o1", 1))
    await shop.work()
    product = "A,1\n" if keeps_product else ""
    shop.restart()
    shop.stock(f"shop_uid,quantity\n{product}A-M,1\nA-L,5\n")
    for code, uid, quantity in (("o2", "A-M", 1), ("o3", "A-L", 1), ("o4", "A-L", 9)):
        size = Size(value=uid, shop_variation_uid=uid)
        shop.receive(shop.order(code, 1, line_items=[LineItem(id="line", shop_uid="A", quantity=quantity, size=size)]))
    await shop.work()
    assert [_state(shop, code) for code in ("o2", "o3", "o4")] == ["open", "accepted", "rejected"]


async def test_pieces_dispatched_within_the_lag_stay_reserved_after_a_count(shop: Shop) -> None:
    for minutes, held in ((0, {}), (60, {"A": 1})):
        shelves = FakeSource(lags=True, A=3)
        _connect(shop, shelves, habits=Habits(stock_lag_seconds=minutes * 60))
        await shop.check()
        code = f"o{minutes}"
        await _see(shop, code, OrderState.ACCEPTED)
        await _see(shop, code, OrderState.DISPATCHED)
        shelves.pieces["A"] = 5
        shop.seconds += 1800
        await shop.check()
        assert _held(shop) == held


async def test_a_live_source_read_after_a_dispatch_releases_its_pieces(shop: Shop) -> None:
    shelves = FakeSource(lags=False, A=2)
    _connect(shop, shelves)
    await _see(shop, "o1", OrderState.ACCEPTED)
    asked = shelves.asked
    await _see(shop, "o1", OrderState.DISPATCHED)
    assert shelves.asked == asked + 1
    assert _held(shop) == {}


@pytest.mark.parametrize("lags", [False, True])
async def test_a_hanging_source_delays_no_label_and_no_hand_over(shop: Shop, *, lags: bool) -> None:
    shelves = FakeSource(lags=lags, A=50)
    told: list[object] = []
    _connect(shop, shelves, recipient=FunctionRecipient(lambda content: told.append(_order_of(content)["code"])))
    for number in range(40):
        await _see(shop, f"o{number}", OrderState.ACCEPTED)
    shelves.answers = asyncio.Event()
    for number in range(40):
        shop.receive(shop.order(f"o{number}", 1, OrderState.DISPATCHED), OrderEventType.ORDER_UPDATED)
    shop.receive(shop.order("new", 1, OrderState.ACCEPTED, courier_voucher=LINK))
    told.clear()
    async with asyncio.timeout(10):
        await shop.work()
    assert (shop.folder / "out" / "new.pdf").exists()
    assert sorted(map(str, told)) == sorted(["new", *(f"o{number}" for number in range(40))])
    assert _held(shop) == {"A": 41}
    shelves.answers.set()
    async with asyncio.timeout(10):
        while not lags and _held(shop) != {"A": 1}:
            await asyncio.sleep(0.01)
    shop.seconds += 7200
    await shop.check()
    # A source that lags has to be read once before its numbers can be compared.
    assert _held(shop) == {"A": 41 if lags else 1}
    shop.connector._stock.stop()


async def test_a_live_source_releases_dispatched_pieces_after_an_outage(shop: Shop) -> None:
    shelves = FakeSource(lags=False, A=2)
    told: list[object] = []
    _connect(shop, shelves, recipient=FunctionRecipient(lambda content: told.append(_order_of(content)["state"])))
    await _see(shop, "o1", OrderState.ACCEPTED)
    shelves.error = StockError("the database is away")
    await _see(shop, "o1", OrderState.DISPATCHED)
    assert told == ["accepted", "dispatched"]
    assert _held(shop) == {"A": 1}
    shop.restart()
    _connect(shop, shelves)
    shelves.error = None
    await shop.check()
    assert _held(shop) == {}


async def test_a_dispatch_during_an_outage_is_compared_with_the_next_reading(shop: Shop) -> None:
    shelves = FakeSource(lags=True, A=5)
    _connect(shop, shelves)
    await shop.check()
    await _see(shop, "o1", OrderState.ACCEPTED)
    shelves.error = StockError("the disk is away")
    await _see(shop, "o1", OrderState.DISPATCHED)
    assert shop.inbox.reservations.list_departed() == ["o1"]
    shelves.error = None
    for pieces, held in ((4, {"A": 1}), (4, {"A": 1}), (3, {})):
        shelves.pieces["A"] = pieces
        shop.seconds += 300
        await shop.check()
        assert _held(shop) == held


# Sources that are away


@pytest.mark.parametrize("reserved", [True, False])
async def test_an_unavailable_source_blocks_neither_print_nor_hand_over(shop: Shop, *, reserved: bool) -> None:
    told: list[object] = []
    shelves = FakeSource(lags=True, A=5)
    _connect(shop, shelves, recipient=FunctionRecipient(lambda content: told.append(_order_of(content)["code"])))
    if reserved:
        shop.receive(shop.order("o1", 1))
        await shop.work()
    shelves.error = StockError("stock.csv: No such file or directory")
    await _see(shop, "o1", OrderState.ACCEPTED, courier_voucher=LINK)
    assert (shop.folder / "out" / "o1.pdf").exists()
    assert told.count("o1") == 1 + reserved
    assert _held(shop) == {"A": 1}, "the source is not needed to know which pieces an order takes"
    shop.receive(shop.order("o2", 1))
    await shop.work(until_seconds=30)
    assert _state(shop, "o2") == OrderState.OPEN
    shelves.error = None
    shelves.pieces = {"A": 2}
    await shop.work(until_seconds=200)
    assert _state(shop, "o2") == OrderState.ACCEPTED
    assert _held(shop) == {"A": 2}


async def test_an_outage_of_the_source_is_reported_once_and_so_is_its_end(shop: Shop) -> None:
    (shop.folder / "stock.csv").unlink()
    shop.receive(shop.order("o1", 1))
    for shop.seconds in (0.0, 300.0, 600.0):
        await shop.check()
    [line] = [line for line in shop.told if "stock cannot be read" in line]
    assert line.startswith("needs a person: the stock cannot be read: ")
    assert "stock.csv: No such file or directory. New orders wait for it" in line
    shop.stock("sku,quantity\nA,1\n")
    for shop.seconds in (900.0, 1200.0):
        await shop.check()
    assert len([line for line in shop.told if "must name the columns" in line]) == 1, "another reason is told too"
    shop.stock("shop_uid,quantity\nA,1\n")
    shop.seconds = 1500
    await shop.check()
    assert "the stock can be read again" in shop.told
    assert _state(shop, "o1") == OrderState.ACCEPTED


async def test_an_outage_is_reported_only_after_a_minute(shop: Shop) -> None:
    shelves = FakeSource(lags=False, A=5)
    _connect(shop, shelves)
    await shop.check()
    shelves.error = StockError("the address of the stock has answered 503")
    shop.receive(shop.order("o1", 1))
    await shop.work(until_seconds=50)
    assert shop.told == []
    await shop.work(until_seconds=130)
    assert [line for line in shop.told if "answered 503" in line]


# What cannot be read


async def test_an_order_with_unreadable_stock_waits_with_reason_and_line(shop: Shop) -> None:
    shop.stock("shop_uid,quantity\nB,1\nA,1.000\n")
    shop.receive(shop.order("o1", 1))
    await shop.work()
    assert _state(shop, "o1") == OrderState.OPEN
    [(_, note)] = shop.inbox.aside()
    assert note.startswith("Order o1: The stock of A cannot be read: ")
    assert 'stock.csv, line 3: the quantity "1.000" may mean 1 or 1000.' in note
    shop.stock("shop_uid,quantity\nA,1\n")
    await shop.check()
    assert _state(shop, "o1") == OrderState.ACCEPTED


async def test_a_custom_policy_is_not_called_for_unreadable_stock(shop: Shop) -> None:
    asked: list[str] = []

    def always(order: Order, available: dict[str, int], usual: OrderPolicy, **more: Any) -> Decision:
        asked.append(order.code)
        assert type(available) is dict
        return Accept("here", 7, 1)

    shop.restart(policy=Policy(orders=OrderPolicy(price_tolerance=None), decide=always))
    shop.stock("shop_uid,quantity\nA,1\nA,1\n")
    shop.receive(shop.order("o1", 1))
    await shop.work()
    shop.stock("shop_uid,quantity\nB,1\n")
    shop.receive(shop.order("o2", 1))
    await shop.work()
    assert asked == ["o2"]
    assert "it stands on lines 2, 3" in shop.inbox.aside()[0][1]


async def test_an_unreadable_price_does_not_disable_the_price_check(shop: Shop) -> None:
    policy = Policy(orders=OrderPolicy(price_tolerance=LineItem(id="x").unit_price))
    shop.stock("shop_uid,quantity,price\nA,5,1.299\n")
    for habits, state in ((policy, OrderState.OPEN), (Policy(), OrderState.ACCEPTED)):
        shop.restart(policy=habits)
        shop.receive(shop.order("o1", 1))
        await shop.work()
        assert _state(shop, "o1") == state


async def test_an_accepted_order_of_unknown_quantity_is_printed_and_reported(shop: Shop) -> None:
    shop.receive(shop.order("o1", 0, OrderState.ACCEPTED, courier_voucher=LINK))
    await shop.work()
    assert (shop.folder / "out" / "o1.pdf").exists()
    [(_, note)] = shop.inbox.aside()
    assert note == "Order o1: The quantity of A is not known. No pieces are held for that: lower the stock yourself."


async def test_an_order_in_an_unknown_state_keeps_its_pieces_and_waits_for_a_person(shop: Shop) -> None:
    await _see(shop, "o1", OrderState.ACCEPTED, courier_voucher=LINK)
    order = replace(shop.market.orders["o1"], state="on_the_moon")
    # The reader of answers never yields such an order; the steps must still handle it.
    _, note = await shop.connector._steps.advance(OrderReading(order, {}))
    assert 'its state "on_the_moon" is unknown' in note
    assert shop.inbox.reservations.list_holders() == ["o1"]
    assert (shop.folder / "out" / "o1.pdf").exists()


async def test_a_slow_source_lets_no_piece_be_sold_twice(shop: Shop) -> None:
    async def slow() -> dict[str, int]:
        await asyncio.sleep(0.01)  # Longer than two decisions take.
        return {"A": 3}

    _connect(shop, FunctionStock(slow))
    for number in range(12):
        shop.receive(shop.order(f"o{number}", 1))
    await shop.work()
    states = sorted(order.state for order in shop.market.orders.values())
    assert states == ["accepted"] * 3 + ["rejected"] * 9
