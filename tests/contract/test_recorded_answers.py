"""Every recorded order body, webhook, success and error is compared with the sandbox's answer.

An order of the recording is played again: its listings, its customer and its papers go into a cart, and what the
marketplace makes of them must be what was recorded, to the cent. `COMPARED` says where each file is compared; a test
holds that none is left out.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests.market import LOCATION, HttpAnswer, Market, Shop, open_market
from tests.shapes import has_the_shape, has_the_values

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"
# Random values of each order, and values that depend on the day or the shop's locations.
DRAWN: Final = {
    *("id", "code", "event_time", "created_at", "expires_at", "dispatch_until", "accept_options", "reject_options"),
    *("courier_voucher", "courier_tracking_codes", "pickup_window", "pickup_address", "changes", "payment_method"),
}


def _read(name: str) -> Any:
    return msgspec.json.decode((EXAMPLES / f"{name}.json").read_bytes())


def _listing(line: dict[str, Any]) -> dict[str, Any]:
    """The listing from which a recorded line comes."""
    kept = ("shop_uid", "shop_variation_uid", "product_name", "size", "ean", "mpn", "extra_info", "tags")
    without_vat = not line["price_includes_vat"]
    return {name: line[name] for name in kept if name in line} | {
        "unit_price": round(line["unit_price"] * 1.24, 2) if without_vat else line["unit_price"],
        "vat_exclusion_39a": without_vat,
        "commission_rate": line.get("commission_rate", 8.34),
        "quantity": 100,
    }


async def _replay(market: Market, order: dict[str, Any]) -> tuple[Shop, str]:
    """A shop that has the recorded products, and a recorded order placed there again."""
    shop = await market.shop(courier=order["courier"])
    shop.listings = [_listing(line) for line in order["line_items"]]
    await shop.count({})
    details = {"invoice_details": order["invoice_details"]} if order["invoice"] else {}
    cart = {
        "customer": order["customer"],
        "items": [
            {"shop_id": shop.id, "shop_uid": line["shop_uid"], "quantity": line["quantity"]}
            | {"island_vat_discount_applied": line["island_vat_discount_applied"]}
            for line in order["line_items"]
        ],
        "payment_method": order["payment_method"].lower(),
        "comments": order["comments"],
        **details,
    }
    answer = await market.operate("POST", "/marketplace/carts", cart, status=201)
    return shop, answer["orders"][0]["code"]


def _equals(sent: Any, name: str) -> None:
    recorded = _read(name)
    has_the_shape(sent, recorded, name)
    has_the_values(sent, recorded, name, apart_from=DRAWN)


NEW_ORDERS: Final = (
    "01-new-order",
    "02-with-size-related-fields",
    "06-invoice-requested-without-vat-exclusion",
    "07-invoice-requested-with-vat-exclusion",
    "08-invoice-requested-with-vat-exclusion-via-uploaded-documents",
    "09-invoice-requested-with-reduced-vat-applied-in-a-line-item",
    "10-pickup-from-collection-point-selected",
    "11-with-extra-info-in-line-items",
    "12-shipped-to-cyprus",
)


@pytest.mark.parametrize("name", NEW_ORDERS)
async def test_the_webhook_of_a_recorded_order_matches_its_recording(tmp_path: Path, name: str) -> None:
    async with open_market(tmp_path) as market:
        await _replay(market, _read(f"webhooks/orders/{name}")["order"])
        await market.settle()
        [(_, body)] = market.network.posts
        _equals(body, f"webhooks/orders/{name}")


async def test_a_fetched_order_matches_its_recording(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop, code = await _replay(market, _read("api/orders/show")["order"])
        _equals((await shop.call("GET", f"/orders/{code}")).json, "api/orders/show")


async def _cancelled(market: Market, shop: Shop, code: str) -> None:
    await market.operate("POST", f"/marketplace/orders/{code}/cancel")


async def _extended(market: Market, shop: Shop, code: str) -> None:
    await market.operate("POST", f"/marketplace/orders/{code}/extend")


async def _with_voucher(market: Market, shop: Shop, code: str) -> None:
    await shop.accept(code)
    await market.advance(2)


UPDATES: Final = {
    "03-cancellation": _cancelled,
    "04-extension": _extended,
    "05-courier-voucher-creation": _with_voucher,
}


@pytest.mark.parametrize("name", list(UPDATES))
async def test_the_webhook_of_an_update_matches_its_recording(tmp_path: Path, name: str) -> None:
    async with open_market(tmp_path) as market:
        recorded = _read(f"webhooks/orders/{name}")
        shop, code = await _replay(market, recorded["order"])
        await UPDATES[name](market, shop, code)
        await market.settle()
        body = market.network.posts[-1][1]
        _equals(body, f"webhooks/orders/{name}")
        assert set(body["changes"]) == set(recorded["changes"])


# The demo order that is triggered, for what a shop gets of orders whose making is not a cart.
TRIGGERED: Final = {
    "14-fbs-order-with-fulfillment-fee": "DEMO-FBS",
    "15-replacements": "DEMO-REPLACEMENT",
    "16-replaced": "DEMO-REPLACED",
}


@pytest.mark.parametrize("name", list(TRIGGERED))
async def test_the_webhook_of_a_triggered_demo_order_has_the_recorded_shape(tmp_path: Path, name: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        await shop.call("POST", f"/orders/{TRIGGERED[name]}/trigger_webhook_request/creation")
        await market.advance(5)
        [(_, body)] = market.network.posts
        recorded = _read(f"webhooks/orders/{name}")
        for order in (body["order"], recorded["order"]):
            # Other products than the recording's, with other optional members; an order from the warehouse is
            # recorded with and without a courier and its codes.
            for member in ("line_items", "courier_tracking_codes", "courier"):
                order.pop(member)
        has_the_shape(body, recorded, name)


async def test_an_order_with_returns_has_the_recorded_shape(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        shown = (await shop.call("GET", "/orders/DEMO-RETURN")).json
        has_the_shape(shown, _read("webhooks/orders/18-return-with-tracking-ids"), "18")


async def test_an_order_set_as_ready_matches_its_recordings(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(set_as_ready_required=True)
        code = await shop.accepted()
        has_the_shape({"order": await shop.show(code)}, _read("api/orders/fragments/set-as-ready-not-yet-ready"), "")
        assert (await shop.call("POST", f"/orders/{code}/set_as_ready")).json == _read("api/orders/set_as_ready")
        has_the_shape({"order": await shop.show(code)}, _read("api/orders/fragments/set-as-ready-ready"), "")
        await market.settle()
        recorded = _read("webhooks/orders/fragments/ready-for-dispatch")
        assert market.network.posts[-1][1]["changes"] == recorded["changes"]


async def test_action_options_match_their_recording(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(locations=[LOCATION, LOCATION])
        code = await shop.accepted()
        shown = (await shop.call("GET", f"/orders/{code}?action_options=1")).json
        has_the_shape(shown, _read("api/orders/fragments/show-action-options"), "")


Call = Callable[[Market, Shop], Awaitable[HttpAnswer]]


def _on(way: str, action: str, body: Callable[[dict[str, Any]], object], **facts: object) -> Call:
    """A call on an order after these steps: one word for each, by the shop (`accept`) or the operator."""

    async def call(market: Market, shop: Shop) -> HttpAnswer:
        code = await shop.place({"A": 2, "B": 1}, **facts)
        for step in way.split():
            if step == "accept":
                await shop.accept(code)
                await market.advance(2)
            elif step == "reject":
                await shop.call("POST", f"/orders/{code}/reject", _read("requests/reject-other"))
            else:
                await shop.call("POST", f"/orders/{code}/{step}")
        shown = (await shop.call("GET", f"/orders/{code}?action_options=1")).json["order"]
        return await shop.call("POST", f"/orders/{code}/{action}", body(shown))

    return call


def _uploads(content: bytes, way: str = "accept", field: str = "credit_invoice_file") -> Call:
    async def call(market: Market, shop: Shop) -> HttpAnswer:
        code = await shop.accepted() if way else await shop.cart(A=1)
        return await shop.upload(code, "credit_invoices", field, content)

    return call


def _plain(path: str) -> Call:
    async def call(market: Market, shop: Shop) -> HttpAnswer:
        return await shop.call("POST", f"/orders/{path}", {})

    return call


def _accept(order: dict[str, Any]) -> object:
    window = order["accept_options"]["pickup_window"][0]["id"]
    location = order["accept_options"]["pickup_location"][0]["id"]
    return _read("requests/accept") | {"pickup_location": location, "pickup_window": window}


def _reject_lines(order: dict[str, Any]) -> object:
    """The recorded request, with this order's lines."""
    body = _read("requests/reject-line-items")
    for named, line in zip(body["line_items"], reversed(order["line_items"]), strict=True):
        named["id"] = line["id"]
    return body


