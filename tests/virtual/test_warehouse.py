"""Goods in the marketplace's warehouse (docs/contract.md#section-9): submitted, received, sold, sent with a note."""

import asyncio
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec
import pypdfium2
import pytest

from kalathi.contract.codec import encode
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.orders.documents import note_facts, voucher_facts
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.queries import find_order
from kalathi.marketplace.orders.terms import Terms
from tests.market import CUSTOMER, NOON, OPERATOR_TOKEN, Market, Shop
from tests.virtual.returning import operate, request_return, review, show
from tests.virtual.warehousing import announce, in_warehouse, receive, stocked, supplier

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shop(market: Market) -> Shop:
    return await market.shop(quantity=0)


async def test_received_quantities_become_warehouse_stock(market: Market, shop: Shop) -> None:
    assert await in_warehouse(shop) == {"A": 0, "B": 0}
    code = (await announce(shop, await supplier(shop), A=8, B=2)).json["code"]
    assert len(code) == len("220623-4078-5820")
    [listed] = (await shop.call("GET", "/fbs/purchase_orders")).json["purchase_orders"]
    assert listed == {
        "code": code,
        "received_at": None,
        "created_at": "2026-11-24T10:00:00+02:00",
        "expected_date": "2026-11-30",
    }
    assert await in_warehouse(shop) == {"A": 0, "B": 0}
    await market.advance(3600)
    received = await receive(market, code, A=5)
    assert [entry["actual_quantity"] for entry in received["line_items"]] == [5, 2]
    assert await in_warehouse(shop) == {"A": 5, "B": 2}
    answer = (await shop.call("GET", f"/fbs/purchase_orders/{code}/line_items")).json
    ids = {entry["shop_uid"]: entry["id"] for entry in (await shop.call("GET", "/fbs/products")).json["products"]}
    assert answer["purchase_order_line_items"] == [
        {"product_id": ids["A"], "shop_uid": "A", "active": True, "expected_quantity": 8, "actual_quantity": 5},
        {"product_id": ids["B"], "shop_uid": "B", "active": True, "expected_quantity": 2, "actual_quantity": 2},
    ]
    assert answer["meta"]["pagination"]["total_results"] == 2
    [listed] = (await shop.call("GET", "/fbs/purchase_orders")).json["purchase_orders"]
    assert listed["received_at"] == "2026-11-24T11:00:00+02:00"
    again = await receive(market, code, status=422)
    assert again["errors"][0] == {"code": "purchase_order_status", "messages": ["Purchase order already received."]}
    await stocked(shop, A=1)
    assert await in_warehouse(shop) == {"A": 6, "B": 2}


async def test_a_warehouse_order_starts_accepted_and_gets_its_delivery_note(market: Market, shop: Shop) -> None:
    await stocked(shop, A=5, B=1)
    code = await shop.cart(A=2, B=1)
    await market.settle()
    [(_, event)] = market.network.posts
    order = event["order"]
    assert (event["event_type"], order["state"]) == ("new_order", "accepted")
    assert order == await shop.show(code)
    assert order["fulfilled_by_skroutz"] is True
    assert order["fees"] == {"fbs_fee": 1.2}
    assert (order["courier"], order["courier_voucher"], order["courier_tracking_codes"]) == (None, None, [])
    assert order.keys() & {"accept_options", "reject_options", "pickup_window", "number_of_parcels"} == set()
    assert await in_warehouse(shop) == {"A": 3, "B": 0}
    assert await shop.stock() == {"A": 0, "B": 0}
    await market.advance(30 * 86_400)
    assert (await shop.show(code))["state"] == "accepted", "it needs no answer, so it does not expire"
    for action, body in (("accept", {}), ("reject", {"rejection_reason_other": "no"})):
        refusal = await shop.call("POST", f"/orders/{code}/{action}", body)
        assert refusal.json["errors"][0] == {"code": "order_status", "messages": ["Order already accepted."]}
    await market.operate("POST", f"/marketplace/orders/{code}/hand_over")
    assert (await shop.show(code))["fbs_delivery_note"] is None
    await market.advance(2)
    shown = await shop.show(code)
    assert await shop.sent_updates(code) == [
        ("dispatched", {"state"}),
        ("dispatched", {"fbs_delivery_note", "fbs_delivery_note_url"}),
    ]
    number = "ΔΑΠΟΣ" + code.replace("-", "")
    assert shown["fbs_delivery_note"] == number
    note = await market.call("GET", shown["fbs_delivery_note_url"].removeprefix("http://market"))
    assert (note.status, note.headers["content-type"]) == (200, "application/pdf")
    document = pypdfium2.PdfDocument(note.body)
    text = document[0].get_textpage().get_text_range()
    for told in (number, code, "Ελένη Παπαδοπούλου", "Ερμού 12", "Προϊόν A", "Demo shop", "Ασπρόπυργος"):
        assert told in text, told
    document.close()


