"""The thirteen demo orders and the triggers (docs/contract.md#section-5): equal in shape to the recordings, never
changed."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kalathi.marketplace.api.routes import ROUTES
from kalathi.marketplace.kernel.settings import Settings
from tests.market import Market, Shop, open_market
from tests.shapes import has_the_shape

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[1] / "data" / "examples" / "api" / "orders"
RECORDINGS = sorted(EXAMPLES.glob("DEMO-*.json"))


def _recorded(path: Path) -> Any:
    return msgspec.json.decode(path.read_bytes())


@pytest.mark.parametrize("mode", ["sandbox", "production"])
async def test_every_demo_order_has_the_shape_and_state_of_its_recording_in_both_modes(
    tmp_path: Path, mode: Any
) -> None:
    assert len(RECORDINGS) == 13
    async with open_market(tmp_path, settings=Settings(mode=mode), worker=False) as market:
        shop = await market.shop(url="https://shop.example/hook")
        for path in RECORDINGS:
            answer = await shop.call("GET", f"/orders/{path.stem}")
            assert answer.status == 200
            recorded = _recorded(path)
            has_the_shape(answer.json, recorded, path.stem)
            order, expected = answer.json["order"], recorded["order"]
            for name in ("code", "state", "invoice", "invoice_document", "store_pickup", "fulfilled_by_skroutz"):
                assert order[name] == expected[name], (path.stem, name)
            for name in ("courier_voucher", "courier_tracking_codes", "fbs_delivery_note"):
                assert bool(order[name]) == bool(expected[name]), (path.stem, name)
            assert order["fees"] == expected.get("fees", {})
            assert [line["price_includes_vat"] for line in order["line_items"]] == [
                line["price_includes_vat"] for line in expected["line_items"]
            ]


# Members whose recorded values are of their moment or their server, or are misspelt in the recordings.
NOT_FIXED = {
    *("created_at", "expires_at", "dispatch_until", "pickup_window", "accept_options", "reject_options"),
    *("courier_voucher", "courier_tracking_codes", "fbs_delivery_note_url", "uploaded_invoice_file"),
    *("product_name", "extra_info"),
    # An earlier name of `replaced`, and null where nothing is.
    *("replaced_suborder", "invoice_details"),
}


def _differences(recorded: Any, found: Any, place: str = "") -> list[str]:
    if isinstance(recorded, dict) and isinstance(found, dict):
        names = [name for name in recorded if name not in NOT_FIXED]
        return [line for name in names for line in _differences(recorded[name], found.get(name), f"{place}.{name}")]
    if isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        pairs = enumerate(zip(recorded, found, strict=True))
        return [line for at, pair in pairs for line in _differences(*pair, f"{place}[{at}]")]
    return [] if recorded == found else [f"{place}: {recorded} is {found}"]


async def test_every_demo_order_has_the_recorded_values(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        for path in RECORDINGS:
            order = (await shop.call("GET", f"/orders/{path.stem}")).json["order"]
            recorded = _recorded(path)["order"]
            assert _differences(recorded, order, path.stem) == []
            details = recorded.get("invoice_details")
            assert not details or _differences(details, order["invoice_details"], path.stem) == []


async def test_a_demo_order_needs_a_token_like_any_other_and_is_in_no_list(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        assert (await market.call("GET", "/merchants/ecommerce/orders/DEMO-OPEN")).status == 401
        assert (await shop.call("GET", "/orders")).json["orders"] == []
        for unknown in ("DEMO", "DEMO-", "demo-open", "DEMO-OPEN2"):
            assert (await shop.call("GET", f"/orders/{unknown}")).status == 404


async def _states(shop: Shop) -> list[bytes]:
    return [(await shop.call("GET", f"/orders/{path.stem}")).body for path in RECORDINGS]


async def test_actions_on_demo_orders_answer_by_state_and_change_nothing(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        before = await _states(shop)
        options = (await shop.show("DEMO-OPEN"))["accept_options"]
        accept = {
            "pickup_location": options["pickup_location"][0]["id"],
            "pickup_window": options["pickup_window"][0]["id"],
        }
        line = (await shop.show("DEMO-OPEN"))["line_items"][0]["id"]
        reject = {"line_items": [{"id": line, "reason_id": 4, "available_quantity": 1}]}
        success, refused = {"success": True}, "Order already accepted."
        for _ in range(2):
            assert (await shop.call("POST", "/orders/DEMO-OPEN/accept", accept)).json == success
            assert (await shop.call("POST", "/orders/DEMO-OPEN/reject", reject)).json == success
            assert (await shop.call("POST", "/orders/DEMO-STORE-PICKUP/accept", {})).json == success
        for action in ("accept", "reject"):
            answer = await shop.call("POST", f"/orders/DEMO-ACCEPTED/{action}", {})
            assert answer.json["errors"][0] == {"code": "order_status", "messages": [refused]}
        answer = await shop.call("POST", "/orders/DEMO-REJECTED/accept", accept)
        assert answer.json["errors"][0]["messages"] == ["Order already rejected."]
        assert (await shop.call("POST", "/orders/DEMO-OPEN/accept", {})).status == 422
        answer = await shop.call("POST", "/orders/DEMO-FBS/reschedule_pickup", {})
        assert answer.json == msgspec.json.decode(
            (EXAMPLES.parents[1] / "errors" / "422-reschedule-not-supported.json").read_bytes()
        )
        await shop.upload("DEMO-ACCEPTED", "invoices", "invoice_file", b"%PDF-1.4")
        move = {"pickup_location": options["pickup_location"][1]["id"]}
        assert (await shop.call("POST", "/orders/DEMO-ACCEPTED/relocate_pickup", move)).json == success
        await market.settle()
        assert await _states(shop) == before
        assert market.network.posts == []


async def test_the_documents_of_demo_orders_can_be_downloaded(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        accepted, dispatched = await shop.show("DEMO-ACCEPTED"), await shop.show("DEMO-FBS-DISPATCHED")
        for url in (
            accepted["courier_voucher"],
            accepted["uploaded_invoice_file"],
            dispatched["fbs_delivery_note_url"],
        ):
            file = await market.call("GET", url.removeprefix("http://market"))
            assert file.status == 200
            assert file.body.startswith(b"%PDF")


async def _trigger(market: Market, shop: Shop, code: str, kind: str) -> Any:
    answer = await shop.call("POST", f"/orders/{code}/trigger_webhook_request/{kind}")
    assert answer.json == {"success": True}, answer
    before = len(market.network.posts)
    await market.settle()
    assert len(market.network.posts) == before, "it comes seconds later"
    await market.advance(5)
    [(_, body)] = market.network.posts[before:]
    return body


async def test_a_triggered_webhook_has_the_shape_of_its_recording(tmp_path: Path) -> None:
    recordings = {
        "creation": "01-new-order",
        "cancellation": "03-cancellation",
        "extension": "04-extension",
        "voucher_update": "05-courier-voucher-creation",
    }
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        for kind, name in recordings.items():
            for _ in range(2):
                body = await _trigger(market, shop, "DEMO-OPEN", kind)
                recorded = _recorded(EXAMPLES.parents[1] / "webhooks" / "orders" / f"{name}.json")
                assert body["event_type"] == recorded["event_type"]
                assert body["order"]["state"] == recorded["order"]["state"]
                assert set(body.get("changes", {})) == set(recorded.get("changes", {}))
                recorded["order"].pop("line_items")  # Its products have other optional members than the demo's.
                has_the_shape(body, recorded, name)


async def test_triggers_keep_the_kind_of_their_demo_order(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        body = await _trigger(market, shop, "DEMO-INVOICE39A", "voucher_update")
        assert body["order"]["invoice_document"] == "invoice_39a"
        assert body["changes"]["courier_tracking_codes"] == {"old": [], "new": ["123456789"]}
        body = await _trigger(market, shop, "DEMO-FBS", "creation")
        assert (body["order"]["state"], body["order"]["fulfilled_by_skroutz"]) == ("accepted", True)
        body = await _trigger(market, shop, "DEMO-REJECTED", "cancellation")
        assert body["changes"] == {"state": {"old": "open", "new": "cancelled"}}


@pytest.mark.parametrize("kind", ["creation", "voucher_update", "extension", "cancellation"])
async def test_every_kind_of_webhook_can_be_triggered_for_every_demo_order_but_the_returned_one(
    tmp_path: Path, kind: str
) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        for path in RECORDINGS:
            if path.stem != "DEMO-RETURN":
                body = await _trigger(market, shop, path.stem, kind)
                assert body["order"]["code"] == path.stem
                changes = {
                    "creation": set(),
                    "cancellation": {"state"},
                    "voucher_update": {"courier_voucher", "courier_tracking_codes"},
                    "extension": {"expires_at", "dispatch_until"}
                    - ({"dispatch_until"} if "STORE" in path.stem else set()),
                }
                assert set(body.get("changes", {})) == changes[kind]
                if kind == "creation":
                    shown = await shop.show(path.stem)
                    for name in ("created_at", "expires_at", "dispatch_until"):
                        assert body["order"][name] == shown[name]


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ("DEMO-RETURN", "creation", 422),
        ("DEMO-OPEN", "unheard_of", 404),
        ("DEMO-OPEN", "", 404),
        ("DEMO-NONE", "creation", 404),
    ],
)
async def test_an_invalid_trigger_is_refused(tmp_path: Path, code: str, kind: str, status: int) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        answer = await shop.call("POST", f"/orders/{code}/trigger_webhook_request/{kind}")
        assert answer.status == status
        assert answer.json["errors"][0]["messages"]
        await market.advance(10)
        assert market.network.posts == []


async def test_a_real_order_has_no_triggers(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        answer = await shop.call("POST", f"/orders/{code}/trigger_webhook_request/cancellation")
        assert (answer.status, answer.json["errors"][0]["code"]) == (422, "order_error")
        assert (await shop.show(code))["state"] == "open"


async def test_the_published_ranges_have_the_recorded_shape(tmp_path: Path) -> None:
    settings = Settings(ip_ranges="185.6.76.0/22, 2a03:e40::/32", ip_ranges_modified="2025-12-10T10:31:15+02:00")
    async with open_market(tmp_path, settings=settings, worker=False) as market:
        answer = await market.call("GET", "/ip_ranges.json")
        assert answer.json == {
            "ipv4": ["185.6.76.0/22"],
            "ipv6": ["2a03:e40::/32"],
            "last_modified": "2025-12-10T08:31:15Z",
        }
        has_the_shape(answer.json, _recorded(EXAMPLES.parents[1] / "ip_ranges.json"), "ip_ranges")


async def test_production_has_no_call_of_the_sandbox(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=Settings(mode="production"), worker=False) as market:
        await market.operate("GET", "/marketplace/clock")
        routes = [route for route in ROUTES if route.sandbox_only]
        for route in routes:
            path = re.sub(r"{\w+}", "any", route.path)
            answer = await market.operate(route.method, path, None if route.body is None else {}, status=404)
            assert answer["errors"][0]["messages"][0].startswith("This call is the sandbox's"), path
        paths = {route.path for route in routes}
        assert {"/marketplace/clock", "/marketplace/orders/{code}/as_shop/accept"} < paths
