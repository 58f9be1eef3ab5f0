"""Every row of the contract's error table (section 3): status, code, message, and nothing changed."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.market import LOCATION, Market, Shop, open_market

pytestmark = pytest.mark.anyio

TWO_PLACES = {"locations": [LOCATION, {**LOCATION, "street_number": "2"}]}
Prepared = Callable[[Market], Awaitable[tuple[Shop, str]]]


class Row(NamedTuple):
    """One row of the table."""

    when: str
    prepared: Prepared
    action: str
    body: Any
    status: int
    code: str
    message: str


def _shop(wanted: dict[str, Any], placed: str, cart: dict[str, Any] | None = None) -> Prepared:
    """A shop of this kind with an order that is open, accepted, or moved on by these operator actions."""

    async def prepare(market: Market) -> tuple[Shop, str]:
        shop = await market.shop(**wanted)
        code = await shop.place({"A": 2, "B": 1}, **(cart or {}))
        words = placed.split()
        if words and words[0] == "accepted":
            answer = await shop.accept(code)
            assert answer.json == {"success": True}, answer
            words.pop(0)
        await market.advance(2)
        for word in words:
            await market.operate("POST", f"/marketplace/orders/{code}/{word}")
        await market.settle()
        return shop, code

    return prepare


PLAIN: dict[str, Any] = {}
FBM = {"fulfillment_mode": "fbm"}
PREORDER = {"listing": {"preorder_ships_on": "2026-12-10"}}
EXPRESS, STORE = {"express": True}, {"store_pickup": True}
NO_RELOCATION = "Pickup relocation is not supported for this order."
NO_VOUCHER = "Cannot request voucher: order is not an accepted preorder without a voucher."
NOT_READY, NO_UNDO = "Order is not eligible to be marked as ready", "Order is not eligible for undo"
ACS = {"tracking_details": [{"courier": "acs", "tracking_code": "1"}]}
TODAY, TOMORROW = {"reschedule_date": "2026-11-24"}, {"reschedule_date": "2026-11-25"}
S = "order_status"

ROWS = [
    Row("accept after accept", _shop(PLAIN, "accepted"), "accept", {}, 422, S, "Order already accepted."),
    Row("reject after accept", _shop(PLAIN, "accepted"), "reject", {}, 422, S, "Order already accepted."),
    Row("express", _shop(PLAIN, "", EXPRESS), "accept", {}, 422, S, "Order is express"),
    Row(
        "reschedule, no date",
        _shop(PLAIN, "accepted"),
        "reschedule_pickup",
        {},
        422,
        "reschedule_date",
        "Invalid reschedule date",
    ),
    Row(
        "reschedule, not a date",
        _shop(PLAIN, "accepted"),
        "reschedule_pickup",
        {"reschedule_date": "soon"},
        422,
        "reschedule_date",
        "Invalid reschedule date",
    ),
    Row(
        "reschedule, other form",
        _shop(PLAIN, "accepted"),
        "reschedule_pickup",
        {"reschedule_date": "20261125"},
        422,
        "reschedule_date",
        "Invalid reschedule date",
    ),
    Row(
        "reschedule, the present day",
        _shop(PLAIN, "accepted"),
        "reschedule_pickup",
        TODAY,
        422,
        "reschedule_date",
        "Invalid reschedule date",
    ),
    Row(
        "reschedule, a Sunday",
        _shop(PLAIN, "accepted"),
        "reschedule_pickup",
        {"reschedule_date": "2026-11-29"},
        422,
        "reschedule_date",
        "Invalid reschedule date",
    ),
    Row(
        "reschedule, FBM",
        _shop(FBM, "accepted"),
        "reschedule_pickup",
        TOMORROW,
        422,
        S,
        'Order rescheduling is not supported for "Fulfilled by Merchant" orders.',
    ),
    Row(
        "reschedule, store pickup",
        _shop(PLAIN, "accepted", STORE),
        "reschedule_pickup",
        TOMORROW,
        422,
        S,
        "Order rescheduling is not supported for store pickup orders.",
    ),
    Row(
        "reschedule, express",
        _shop(PLAIN, "", EXPRESS),
        "reschedule_pickup",
        TOMORROW,
        422,
        S,
        "Order rescheduling is not supported for express orders.",
    ),
    Row("reschedule, open", _shop(PLAIN, ""), "reschedule_pickup", TOMORROW, 422, S, "Order is not accepted yet."),
    Row(
        "reschedule, picked up",
        _shop(PLAIN, "accepted hand_over"),
        "reschedule_pickup",
        TOMORROW,
        422,
        S,
        "Order already dispatched.",
    ),
    Row(
        "relocate, no location",
        _shop(TWO_PLACES, "accepted"),
        "relocate_pickup",
        {},
        422,
        "pickup_location",
        "Invalid pickup location",
    ),
    Row(
        "relocate, not the shop's",
        _shop(TWO_PLACES, "accepted"),
        "relocate_pickup",
        {"pickup_location": "x"},
        422,
        "pickup_location",
        "Invalid pickup location",
    ),
    Row("relocate, one location", _shop(PLAIN, "accepted"), "relocate_pickup", {}, 422, S, NO_RELOCATION),
    Row("relocate, FBM", _shop(FBM | TWO_PLACES, "accepted"), "relocate_pickup", {}, 422, S, NO_RELOCATION),
    Row("relocate, store pickup", _shop(TWO_PLACES, "accepted", STORE), "relocate_pickup", {}, 422, S, NO_RELOCATION),
    Row("relocate, express", _shop(TWO_PLACES, "", EXPRESS), "relocate_pickup", {}, 422, S, NO_RELOCATION),
    Row("relocate, open", _shop(TWO_PLACES, ""), "relocate_pickup", {}, 422, S, "Order is not accepted yet."),
    Row(
        "relocate, picked up",
        _shop(TWO_PLACES, "accepted hand_over"),
        "relocate_pickup",
        {},
        422,
        S,
        "Order already dispatched.",
    ),
    Row("ready, open", _shop(PLAIN, ""), "set_as_ready", None, 422, "order_error", NOT_READY),
    Row("ready, picked up", _shop(PLAIN, "accepted hand_over"), "set_as_ready", None, 422, "order_error", NOT_READY),
    Row(
        "ready, other courier",
        _shop({"courier": "ACS"}, "accepted"),
        "set_as_ready",
        None,
        422,
        "order_error",
        NOT_READY,
    ),
    Row("ready, FBM", _shop(FBM, "accepted"), "set_as_ready", None, 422, "order_error", NOT_READY),
    Row("ready, store pickup", _shop(PLAIN, "accepted", STORE), "set_as_ready", None, 422, "order_error", NOT_READY),
    Row("undo, not ready", _shop(PLAIN, "accepted"), "set_as_not_ready", None, 422, "order_error", NO_UNDO),
    Row("undo, open", _shop(PLAIN, ""), "set_as_not_ready", None, 422, "order_error", NO_UNDO),
    Row("voucher, open preorder", _shop(PREORDER, ""), "request_voucher", None, 422, "order_error", NO_VOUCHER),
    Row("voucher, no preorder", _shop(PLAIN, "accepted"), "request_voucher", None, 422, "order_error", NO_VOUCHER),
    Row(
        "tracking, not FBM",
        _shop(PLAIN, "accepted"),
        "tracking_details",
        ACS,
        422,
        "order_error",
        "Tracking details are taken for orders that the merchant fulfills only.",
    ),
    Row(
        "tracking, empty",
        _shop(FBM, "accepted"),
        "tracking_details",
        {},
        422,
        "invalid_parameter",
        "tracking_details: give 1 to 99 entries, each a courier and its code.",
    ),
    Row(
        "tracking, unknown courier",
        _shop(FBM, "accepted"),
        "tracking_details",
        {"tracking_details": [{"courier": "ups", "tracking_code": "1"}]},
        422,
        "invalid_parameter",
        "tracking_details.courier: ups is not valid; valid values: acs, dhl, geniki_taxydromiki, dpd, gls.",
    ),
    Row(
        "tracking, no code",
        _shop(FBM, "accepted"),
        "tracking_details",
        {"tracking_details": [{"courier": "acs"}]},
        422,
        "invalid_parameter",
        "tracking_details.tracking_code: give 1 to 100 characters.",
    ),
    Row("tracking, open", _shop(FBM, ""), "tracking_details", ACS, 422, S, "Order is not accepted yet."),
    Row("invoice, no file", _shop(PLAIN, "accepted"), "invoices", {}, 400, "invoice_file", "Missing invoice file"),
    Row(
        "credit invoice, no file",
        _shop(PLAIN, "accepted"),
        "credit_invoices",
        {},
        400,
        "credit_invoice_file",
        "Missing credit invoice file",
    ),
]


async def _state(market: Market, shop: Shop, code: str) -> object:
    return await market.order(code), await shop.stock(), len(market.network.posts)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.when)
async def test_a_refusal_has_the_contracts_words_and_changes_nothing(tmp_path: Path, row: Row) -> None:
    async with open_market(tmp_path) as market:
        shop, code = await row.prepared(market)
        before = await _state(market, shop, code)
        answer = await shop.call("POST", f"/orders/{code}/{row.action}", row.body)
        assert answer.status == row.status, answer
        assert answer.json == {"errors": [{"code": row.code, "messages": [row.message]}]}
        await market.settle()
        assert await _state(market, shop, code) == before


async def test_accepting_an_accepted_express_order_is_refused_as_express(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.place({"A": 1}, express=True)
        await market.advance(5)
        assert (await shop.show(code))["state"] == "accepted"
        answer = await shop.call("POST", f"/orders/{code}/accept", {})
        assert answer.json == {"errors": [{"code": "order_status", "messages": ["Order is express"]}]}


@pytest.mark.parametrize(
    "action",
    [
        "accept",
        "reject",
        "reschedule_pickup",
        "relocate_pickup",
        "set_as_ready",
        "set_as_not_ready",
        "request_voucher",
        "tracking_details",
    ],
)
async def test_no_call_finds_an_unknown_order_or_another_shops_order(tmp_path: Path, action: str) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop, other = await market.shop(), await market.shop("Other")
        for code in ("261124-0000000", await other.cart(A=1)):
            answer = await shop.call("POST", f"/orders/{code}/{action}")
            assert answer.status == 404
            assert answer.json == {"errors": [{"code": "order_error", "messages": ["Order not found"]}]}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/orders/{code}/dispatched", 404, "not_found"),
        ("POST", "/orders/{code}", 405, "method_not_allowed"),
        ("POST", "/orders", 405, "method_not_allowed"),
        ("GET", "/orders/{code}/accept", 405, "method_not_allowed"),
        ("GET", "/orders/{code}/accept/more", 404, "not_found"),
        ("GET", "", 404, "not_found"),
    ],
)
async def test_unknown_paths_and_methods_answer_with_the_envelope(
    tmp_path: Path, method: str, path: str, status: int, code: str
) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        answer = await shop.call(method, path.format(code=await shop.cart(A=1)))
        assert (answer.status, answer.json["errors"][0]["code"]) == (status, code)


@pytest.mark.parametrize(
    "query",
    [
        "state=unheard",
        "cursor=x",
        "cursor=1.",
        "cursor=start&page=2",
        "cursor=start&updated_since=2026-11-24T00:00:00Z",
        "page=0",
        "page=x",
        "per=101",
        "per=-1",
        "updated_since=yesterday",
        "updated_since=2026-11-24",
    ],
)
async def test_an_invalid_list_query_is_422(tmp_path: Path, query: str) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        answer = await shop.call("GET", f"/orders?{query}")
        assert (answer.status, answer.json["errors"][0]["code"]) == (422, "invalid_parameter")