def _nothing(order: dict[str, Any]) -> object:
    return {}


PREORDER: Final = {"listing": {"preorder_ships_on": "2026-12-10"}}
MERCHANT: Final = {"fulfillment_mode": "fbm"}
PLACES: Final = {"locations": [LOCATION, LOCATION]}

SUCCESSES: Final[dict[str, tuple[dict[str, Any], Call]]] = {
    "accept": ({}, _on("", "accept", _accept)),
    "reject": ({}, _on("", "reject", _reject_lines)),
    "reject_other": ({}, _on("", "reject", lambda _: _read("requests/reject-other"))),
    "tracking_details": (MERCHANT, _on("accept", "tracking_details", lambda _: _read("requests/tracking-details"))),
    "set_as_ready": ({}, _on("accept", "set_as_ready", _nothing)),
    "set_as_not_ready": ({}, _on("accept set_as_ready", "set_as_not_ready", _nothing)),
    "reschedule_pickup": (
        {},
        _on("accept", "reschedule_pickup", lambda order: {"reschedule_date": order["reschedule_options"][0]["date"]}),
    ),
    "relocate_pickup": (
        PLACES,
        _on("accept", "relocate_pickup", lambda order: {"pickup_location": order["relocate_options"][0]["id"]}),
    ),
    "request_voucher": (PREORDER, _on("accept", "request_voucher", _nothing)),
    "credit_invoices": ({}, _uploads(b"%PDF-1.4")),
    "trigger_webhook_request": ({}, _plain("DEMO-OPEN/trigger_webhook_request/creation")),
}


