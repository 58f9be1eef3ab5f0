"""Readers survive what a marketplace may send (docs/contract.md#section-11): no order is lost over a member."""

import copy
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kalathi.contract.codec import UnexpectedShapeError, encode
from kalathi.contract.orders import Address, Customer, Order, OrderBody, OrderList
from kalathi.contract.reading import ATHENS, read
from kalathi.contract.received import read_received
from kalathi.contract.returns import ReturnBody
from kalathi.contract.webhooks import read_event_head
from kalathi.contract.words import OrderState
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.decisions import Accept, LeaveToPerson, Nothing, answer_until, decide, places_that_decide
from kalathi.merchant.inbox.subjects import Subject
from kalathi.merchant.overview import needs_of, status_of
from tests.unit.test_connector import Shop

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"
ORDERS = sorted(EXAMPLES.glob("api/orders/DEMO-*.json"))
EVENTS = sorted(path for path in EXAMPLES.glob("webhooks/orders/*.json"))
RETURNS = sorted(EXAMPLES.glob("webhooks/returns/*.json"))
# What takes the place of any one member.
STRANGE: list[Any] = [None, "a_word_of_tomorrow", 4711, 10.5, True, [], {}, ["x"], {"y": 1}, "", [None]]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from _places(entry, (*path, key))


def _with(content: Any, path: tuple[Any, ...], strange: Any) -> Any:
    changed = copy.deepcopy(content)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = strange
    return changed


