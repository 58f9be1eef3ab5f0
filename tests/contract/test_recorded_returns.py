"""The recorded bodies of returns, their webhook, their review and the warehouse against what is really sent; and
readers that take what was recorded and the forms that the contract says they must."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kalathi.contract.codec import decode, encode
from kalathi.contract.fbs import ProductList, PurchaseOrderLineList, PurchaseOrderList, SupplierList
from kalathi.contract.requests import PurchaseOrderRequest, ReviewRequest, SupplierRequest
from kalathi.contract.returns import ReturnBody
from kalathi.contract.webhooks import ReturnEvent, decode_event
from tests.market import Market, Shop
from tests.shapes import has_the_shape, has_the_values
from tests.virtual.returning import HOOK, delivered, operate, request_return, review
from tests.virtual.warehousing import announce, receive, supplier

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"


def _read(name: str) -> Any:
    return msgspec.json.decode((EXAMPLES / f"{name}.json").read_bytes())


@pytest.fixture
async def shop(market: Market) -> Shop:
    ean = {"ean": "1234567890123"}
    return await market.shop(returns_webhook_url=HOOK, returns_webhook_enabled=True, courier="ACS", listing=ean)


async def _event(market: Market) -> Any:
    await market.settle()
    return market.network.posts[-1][1]


async def test_the_demo_return_matches_its_recording_and_never_changes(market: Market, shop: Shop) -> None:
    recorded = _read("api/returns/DEMO-RETURN")
    other = await market.shop("Other", url=None)
    for asking in (shop, other):
        assert (await asking.call("GET", "/returns/DEMO-RETURN")).json == recorded
        answer = await review(asking, "DEMO-RETURN", **_read("requests/review-approve"))
        assert (answer.status, answer.json["errors"][0]["code"]) == (422, "return_status")
    assert (await shop.call("GET", "/returns/DEMO-RETURN")).json == recorded
    assert (await shop.call("GET", "/returns")).json["returns"] == []


async def test_the_webhooks_of_a_return_match_their_recordings(market: Market, shop: Shop) -> None:
    code = await delivered(shop, A=1)
    [line] = (await shop.show(code))["line_items"]
    asked = _read("webhooks/returns/01-return-created")["return"]["return_line_items"][0]
    returned = await request_return(
        market,
        code,
        {
            "id": line["id"],
            "quantity": asked["returning_quantity"],
            "reason": asked["return_reason"],
            "comment": asked["user_comment"],
            "photos": asked["user_photos"],
        },
    )
    name = returned["return_code"]
    told = {"01-return-created": await _event(market)}
    assert (await review(shop, name, **_read("requests/review-approve"))).json == _read("api/returns/review")
    told["02-shipment-info-newly-available"] = await _event(market)
    await operate(market, name, "hand_over", {"tracking_ids": ["ACS1234567890"]})
    told["03-courier-tracking-ids-become-available"] = await _event(market)
    await operate(market, name, "reassign", {"courier": "Speedex"})
    await operate(market, name, "take_back")
    told["05-plain-state-change"] = await _event(market)
    assert set(told) == {path.stem for path in (EXAMPLES / "webhooks" / "returns").glob("*.json")}
    drawn = {"return_code", "order_code", "created_at", "event_time", "id", "returning_address", "product_name"}
    for recording, body in told.items():
        recorded = _read(f"webhooks/returns/{recording}")
        has_the_shape(body, recorded, recording)
        has_the_values(body, recorded, recording, apart_from=drawn)
    shown = (await shop.call("GET", f"/returns/{name}")).json
    has_the_shape(shown, _read("api/returns/show"), "show")


@pytest.mark.parametrize(
    ("name", "reason", "days"),
    [("faulty", "damaged_product", 0), ("missing-part", "missing_part", 0), ("withdrawal-policy", "withdrawal", 15)],
)
async def test_a_get_and_the_webhook_offer_the_recorded_review_options(
    market: Market, shop: Shop, name: str, reason: str, days: int
) -> None:
    code = await delivered(shop, A=1)
    [line] = (await shop.show(code))["line_items"]
    await market.advance(days * 86_400)
    returned = await request_return(market, code, {"id": line["id"], "quantity": 1, "reason": reason})
    options = _read(f"review_options/{name}")["review_options"]
    assert returned["review_options"] == options
    assert (await _event(market))["return"]["review_options"] == options
    shown = await shop.call("GET", f"/returns/{returned['return_code']}")
    assert shown.json["return"]["review_options"] == options


async def test_the_recorded_rejection_is_accepted(market: Market, shop: Shop) -> None:
    returned = (await request_return(market, await delivered(shop, A=1)))["return_code"]
    answer = await review(shop, returned, **_read("requests/review-reject"))
    assert answer.json == _read("api/returns/review")
    assert (await _event(market))["return"]["state"] == "rejected"


async def test_each_error_of_the_two_sections_has_its_status_code_and_message_and_changes_nothing(
    market: Market, shop: Shop
) -> None:
    other = await market.shop("Other", url=None)
    code = await delivered(shop, A=1)
    returned = (await request_return(market, code))["return_code"]
    await market.settle()
    before = await market.operate("GET", f"/marketplace/returns/{returned}"), await market.order(code)
    not_found = _read("errors/404-return-not-found")
    for asking, name in (
        *((other, returned), (shop, "R-261124-0000000"), (shop, code), (shop, "%00"), (shop, "a%2Fb")),
        (shop, "DEMO%2DRETURN"),  # A value that the server has decoded is not decoded again.
    ):
        for method, path in (("GET", f"/returns/{name}"), ("POST", f"/returns/{name}/review")):
            answer = await asking.call(method, path)
            assert (answer.status, answer.json) == (404, not_found), path
    rows: list[tuple[dict[str, Any], str, str]] = [
        ({}, "option", "Invalid or missing option."),
        ({"option": "approved"}, "option", "Invalid or missing option."),
        ({"option": "out_of_policy_withdrawal"}, "option", "Invalid or missing option."),
        ({"option": "not_faulty"}, "comment", "Comment is required."),
        (
            {"option": "not_faulty", "comment": "x" * 1001},
            "rejection_comment_sanitized",
            "Comment is too long (maximum is 1000 characters).",
        ),
    ]
    for body, word, message in rows:
        answer = await review(shop, returned, **body)
        assert (answer.status, answer.json) == (422, {"errors": [{"code": word, "messages": [message]}]})
    assert (await review(shop, returned)).json == _read("errors/422-review-option")
    unreadable = await shop.call("POST", f"/returns/{returned}/review", b"{")
    assert (unreadable.status, unreadable.json["errors"][0]["code"]) == (400, "unreadable_body")
    assert (await market.operate("GET", f"/marketplace/returns/{returned}"), await market.order(code)) == before
    assert (await review(shop, returned, option="approve")).status == 200
    for body, _, _ in [*rows, ({"option": "approve"}, "", "")]:
        answer = await review(shop, returned, **body)
        refusal = {"code": "return_status", "messages": ["Return is not pending merchant review."]}
        assert (answer.status, answer.json) == (422, {"errors": [refusal]})


async def test_a_review_may_be_a_form_and_is_idempotent(market: Market, shop: Shop) -> None:
    returned = (await request_return(market, await delivered(shop, A=1)))["return_code"]
    form = {"Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": "k1"}
    for _ in range(2):
        answer = await shop.call(
            "POST", f"/returns/{returned}/review", b"option=not_faulty&comment=%CE%9F%CE%BA", **form
        )
        assert (answer.status, answer.json) == (200, {"success": True})
    other = {**form, "Idempotency-Key": "k2"}
    answer = await shop.call("POST", f"/returns/{returned}/review", b"option=approve", **other)
    assert answer.json["errors"][0]["code"] == "return_status"


async def test_the_warehouse_calls_match_their_recordings(market: Market, shop: Shop) -> None:
    created = await shop.call("POST", "/fbs/suppliers", _read("requests/fbs-supplier-create"))
    assert created.json == _read("api/fbs/suppliers_create")
    changed = await shop.call("PATCH", "/fbs/suppliers/xjvKD5Xr51", _read("requests/fbs-supplier-update"))
    assert changed.json == _read("api/fbs/suppliers_update")
    supplier_id = await supplier(shop, code="other", tax_number=None)
    [first, second] = (await announce(shop, supplier_id, A=13)), (await announce(shop, "xjvKD5Xr51", A=1, B=6))
    has_the_shape(first.json, _read("api/fbs/purchase_orders_create"), "create")
    await receive(market, first.json["code"])
    await receive(market, second.json["code"], B=0)
    for name, path in (
        ("products_index", "products"),
        ("purchase_orders_index", "purchase_orders"),
        ("purchase_orders_show", f"purchase_orders/{second.json['code']}/line_items"),
    ):
        answer = await shop.call("GET", f"/fbs/{path}")
        has_the_shape(answer.json, _read(f"api/fbs/{name}"), name)
    answer = (await shop.call("GET", "/fbs/suppliers")).json
    [without_tax_number] = [entry for entry in answer["suppliers"] if entry["id"] == supplier_id]
    has_the_shape({"suppliers": [without_tax_number], "meta": answer["meta"]}, _read("api/fbs/suppliers_index"), "s")
    other = await market.shop("Other", url=None)
    for asked, status in ((second.json["code"], 401), ("220623-4078-5820", 404)):
        refused = await other.call("GET", f"/fbs/purchase_orders/{asked}/line_items")
        assert (refused.status, refused.json) == (status, _read("errors/401-404-purchase-order"))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("products_index", ProductList),
        ("purchase_orders_index", PurchaseOrderList),
        ("purchase_orders_show", PurchaseOrderLineList),
        ("suppliers_index", SupplierList),
    ],
)
def test_every_recorded_warehouse_list_is_read_without_loss(name: str, wanted: type) -> None:
    content = (EXAMPLES / "api" / "fbs" / f"{name}.json").read_bytes()
    assert msgspec.json.decode(encode(decode(content, wanted))) == msgspec.json.decode(content)


def test_the_recorded_requests_are_read() -> None:
    goods = decode((EXAMPLES / "requests" / "fbs-purchase-order.json").read_bytes(), PurchaseOrderRequest)
    assert goods.line_items[0]["product_uid"] == "52781"
    assert decode((EXAMPLES / "requests" / "fbs-supplier-create.json").read_bytes(), SupplierRequest).city == "Athens"
    assert decode((EXAMPLES / "requests" / "review-reject.json").read_bytes(), ReviewRequest).option == "not_faulty"


def test_readers_accept_the_variants_that_the_contract_lists() -> None:
    body = _read("webhooks/returns/01-return-created")
    assert "review_options" not in body["return"], "as it was recorded"
    line = body["return"]["return_line_items"][0]
    line["return_reason"] = "something_new"
    del line["ean"]
    body["return"]["state"] = "a_state_of_tomorrow"
    body["return"]["review_options"] = [{"option": "something_else", "comment_required": True}]
    body["event_time"] = "2026-08-18T12:12:03+03:00"
    event = decode_event(msgspec.json.encode(body))
    assert isinstance(event, ReturnEvent)
    assert event.returned.return_line_items[0].return_reason == "something_new"
    assert event.returned.state == "a_state_of_tomorrow"
    nulls = _read("webhooks/returns/01-return-created")
    nulls["return"] |= {
        "courier": None,
        "returning_address": None,
        "courier_tracking_ids": None,
        "review_options": None,
    }
    for name in ("ean", "return_reason", "user_comment", "user_photos"):
        nulls["return"]["return_line_items"][0][name] = None
    assert isinstance(decode_event(msgspec.json.encode(nulls)), ReturnEvent)
    products = _read("api/fbs/products_index")
    products["products"][0]["id"] = "12345678"
    assert decode(msgspec.json.encode(products), ProductList).products[0].id == "12345678"
    bare = decode(b'{"return": {"return_code": "R-1", "state": "returning"}}', ReturnBody).returned
    assert bare.return_line_items == []


def test_every_recording_of_returns_and_the_warehouse_is_compared() -> None:
    assert {path.stem for path in (EXAMPLES / "api" / "returns").glob("*.json")} == {"DEMO-RETURN", "review", "show"}
    assert {path.stem for path in (EXAMPLES / "review_options").glob("*.json")} == {
        "faulty",
        "missing-part",
        "withdrawal-policy",
    }
    assert {path.stem for path in (EXAMPLES / "api" / "fbs").glob("*.json")} == {
        *("products_index", "purchase_orders_create", "purchase_orders_index", "purchase_orders_show"),
        *("suppliers_create", "suppliers_index", "suppliers_update"),
    }