@pytest.mark.parametrize("name", list(SUCCESSES))
async def test_a_successful_call_answers_as_recorded(tmp_path: Path, name: str) -> None:
    facts, call = SUCCESSES[name]
    async with open_market(tmp_path) as market:
        answer = await call(market, await market.shop(**facts))
        assert answer.status == 200, answer
        assert answer.json == _read(f"api/orders/{name}")


ERRORS: Final[dict[str, tuple[dict[str, Any], Call]]] = {
    "400-credit-invoice-missing": ({}, _uploads(b"%PDF-1.4", field="another_field")),
    "404-order-not-found": ({}, _plain("261124-0000000/accept")),
    "422-credit-invoice-not-accepted-yet": ({}, _uploads(b"%PDF-1.4", way="")),
    "422-credit-invoice-type": ({}, _uploads(b"PK\x03\x04")),
    "422-not-eligible-for-ready": ({}, _on("accept set_as_ready", "set_as_ready", _nothing)),
    "422-not-eligible-for-undo": ({}, _on("accept", "set_as_not_ready", _nothing)),
    "422-order-already-accepted": ({}, _on("accept", "accept", _nothing)),
    "422-order-already-rejected": ({}, _on("reject", "accept", _nothing)),
    "422-order-is-express": ({}, _on("", "accept", _accept, express=True)),
    "422-relocate-location": (PLACES, _on("accept", "relocate_pickup", lambda _: _read("requests/relocate-pickup"))),
    "422-relocate-not-supported": ({}, _on("accept", "relocate_pickup", lambda _: _read("requests/relocate-pickup"))),
    "422-request-voucher": ({}, _on("accept", "request_voucher", _nothing)),
    "422-reschedule-date": ({}, _on("accept", "reschedule_pickup", lambda _: _read("requests/reschedule-pickup"))),
    "422-reschedule-not-supported": ({}, _plain("DEMO-FBS/reschedule_pickup")),
}


@pytest.mark.parametrize("name", list(ERRORS))
async def test_a_refused_call_answers_as_recorded(tmp_path: Path, name: str) -> None:
    facts, call = ERRORS[name]
    async with open_market(tmp_path) as market:
        answer = await call(market, await market.shop(**facts))
        assert (str(answer.status), answer.json) == (name[:3], _read(f"errors/{name}"))


# Calls of the returns and of the warehouse, which test_recorded_returns.py compares.
OF_OTHER_CALLS: Final = {"401-404-purchase-order", "404-return-not-found", "422-review-option"}


def test_every_recording_of_an_order_is_compared() -> None:
    files = {path.stem for path in (EXAMPLES / "webhooks" / "orders").glob("*.json")}
    assert files == {*NEW_ORDERS, *UPDATES, *TRIGGERED, "18-return-with-tracking-ids"}
    files = {path.stem for path in (EXAMPLES / "api" / "orders").glob("*.json")}
    demo = {path.stem for path in (EXAMPLES / "api" / "orders").glob("DEMO-*.json")}
    assert files == {*SUCCESSES, "show", *demo}, "the demo orders have a test of their own"
    assert {path.stem for path in (EXAMPLES / "errors").glob("*.json")} == set(ERRORS) | OF_OTHER_CALLS