def _variants(content: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The content itself, with one member replaced at a time: copies of it would take most of the time."""
    for path in list(_places(content)):
        at = content
        for key in path[:-1]:
            at = at[key]
        kept = at[path[-1]]
        for strange in STRANGE:
            at[path[-1]] = strange
            yield path, content
        at[path[-1]] = kept


def _named(paths: list[Path]) -> list[Any]:
    assert paths
    return [pytest.param(path, id=path.stem) for path in paths]


@pytest.mark.parametrize("path", _named(EVENTS))
def test_an_events_order_code_is_read_with_any_member_replaced(path: Path) -> None:
    content = msgspec.json.decode(path.read_bytes())
    code = content["order"]["code"]
    for place, changed in _variants(content):
        if place in {("order",), ("order", "code")}:
            continue
        head = read_event_head(msgspec.json.encode(changed))
        assert (head.is_return, head.code) == (False, code), place


@pytest.mark.parametrize("path", _named(RETURNS))
def test_an_events_return_code_is_read_with_any_member_replaced(path: Path) -> None:
    content = msgspec.json.decode(path.read_bytes())
    code = content["return"]["return_code"]
    for place, changed in _variants(content):
        if place in {("return",), ("return", "return_code")}:
            continue
        head = read_event_head(msgspec.json.encode(changed))
        assert (head.is_return, head.code) == (True, code), place


@pytest.mark.parametrize("path", _named(ORDERS))
def test_an_order_with_a_replaced_member_is_read_and_not_part_accepted(path: Path) -> None:
    content = msgspec.json.decode(path.read_bytes())
    before = read(path.read_bytes(), OrderBody).value.order
    plenty = {line.shop_uid: 10_000 for line in before.line_items}
    sizes = {line.size.shop_variation_uid for line in before.line_items if line.size}
    plenty |= {str(uid): 10_000 for uid in sizes if uid}
    for place, changed in _variants(content):
        if place[:2] in {("order",), ("order", "code"), ("order", "state"), ("order", "line_items")} and len(place) < 3:
            continue
        reading = read(msgspec.json.encode(changed), OrderBody)
        order = reading.value.order
        assert (order.code, order.state) == (before.code, before.state), place
        decided = decide(order, plenty)
        if isinstance(decided, Accept) and not places_that_decide(
            [fault for fault in reading.unread if fault.startswith("$.order.")]
        ):
            assert [line.quantity for line in order.line_items if line.quantity > 0], place
            assert len(order.line_items) == len(before.line_items), place
        else:
            assert isinstance(decided, Accept | LeaveToPerson | Nothing), place


def test_unknown_words_are_kept_unchanged() -> None:
    content = msgspec.json.decode((EXAMPLES / "api/orders/DEMO-OPEN.json").read_bytes())["order"]
    content |= {"state": "on_hold", "invoice_document": "e_receipt", "payment_method": "barter", "new": {"a": [1]}}
    content["line_items"][0] |= {"rejection_reason": "lost", "return_reason": "too_blue", "tags": ["new_deal"]}
    content["rejection_info"] = {"reason": "x", "actor": "robot"}
    order = read(msgspec.json.encode({"order": content}), OrderBody).value.order
    line = order.line_items[0]
    assert (order.state, order.invoice_document, order.payment_method) == ("on_hold", "e_receipt", "barter")
    assert (line.rejection_reason, line.return_reason, line.tags) == ("lost", "too_blue", ["new_deal"])
    assert order.rejection_info
    assert order.rejection_info.actor == "robot"
    assert decide(order, {}) == Nothing()


def test_ids_and_numbers_may_be_texts_or_numbers() -> None:
    body = b"""{"order": {"code": 191029, "state": "open", "express": "false", "courier_tracking_codes": "T1",
      "expires_at": "2026-10-25 03:30:00", "created_at": "2026-10-25 03:30:00 +0200", "accept_options":
      {"number_of_parcels": ["1"], "pickup_location": [{"id": 7, "label": null}],
       "pickup_window": [{"id": "12", "label": "x"}]},
      "line_items": [{"id": 1, "shop_uid": 22, "quantity": "3", "unit_price": "10.40", "total_price": 31.2,
        "size": null, "ean": 5201234567890}]}}"""
    reading = read(body, OrderBody)
    order = reading.value.order
    [line] = order.line_items
    assert (order.code, order.express, order.courier_tracking_codes) == ("191029", False, ["T1"])
    assert (line.id, line.shop_uid, line.quantity, line.ean) == ("1", "22", 3, "5201234567890")
    assert (line.unit_price, line.total_price) == (Decimal("10.40"), Decimal("31.2"))
    assert order.expires_at
    assert order.expires_at.tzinfo is ATHENS
    assert order.created_at
    assert order.created_at.isoformat() == "2026-10-25T03:30:00+02:00"
    assert order.accept_options
    assert order.accept_options.pickup_window[0].id == 12
    # A location can be chosen without its label.
    assert reading.unread == ()


@pytest.mark.parametrize("amount", ["NaN", " nan ", "-Infinity", "inf", "sNaN7", "+INF"])
def test_an_amount_that_is_no_finite_number_is_unreadable(amount: str) -> None:
    """It could neither be counted nor written into any JSON."""
    content = msgspec.json.decode(ORDERS[0].read_bytes())
    content["order"]["line_items"][0]["unit_price"] = amount
    reading = read(msgspec.json.encode(content), OrderBody)
    assert "$.order.line_items[0].unit_price" in reading.unread
    assert encode(reading.value)
    assert read_received(reading)["order"]["line_items"][0]["unit_price"] == amount


def test_an_unreadable_entry_of_a_list_hides_no_other() -> None:
    entries = [{"code": "a", "state": "open", "line_items": []}, {"code": "b"}, None, {"code": "c", "state": "odd"}]
    meta = {"pagination": {"total_results": 4, "total_pages": 1, "page": 1, "per": 100}}
    reading = read(msgspec.json.encode({"orders": entries, "meta": meta}), OrderList)
    assert [order.code for order in reading.value.orders] == ["a"]
    assert [entry.content for entry in reading.dropped] == [{"code": "b"}, None, {"code": "c", "state": "odd"}]


def test_a_body_of_another_encoding_or_with_a_byte_order_mark_is_read() -> None:
    text = '{"event_type": "new_order", "order": {"code": "261128-0000001", "comments": "Καλημέρα"}}'
    for body in (text.encode("cp1253"), b"\xef\xbb\xbf" + text.encode()):
        assert read_event_head(body).code == "261128-0000001"


def test_the_order_code_of_a_truncated_body_is_read() -> None:
    body = (EXAMPLES / "webhooks/orders").glob("*.json")
    found = 0
    for path in body:
        content = msgspec.json.decode(path.read_bytes())
        code = content["order"]["code"]
        if code[:6].isdigit():
            cut = msgspec.json.encode(content | {"order": {"code": code} | content["order"]})[:-20]
            assert read_event_head(cut).code == code
            found += 1
    assert found
    with pytest.raises(UnexpectedShapeError):
        read_event_head(b'{"event_type": "new_order"}')


def test_a_return_is_read_with_any_member_replaced() -> None:
    content = msgspec.json.decode((EXAMPLES / "api/returns/DEMO-RETURN.json").read_bytes())
    for place, changed in _variants(content):
        if place in {("return",), ("return", "return_code"), ("return", "state")}:
            continue
        returned = read(msgspec.json.encode(changed), ReturnBody).value.returned
        assert returned.return_code == content["return"]["return_code"], place


class _AlteredOrders:
    """A marketplace whose GET of an order shows it with one member replaced."""

    def __init__(self, shop: Shop) -> None:
        self._send = shop.market.answer
        self.place: tuple[Any, ...] = ()
        self.strange: Any = None

    async def send(self, method: str, url: str, headers: Any, body: bytes | None) -> HttpAnswer:
        answer = await self._send(method, url, headers, body)
        content = msgspec.json.decode(answer.body) if answer.body.startswith(b'{"order"') else None
        if content is None:
            return answer
        try:
            return answer._replace(body=msgspec.json.encode(_with(content, self.place, self.strange)))
        except (KeyError, IndexError, TypeError):
            return answer


@pytest.mark.anyio
async def test_the_connector_loses_no_order_with_a_replaced_member(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    shop = Shop(tmp_path)
    odd = _AlteredOrders(shop)
    shop.market.proxy = odd
    shop.stock("shop_uid,quantity\nA,1000000\n")
    template = msgspec.json.decode(encode(OrderBody(order=shop.order("template", 1))))
    # Another id of a location is another location, which the marketplace refuses.
    others = {("order",), ("order", "code"), ("order", "accept_options", "pickup_location", 0, "id")}
    places = [place for place in _places(template) if place not in others]
    del shop.market.orders["template"]
    for number in range(120):
        odd.place, odd.strange = chance.choice(places), chance.choice(STRANGE)
        if (odd.place, odd.strange) == (("order", "express"), True):
            continue  # Not a fault: the marketplace accepts express orders itself.
        code = f"o{number}"
        shop.receive(shop.order(code, 1))
        await shop.work(until_seconds=shop.seconds + 30)
        state = shop.market.orders[code].state
        waiting = [waiting for kind, waiting in shop.inbox.jobs.waiting_for_person() if kind is Subject.ORDER]
        assert state == OrderState.ACCEPTED or code in waiting, (odd.place, odd.strange)
        assert state != OrderState.REJECTED, (odd.place, odd.strange)
    shop.inbox.close()


@pytest.mark.anyio
async def test_the_deadline_of_an_unreadable_order_is_watched(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    order = shop.order("o1", 1, expires_at=read(b'"2026-11-28T12:00:00+02:00"', Any).value)
    shop.inbox.events.put(b'{"order": {"code": "o1", "state": "open", "expires_at": "2026-11-28T12:00:00+02:00"}}')
    odd = _AlteredOrders(shop)
    odd.place, odd.strange = ("order",), "an order"
    shop.market.proxy = odd
    await shop.work(until_seconds=30)
    assert [(kind, code) for kind, code in shop.inbox.jobs.waiting_for_person()] == [(Subject.ORDER, "o1")]
    assert "o1" in shop.told[-1]
    [known] = shop.inbox.subjects.list_unanswered(10)
    assert known.answer_until == 1795860000.0
    assert order.code == "o1"
    # It is fetched again with every reconciliation, and answered once it can be read.
    odd.place = ("order", "nothing")
    shop.seconds += 400
    await shop.check()
    assert shop.market.orders["o1"].state == OrderState.ACCEPTED
    shop.inbox.close()


def test_a_deadline_without_an_offset_is_in_athens_time() -> None:
    for text, utc in (("2026-10-25T02:30:00", 1792884600.0), ("2026-10-25T05:30:00", 1792899000.0)):
        body = msgspec.json.encode({"code": "o1", "state": "open", "line_items": [], "expires_at": text})
        assert answer_until(read(body, Order).value) == utc


@pytest.mark.anyio
async def test_an_unreadable_size_does_not_fall_back_to_the_products_stock(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    odd = _AlteredOrders(shop)
    odd.place, odd.strange = ("order", "line_items", 0, "size"), "Large"
    shop.market.proxy = odd
    shop.receive(shop.order("o1", 1))
    await shop.work()
    assert shop.market.orders["o1"].state == OrderState.OPEN
    [told] = shop.told
    assert told.startswith("needs a person: Order o1: line_items[0].size cannot be read")
    shop.inbox.close()


@pytest.mark.anyio
async def test_a_forged_event_of_a_dispatch_keeps_neither_label_nor_pieces(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.receive(shop.order("o1", 1))
    await shop.work()
    shop.order("o1", 1, OrderState.CANCELLED)
    shop.inbox.events.put(b'{"event_type": "order_updated", "order": {"code": "o1", "state": "dispatched"}}')
    await shop.work()
    assert not shop.inbox.reservations.of("o1")
    shop.inbox.close()


@pytest.mark.parametrize(
    ("member", "strange", "is_watched"),
    [
        ("line_items", None, True),
        ("state", None, True),
        ("state", "open_express", True),
        ("state", "rejected", False),
    ],
)
@pytest.mark.anyio
async def test_the_deadline_of_an_order_that_may_be_open_is_watched(
    tmp_path: Path, member: str, strange: object, is_watched: bool
) -> None:
    shop = Shop(tmp_path)
    odd = _AlteredOrders(shop)
    odd.place, odd.strange = ("order", member), strange
    shop.market.proxy = odd
    until = datetime.fromtimestamp(50_000, UTC)
    shop.receive(shop.order("o1", 1, expires_at=until))
    shop.inbox.plan_from_event(shop.inbox.events.unread()[0], Subject.ORDER, "o1")
    await shop.work(until_seconds=2000)
    assert shop.inbox.subjects.next_deadline() == (50_000 if is_watched else None)
    shop.inbox.close()


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00", "9999-12-31T23:59:59Z", "1969-12-31T00:00:00Z"])
@pytest.mark.anyio
async def test_an_impossible_time_stops_no_processing(tmp_path: Path, when: str) -> None:
    shop = Shop(tmp_path)
    order = {"code": "999999-9999998", "state": "open", "expires_at": when}
    shop.inbox.events.put(msgspec.json.encode({"event_type": "new_order", "order": order}))
    odd = _AlteredOrders(shop)
    odd.place, odd.strange = ("order", "expires_at"), when
    shop.market.proxy = odd
    shop.receive(shop.order("o1", 9, line_items=[]))
    await shop.work()
    await shop.check()
    assert len(needs_of(shop.inbox, datetime.fromtimestamp(10, ATHENS))) == 1
    assert status_of(shop.inbox, datetime.fromtimestamp(10, ATHENS)).deadlines == []
    shop.inbox.close()


@pytest.mark.parametrize(
    ("place", "decides"),
    [
        (("customer", "phone"), False),
        (("customer",), False),
        (("line_items", 0, "commission"), False),
        (("line_items", 0, "serial_numbers"), False),
        (("accept_options", "pickup_window", 0, "label"), False),
        (("custom",), True),
        (("line_items", 0, "shop_uid"), True),
        (("line_items", 0, "quantity"), True),
        (("accept_options", "pickup_window"), True),
    ],
)
@pytest.mark.anyio
async def test_only_unreadable_deciding_members_leave_an_order_to_a_person(
    tmp_path: Path, place: tuple[Any, ...], decides: bool
) -> None:
    shop = Shop(tmp_path)
    odd = _AlteredOrders(shop)
    odd.place, odd.strange = ("order", *place), {"a": ["b"]}
    shop.market.proxy = odd
    shop.receive(shop.order("o1", 1, customer=Customer(id="c", first_name="A", last_name="B", address=Address())))
    await shop.work()
    assert shop.market.orders["o1"].state == (OrderState.OPEN if decides else OrderState.ACCEPTED)
    shop.inbox.close()


@pytest.mark.anyio
async def test_an_event_that_shows_a_dispatch_keeps_a_cancelled_orders_pieces(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for code in ("o1", "o2"):
        shop.receive(shop.order(code, 1))
    await shop.work()
    for code, before in (("o1", "dispatched"), ("o2", "accepted")):
        shop.order(code, 1, OrderState.CANCELLED)
        change = {"state": {"old": before, "new": "cancelled"}}
        event = {"event_type": "order_updated", "order": {"code": code, "state": "cancelled"}, "changes": change}
        shop.inbox.events.put(msgspec.json.encode(event), is_verified=True)
    await shop.work()
    assert shop.inbox.reservations.of("o1"), "the courier has them"
    assert not shop.inbox.reservations.of("o2")
    shop.inbox.close()


@pytest.mark.anyio
async def test_an_order_in_an_unknown_state_keeps_pieces_and_is_fetched_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.market.lists = False
    shop.receive(shop.order("o1", 1))
    await shop.work()
    odd = _AlteredOrders(shop)
    odd.place, odd.strange = ("order", "state"), "on_hold"
    shop.market.proxy = odd
    shop.inbox.jobs.plan(Subject.ORDER, "o1")
    # This one has no reservation, which alone would cause another fetch.
    shop.receive(shop.order("o2", 1))
    await shop.work()
    assert shop.inbox.jobs.waiting_for_person() == [(Subject.ORDER, "o1"), (Subject.ORDER, "o2")]
    assert shop.inbox.reservations.of("o1")
    odd.strange = "accepted"
    shop.seconds += 400
    await shop.check()
    assert shop.inbox.jobs.waiting_for_person() == []
    shop.inbox.close()