async def test_an_order_not_fully_in_the_warehouse_goes_to_the_shop(market: Market) -> None:
    shop = await market.shop(quantity=10)
    await stocked(shop, A=1)
    kinds = [
        (await shop.show(await shop.place(wanted, **facts)))["fulfilled_by_skroutz"]
        for wanted, facts in (
            ({"A": 2}, {}),
            ({"A": 1, "B": 1}, {}),
            ({"A": 1}, {"store_pickup": True}),
            ({"A": 1}, {"express": True}),
            ({"A": 1}, {}),
        )
    ]
    assert kinds == [False, False, False, True, False]
    assert await in_warehouse(shop) == {"A": 0, "B": 0}
    assert await shop.stock() == {"A": 10 - 5, "B": 9}


async def test_a_cancelled_order_is_restocked_unless_in_transit(market: Market, shop: Shop) -> None:
    await stocked(shop, A=3)
    first, second = await shop.cart(A=1), await shop.cart(A=1)
    await market.operate("POST", f"/marketplace/orders/{second}/hand_over")
    for code in (first, second):
        await market.operate("POST", f"/marketplace/orders/{code}/cancel")
    await market.advance(5)
    assert await in_warehouse(shop) == {"A": 2, "B": 0}
    assert await shop.stock() == {"A": 0, "B": 0}
    assert (await shop.show(second))["state"] == "cancelled"
    assert (await shop.show(second))["fbs_delivery_note"], "it has left the warehouse, so it has its note"
    await market.operate("POST", f"/marketplace/orders/{second}/bring_back")
    assert await in_warehouse(shop) == {"A": 3, "B": 0}


async def test_stock_never_goes_below_zero_under_thirty_two_callers(market: Market, shop: Shop) -> None:
    await stocked(shop, A=40, B=7)
    carts = [{"A": 1}, {"A": 2}, {"A": 3, "B": 1}, {"B": 2}]

    async def buy(number: int) -> dict[str, int]:
        bought = {"A": 0, "B": 0}
        for turn in range(4):
            wanted = carts[(number + turn) % len(carts)]
            items = [{"shop_id": shop.id, "shop_uid": uid, "quantity": count} for uid, count in wanted.items()]
            cart = {"customer": CUSTOMER, "items": items, "payment_method": "card"}
            headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
            answer = await market.call("POST", "/marketplace/carts", cart, headers)
            if answer.status == 201:
                assert answer.json["orders"][0]["state"] == "accepted"
                for uid, count in wanted.items():
                    bought[uid] += count
            else:
                assert answer.status in {409, 422}, answer
        return bought

    bought = await asyncio.gather(*(buy(number) for number in range(32)))
    left = await in_warehouse(shop)
    assert {uid: sum(entry[uid] for entry in bought) + left[uid] for uid in "AB"} == {"A": 40, "B": 7}
    assert min(left.values()) >= 0
    assert left["A"] == 0 or left["B"] == 0 or min(left.values()) < 2, "as much was sold as there was"


async def test_a_successor_ships_from_the_warehouse_if_fully_in_stock(market: Market) -> None:
    shop = await market.shop(quantity=5)
    await stocked(shop, A=3)
    code = await shop.cart(A=3, B=1)
    await market.settle()
    first, second = (await shop.show(code))["line_items"]
    rejected = {"line_items": [{"id": second["id"], "reason_id": 1}]}
    assert (await shop.call("POST", f"/orders/{code}/reject", rejected)).status == 200
    await market.settle()
    successor = [body["order"] for _, body in market.network.posts if body["event_type"] == "new_order"][-1]
    assert (successor["state"], successor["fulfilled_by_skroutz"]) == ("accepted", True)
    assert [(line["shop_uid"], line["quantity"]) for line in successor["line_items"]] == [("A", 3)]
    assert await in_warehouse(shop) == {"A": 0, "B": 0}
    assert await shop.stock() == {"A": 5, "B": 5}, "the shop's own pieces are its own again"
    await stocked(shop, A=2)
    code = await shop.cart(A=3)
    limited = {"line_items": [{"id": (await shop.show(code))["line_items"][0]["id"], "reason_id": 4}]}
    limited["line_items"][0]["available_quantity"] = 2
    assert (await shop.call("POST", f"/orders/{code}/reject", limited)).status == 200
    assert await in_warehouse(shop) == {"A": 0, "B": 0}
    assert await shop.stock() == {"A": 2, "B": 5}, "what the shop has counted stays with it"
    assert first["quantity"] == 3


