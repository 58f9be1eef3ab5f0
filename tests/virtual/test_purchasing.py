"""Suppliers and purchase orders (docs/contract.md#section-9): what is taken, what is refused, and whose they are."""

import asyncio
from typing import Any

import pytest

from tests.market import OPERATOR_TOKEN, Market, Shop
from tests.virtual.warehousing import announce, in_warehouse, receive, supplier

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shop(market: Market) -> Shop:
    return await market.shop(quantity=0)


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
    assert (await other.call("PATCH", "/fbs/suppliers/unknown", {})).status == 404


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


async def test_a_suppliers_code_is_unique_in_its_shop(shop: Shop) -> None:
    first, _ = await supplier(shop), await supplier(shop, code="s2")
    before = (await shop.call("GET", "/fbs/suppliers")).json
    answer = await shop.call("PATCH", f"/fbs/suppliers/{first}", {"code": "s2"})
    assert answer.json["errors"][0]["messages"] == ["code: another supplier of the shop has the code s2."]
    blank = await shop.call("PATCH", f"/fbs/suppliers/{first}", {"code": "", "name": " "})
    assert len(blank.json["errors"][0]["messages"]) == 2
    assert (await shop.call("GET", "/fbs/suppliers")).json == before
    unknown = await shop.call("PATCH", "/fbs/suppliers/unknown", {"name": "x"})
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


async def test_a_purchase_order_may_have_numbers_as_texts(shop: Shop) -> None:
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


async def test_purchase_order_lines_are_received_once(market: Market, shop: Shop) -> None:
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
    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
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
