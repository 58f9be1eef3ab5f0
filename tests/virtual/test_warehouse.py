"""Goods fulfilled by the marketplace (contract, section 9): announced, received, sold, sent with a delivery note."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

from tests.market import CUSTOMER, HttpAnswer, Market, Shop, open_market
from tests.virtual.returning import ask, operate, review, show

pytestmark = pytest.mark.anyio

SUPPLIER = {"code": "s1", "name": "Προμηθευτής"}


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    async with open_market(tmp_path) as opened:
        yield opened


@pytest.fixture
async def shop(market: Market) -> Shop:
    return await market.shop(quantity=0)


async def supplier(shop: Shop, **different: object) -> str:
    """A supplier of the shop; gives its id."""
    answer = await shop.call("POST", "/fbs/suppliers", SUPPLIER | different)
    assert answer.json == {"success": True}, answer
    found = (await shop.call("GET", "/fbs/suppliers")).json["suppliers"]
    supplier_id: str = next(entry["id"] for entry in found if entry["code"] == different.get("code", "s1"))
    return supplier_id


async def announce(shop: Shop, supplier_id: str, **pieces: int) -> HttpAnswer:
    """A purchase order of these pieces by product."""
    lines = [{"product_uid": uid, "expected_quantity": quantity} for uid, quantity in pieces.items()]
    body = {"expected_date": "2026-11-30", "supplier_id": supplier_id, "line_items": lines}
    return await shop.call("POST", "/fbs/purchase_orders", body)


async def receive(market: Market, code: str, status: int = 200, **pieces: int) -> Any:
    """The goods have come, in these quantities where they differ."""
    lines = [{"product_uid": uid, "actual_quantity": quantity} for uid, quantity in pieces.items()]
    path = f"/marketplace/warehouse/purchase_orders/{code}/receive"
    return await market.operate("POST", path, {"line_items": lines} if lines else None, status=status)


async def stocked(shop: Shop, **pieces: int) -> None:
    """So many pieces lie in the warehouse."""
    number = (await shop.call("GET", "/fbs/suppliers")).json["meta"]["pagination"]["total_results"]
    code = (await announce(shop, await supplier(shop, code=f"s{number + 1}"), **pieces)).json["code"]
    await receive(shop.market, code)


async def in_warehouse(shop: Shop) -> dict[str, int]:
    """The pieces of each product in the warehouse."""
    answer = await shop.call("GET", "/fbs/products")
    assert all(entry["active"] is (entry["quantity"] > 0) for entry in answer.json["products"])
    return {entry["shop_uid"]: entry["quantity"] for entry in answer.json["products"]}


async def test_goods_are_announced_received_in_other_quantities_and_lie_in_the_warehouse(
    market: Market, shop: Shop
) -> None:
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


async def test_an_order_of_what_is_in_the_warehouse_is_born_accepted_and_gets_its_delivery_note(
    market: Market, shop: Shop
) -> None:
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
    assert (await shop.show(code))["state"] == "accepted", "nobody has to answer it, so it does not expire"
    for action, body in (("accept", {}), ("reject", {"rejection_reason_other": "no"})):
        refusal = await shop.call("POST", f"/orders/{code}/{action}", body)
        assert refusal.json["errors"][0] == {"code": "order_status", "messages": ["Order already accepted."]}
    await market.operate("POST", f"/marketplace/orders/{code}/hand_over")
    assert (await shop.show(code))["fbs_delivery_note"] is None
    await market.advance(2)
    shown = await shop.show(code)
    assert await shop.told(code) == [
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


async def test_what_is_not_whole_in_the_warehouse_is_asked_of_the_shop(market: Market) -> None:
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


async def test_a_cancelled_order_gives_its_pieces_back_to_the_warehouse_unless_they_are_on_their_way(
    market: Market, shop: Shop
) -> None:
    await stocked(shop, A=3)
    first, second = await shop.cart(A=1), await shop.cart(A=1)
    await market.operate("POST", f"/marketplace/orders/{second}/hand_over")
    for code in (first, second):
        await market.operate("POST", f"/marketplace/orders/{code}/cancel")
    await market.advance(5)
    assert await in_warehouse(shop) == {"A": 2, "B": 0}
    assert await shop.stock() == {"A": 0, "B": 0}
    assert (await shop.show(second))["state"] == "for_return"
    assert (await shop.show(second))["fbs_delivery_note"], "it has left the warehouse, so it has its note"


async def test_stock_never_goes_below_zero_under_thirty_two_callers(market: Market, shop: Shop) -> None:
    await stocked(shop, A=40, B=7)
    carts = [{"A": 1}, {"A": 2}, {"A": 3, "B": 1}, {"B": 2}]

    async def buy(number: int) -> dict[str, int]:
        bought = {"A": 0, "B": 0}
        for turn in range(4):
            wanted = carts[(number + turn) % len(carts)]
            items = [{"shop_id": shop.id, "shop_uid": uid, "quantity": count} for uid, count in wanted.items()]
            cart = {"customer": CUSTOMER, "items": items, "payment_method": "card"}
            headers = {"Authorization": "Bearer operator"}
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


async def test_what_is_left_of_a_rejection_comes_from_the_warehouse_when_all_of_it_lies_there(market: Market) -> None:
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


async def test_a_delivery_note_comes_however_quickly_the_order_lives(market: Market, shop: Shop) -> None:
    await stocked(shop, A=2)
    for pieces in (2, 1):
        await stocked(shop, A=2)
        code = await shop.cart(A=2)
        for word in ("hand_over", "deliver"):
            await market.operate("POST", f"/marketplace/orders/{code}/{word}")
        line = (await shop.show(code))["line_items"][0]["id"]
        asked = await ask(market, code, {"id": line, "quantity": pieces, "reason": "withdrawal"})
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


async def test_a_return_of_an_order_from_the_warehouse_goes_back_there_and_is_not_sold_again_by_itself(
    market: Market, shop: Shop
) -> None:
    await stocked(shop, A=1)
    code = await shop.cart(A=1)
    for word in ("hand_over", "deliver"):
        await market.operate("POST", f"/marketplace/orders/{code}/{word}")
    [line] = (await shop.show(code))["line_items"]
    asked = await ask(market, code, {"id": line["id"], "quantity": 1, "reason": "missing_part"})
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


async def test_an_order_from_the_warehouse_is_replaced_by_one_that_the_shop_sends(market: Market) -> None:
    shop = await market.shop(quantity=3)
    await stocked(shop, A=1)
    code = await shop.cart(A=1)
    for word in ("hand_over", "deliver", "replace"):
        await market.operate("POST", f"/marketplace/orders/{code}/{word}")
    [replacement] = (await shop.show(code))["replacements"]
    order = await shop.show(replacement["code"])
    assert (order["state"], order["fulfilled_by_skroutz"], order["fees"]) == ("open", False, {})
    assert order["courier"] == "Skroutz Last Mile"


async def test_suppliers_are_created_changed_and_listed(market: Market, shop: Shop) -> None:
    whole = {
        "id": "xjvKD5Xr51",
        "code": "supplier_code",
        "name": "supplier_name",
        "address": "supplier_address",
        "city": "Athens",
        "area": "Attica",
        "zip_code": "42200",
        "phone": "1234567890",
        "tax_number": "1234567890",
        "email": "info@randomsupplier.gr",
    }
    assert (await shop.call("POST", "/fbs/suppliers", whole)).json == {"success": True}
    assert (await shop.call("GET", "/fbs/suppliers")).json["suppliers"] == [whole]
    changes = {"address": "Another Address", "email": "newmail@newmail.gr", "tax_number": None, "id": "other"}
    assert (await shop.call("PATCH", "/fbs/suppliers/xjvKD5Xr51", changes)).json == {"success": True}
    [listed] = (await shop.call("GET", "/fbs/suppliers")).json["suppliers"]
    assert listed == whole | changes | {"id": "xjvKD5Xr51"}
    assert (await shop.call("PATCH", "/fbs/suppliers/xjvKD5Xr51", {})).json == {"success": True}
    other = await market.shop("Other", url=None)
    assert (await other.call("POST", "/fbs/suppliers", whole)).status == 200, "ids and codes are a shop's own"
    assert (await other.call("PATCH", "/fbs/suppliers/nobody", {})).status == 404


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["code", "name"]),
        ({"code": " ", "name": ""}, ["code", "name"]),
        ({"code": ["x"], "name": None}, ["code", "name"]),
        ({"code": "c", "name": "n" * 201, "email": {}, "city": 1.5}, ["name", "email", "city"]),
        ({"code": "c", "name": "n", "id": ""}, ["id"]),
        ({"code": "c", "name": "n", "id": True}, ["id"]),
        ({"code": "c\0", "name": "n\0", "city": "x\0"}, ["code", "name", "city"]),
        ({"code": "c", "name": "n", "id": "a/b"}, ["id"]),
        ({"code": "s1", "name": "n"}, ["code"]),
        ({"code": "s1", "name": "n", "id": "taken"}, ["id", "code"]),
    ],
)
async def test_a_bad_supplier_gets_one_message_a_field_and_nothing_is_written(
    shop: Shop, body: dict[str, Any], fields: list[str]
) -> None:
    await supplier(shop, id="taken")
    before = (await shop.call("GET", "/fbs/suppliers")).json
    answer = await shop.call("POST", "/fbs/suppliers", body)
    assert answer.status == 422
    [error] = answer.json["errors"]
    assert error["code"] == "invalid_parameter"
    assert sorted(message.partition(":")[0] for message in error["messages"]) == sorted(fields)
    assert (await shop.call("GET", "/fbs/suppliers")).json == before


async def test_a_suppliers_code_cannot_become_anothers(shop: Shop) -> None:
    first, _ = await supplier(shop), await supplier(shop, code="s2")
    before = (await shop.call("GET", "/fbs/suppliers")).json
    answer = await shop.call("PATCH", f"/fbs/suppliers/{first}", {"code": "s2"})
    assert answer.json["errors"][0]["messages"] == ["code: another supplier of the shop has the code s2."]
    blank = await shop.call("PATCH", f"/fbs/suppliers/{first}", {"code": "", "name": " "})
    assert len(blank.json["errors"][0]["messages"]) == 2
    assert (await shop.call("GET", "/fbs/suppliers")).json == before
    unknown = await shop.call("PATCH", "/fbs/suppliers/nobody", {"name": "x"})
    assert (unknown.status, unknown.json["errors"][0]["code"]) == (404, "supplier_error")
    answers = await asyncio.gather(
        *(shop.call("POST", "/fbs/suppliers", {"code": "same", "name": f"n{number}"}) for number in range(8))
    )
    assert sorted(answer.status for answer in answers) == [200] + [422] * 7


GOOD_LINE = {"product_uid": "A", "expected_quantity": 8}


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"expected_date": None}, ["expected_date"]),
        ({"expected_date": "2026-11-23"}, ["expected_date"]),
        ({"expected_date": "30/11/2026"}, ["expected_date"]),
        ({"expected_date": "20261130"}, ["expected_date"]),
        ({"expected_date": 20261130}, ["expected_date"]),
        ({"expected_date": "2026-W49-2"}, ["expected_date"]),
        ({"expected_date": "2026-02-30"}, ["expected_date"]),
        ({"line_items": {}}, ["line_items"]),
        (
            {"line_items": [1, GOOD_LINE, None], "expected_date": ""},
            ["line_items[0]", "line_items[2]", "expected_date"],
        ),
        ({"supplier_id": None}, ["supplier_id"]),
        ({"line_items": []}, ["line_items"]),
        ({"line_items": [GOOD_LINE] * 1001}, ["line_items"]),
        ({"line_items": [GOOD_LINE | {"expected_quantity": 0}]}, ["line_items[0].expected_quantity"]),
        ({"line_items": [GOOD_LINE | {"expected_quantity": -1}]}, ["line_items[0].expected_quantity"]),
        ({"line_items": [GOOD_LINE | {"expected_quantity": "many"}]}, ["line_items[0].expected_quantity"]),
        ({"line_items": [GOOD_LINE | {"expected_quantity": True}]}, ["line_items[0].expected_quantity"]),
        ({"line_items": [GOOD_LINE | {"product_uid": "Z"}]}, ["line_items[0].product_uid"]),
        ({"line_items": [GOOD_LINE, GOOD_LINE]}, ["line_items[1].product_uid"]),
        ({"line_items": [{}]}, ["line_items[0].product_uid", "line_items[0].expected_quantity"]),
        ({"line_items": [GOOD_LINE | {"storage_conditions": 4}]}, ["line_items[0].storage_conditions"]),
        ({"line_items": [GOOD_LINE | {"storage_conditions": []}]}, ["line_items[0].storage_conditions"]),
        ({"line_items": [GOOD_LINE | {"keep_serial_numbers": "maybe"}]}, ["line_items[0].keep_serial_numbers"]),
        (
            {"expected_date": "2020-01-01", "supplier_id": "", "line_items": [{"product_uid": "Z"}]},
            ["expected_date", "supplier_id", "line_items[0].product_uid", "line_items[0].expected_quantity"],
        ),
    ],
)
async def test_a_bad_purchase_order_gets_one_message_a_field_and_nothing_is_written(
    shop: Shop, changes: dict[str, Any], fields: list[str]
) -> None:
    good = {"expected_date": "2026-11-24", "supplier_id": await supplier(shop), "line_items": [GOOD_LINE]}
    answer = await shop.call("POST", "/fbs/purchase_orders", good | changes)
    assert answer.status == 422
    [error] = answer.json["errors"]
    assert error["code"] == "invalid_parameter"
    assert sorted(message.partition(": ")[0] for message in error["messages"]) == sorted(fields)
    assert (await shop.call("GET", "/fbs/purchase_orders")).json["purchase_orders"] == []
    assert (await shop.call("POST", "/fbs/purchase_orders", good)).json["success"] is True


async def test_the_recorded_purchase_order_is_taken_also_with_digits_as_texts(shop: Shop) -> None:
    line = {
        "product_uid": "A",
        "expected_quantity": "8",
        "keep_serial_numbers": True,
        "has_expiration_date": False,
        "storage_conditions": "2",
    }
    body = {"expected_date": "2026-12-22", "supplier_id": await supplier(shop), "line_items": [line]}
    answer = await shop.call("POST", "/fbs/purchase_orders", body)
    assert answer.json == {"success": True, "code": answer.json["code"]}


async def test_another_shops_purchase_order_is_401_and_an_unknown_one_404(market: Market, shop: Shop) -> None:
    code = (await announce(shop, await supplier(shop), A=1)).json["code"]
    other = await market.shop("Other", url=None)
    order = await other.cart(A=1)
    for path, status in ((code, 401), ("220623-4078-5820", 404), (order, 404)):
        answer = await other.call("GET", f"/fbs/purchase_orders/{path}/line_items")
        assert answer.status == status
        assert answer.json == {"errors": [{"code": "purchase_order_error", "messages": ["Invalid purchase order"]}]}
        assert "www-authenticate" not in answer.headers
    foreign = (await shop.call("GET", "/fbs/suppliers")).json["suppliers"][0]["id"]
    answer = await announce(other, foreign, A=1)
    assert (answer.status, answer.json["errors"][0]["code"]) == (404, "supplier_error")
    assert (await other.call("GET", "/fbs/purchase_orders")).json["purchase_orders"] == []


async def test_what_is_received_is_of_the_purchase_order_and_once(market: Market, shop: Shop) -> None:
    code = (await announce(shop, await supplier(shop), A=2)).json["code"]
    await receive(market, code, status=422, B=1)
    path = f"/marketplace/warehouse/purchase_orders/{code}/receive"
    for lines in (
        [{"product_uid": "A", "actual_quantity": -1}],
        [{"product_uid": "A", "actual_quantity": 1}] * 2,
        [{"product_uid": "A", "actual_quantity": 10**7}],
    ):
        await market.operate("POST", path, {"line_items": lines}, status=422)
    await receive(market, "220623-4078-5820", status=404)
    assert await in_warehouse(shop) == {"A": 0, "B": 0}
    headers = {"Authorization": "Bearer operator"}
    answers = await asyncio.gather(*(market.call("POST", path, None, headers) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [422] * 7
    assert await in_warehouse(shop) == {"A": 2, "B": 0}


async def test_lists_of_the_warehouse_have_pages(market: Market, shop: Shop) -> None:
    ids = [await supplier(shop, code=f"c{number}") for number in range(3)]
    codes = []
    for _ in range(3):
        codes.append((await announce(shop, ids[0], A=1, B=1)).json["code"])
        await market.advance(1)
    for path, key, field, wanted in (
        ("/fbs/suppliers", "suppliers", "code", "c1"),
        ("/fbs/products", "products", "shop_uid", "B"),
        ("/fbs/purchase_orders", "purchase_orders", "code", codes[1]),
        (f"/fbs/purchase_orders/{codes[0]}/line_items", "purchase_order_line_items", "shop_uid", "B"),
    ):
        answer = (await shop.call("GET", f"{path}?per=1&page=2")).json
        assert [entry[field] for entry in answer[key]] == [wanted]
        assert answer["meta"]["pagination"] | {"total_results": 0, "total_pages": 0} == {
            "total_results": 0,
            "total_pages": 0,
            "page": 2,
            "per": 1,
        }
        assert (await shop.call("GET", f"{path}?per=101")).status == 422
        assert (await shop.call("DELETE", path)).status == 405