async def test_a_delivery_note_follows_a_quickly_ended_order(market: Market, shop: Shop) -> None:
    await stocked(shop, A=2)
    for pieces in (2, 1):
        await stocked(shop, A=2)
        code = await shop.cart(A=2)
        for word in ("hand_over", "deliver"):
            await market.operate("POST", f"/marketplace/orders/{code}/{word}")
        line = (await shop.show(code))["line_items"][0]["id"]
        asked = await request_return(market, code, {"id": line, "quantity": pieces, "reason": "withdrawal"})
        await operate(market, asked["return_code"], "take_back")
        assert (await shop.show(code))["state"] == ("returned" if pieces == 2 else "partially_returned")
        await market.advance(5)
        assert (await shop.show(code))["fbs_delivery_note"]


async def test_phones_of_customers_are_not_shown_of_an_order_from_the_warehouse(market: Market) -> None:
    shop = await market.shop(quantity=0, fulfillment_mode="fbm")
    await stocked(shop, A=1)
    order = await shop.show(await shop.place({"A": 1}, customer=CUSTOMER | {"phone": "2101234567"}))
    assert "phone" not in order["customer"]
    assert "shipping_cost" not in order


async def test_a_warehouse_return_goes_back_there_and_is_not_resold(market: Market, shop: Shop) -> None:
    await stocked(shop, A=1)
    code = await shop.cart(A=1)
    for word in ("hand_over", "deliver"):
        await market.operate("POST", f"/marketplace/orders/{code}/{word}")
    [line] = (await shop.show(code))["line_items"]
    asked = await request_return(market, code, {"id": line["id"], "quantity": 1, "reason": "missing_part"})
    assert "send_missing_part" not in [option["option"] for option in asked["review_options"]]
    await review(shop, asked["return_code"], option="approve")
    assert (await show(shop, asked["return_code"]))["returning_address"] == {
        "street_name": "Λεωφόρος Ειρήνης",
        "street_number": "7",
        "zip": "19300",
        "city": "Ασπρόπυργος",
        "region": "Αττική",
        "country_code": "GR",
    }
    await operate(market, asked["return_code"], "take_back")
    assert (await shop.show(code))["state"] == "returned"
    assert await in_warehouse(shop) == {"A": 0, "B": 0}


async def test_a_warehouse_order_is_replaced_by_an_order_of_the_shop(market: Market) -> None:
    shop = await market.shop(quantity=3)
    await stocked(shop, A=1)
    code = await shop.cart(A=1)
    for word in ("hand_over", "deliver", "replace"):
        await market.operate("POST", f"/marketplace/orders/{code}/{word}")
    [replacement] = (await shop.show(code))["replacements"]
    order = await shop.show(replacement["code"])
    assert (order["state"], order["fulfilled_by_skroutz"], order["fees"]) == ("open", False, {})
    assert order["courier"] == "Skroutz Last Mile"


async def test_no_control_character_of_any_text_is_given_to_a_voucher_or_a_delivery_note(market: Market) -> None:
    hostile = "a\x1b[2J\x07\u202e\x9b\u2028b"
    place = {"street_name": hostile, "street_number": hostile, "zip": hostile, "city": hostile, "region": hostile}
    customer = {
        "first_name": hostile,
        "last_name": hostile,
        "address": {**place, "floor": hostile, "country_code": "GR"},
    }
    shop = await market.shop(name=hostile, locations=[place], listing={"product_name": hostile})
    code = await shop.place({"A": 1}, customer=customer)
    found = await market.marketplace.database.read(lambda view: find_order(view, code))
    numbered = msgspec.structs.replace(found.order.lines()[0], serial_numbers=hostile, shop_uid=hostile)
    order = msgspec.structs.replace(found.order, line_items=(numbered,))
    terms = Terms(Settings(), "http://market")
    for facts in (voucher_facts(found, NOON), note_facts(FoundOrder(encode(order), 1, found.shop), terms, NOON)):
        texts = list(_texts(msgspec.to_builtins(facts)))
        assert "a[2J b" in texts
        assert [text for text in texts if {unicodedata.category(letter) for letter in text} & {"Cc", "Cf", "Zl"}] == []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from _texts(inner)
