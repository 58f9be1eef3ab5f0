"""A shop's returns, warehouse and settings."""

import asyncio
import json
from pathlib import Path

import pypdfium2
import pytest

from kalathi.contract.signatures import verify
from kalathi.marketplace.app import open_marketplace
from kalathi.marketplace.kernel.clock import real_millis
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.webhooks.answer import SendError
from tests.market import LOCATION, OPERATOR_TOKEN, FakeNetwork, FakeTime, Market, until
from tests.panel.visitor import Place, Visitor, open_place

pytestmark = pytest.mark.anyio

_ONE_A = {"product_uid": "A", "expected_quantity": "1"}


async def _asked_back(place: Place, reason: str = "faulty") -> str:
    code = await place.shop.accepted()
    for step in ("hand_over", "deliver"):
        await place.market.operate("POST", f"/marketplace/orders/{code}/{step}")
    line = (await place.shop.show(code))["line_items"][0]["id"]
    asked = {"line_items": [{"id": line, "quantity": 1, "reason": reason, "comment": "Δεν ανάβει"}]}
    answer = await place.market.operate("POST", f"/marketplace/orders/{code}/returns", asked, status=201)
    found: str = answer["return"]["return_code"]
    return found


async def test_a_return_is_reviewed_by_its_form(tmp_path: Path) -> None:
    async with open_place(tmp_path, returns_webhook_url="http://shop/r", returns_webhook_enabled=True) as place:
        code = await _asked_back(place)
        listed = await place.merchant.get("/shop/returns?state=pending_merchant_review")
        assert f"/shop/returns/{code}" in listed.links
        page = await place.merchant.get(f"/shop/returns/{code}")
        assert "Δεν ανάβει" in page.text
        answered = (await place.shop.call("GET", f"/returns/{code}")).json["return"]
        path = f"/shop/returns/{code}/review"
        assert page.form(path).choices["option"] == [option["option"] for option in answered["review_options"]]
        refused = await place.merchant.submit(page, path, {"option": "not_faulty", "comment": " "})
        assert (refused.status, refused.refusals) == (422, ["NoComment"])
        assert refused.form(path).values["option"] == "not_faulty"
        done = await place.merchant.submit(refused, path, {"option": "not_faulty", "comment": "Λειτουργεί"})
        assert done.done == "review"
        assert (await place.shop.call("GET", f"/returns/{code}")).json["return"]["state"] == "rejected"
        assert not [form for form in done.forms if form.action == path]
        again = await place.merchant.submit(page, path, {"option": "approve"})
        assert (again.status, "not pending merchant review" in again.text) == (422, True)
        await place.market.settle()
        sent = len(place.network.posts)
        await place.merchant.submit(done, f"/shop/returns/{code}/webhook")
        await place.market.settle()
        assert len(place.network.posts) == sent + 1


async def test_a_review_of_a_missing_part_may_link_to_the_right_part(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await _asked_back(place, "missing_part")
        page = await place.merchant.get(f"/shop/returns/{code}")
        values = {"option": "part_not_included", "comment": "Αλλού", "proposed_part_url": "https://shop.example/part"}
        await place.merchant.submit(page, f"/shop/returns/{code}/review", values)
        detail = await place.market.operate("GET", f"/marketplace/returns/{code}")
        assert detail["decision"]["proposed_part_url"] == "https://shop.example/part"


async def test_a_purchase_order_is_submitted_and_received(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/warehouse/purchase-orders")
        assert "as soon as there is a supplier" in page.text
        page = await place.merchant.get("/shop/warehouse/suppliers")
        page = await place.merchant.submit(page, "/shop/warehouse/suppliers", {"code": "S1", "name": "Προμηθευτής"})
        assert page.done == "supplier"
        taken = await place.merchant.submit(page, "/shop/warehouse/suppliers", {"code": "S1", "name": "B"})
        assert (taken.status, taken.form("/shop/warehouse/suppliers").values["name"]) == (422, "B")
        assert taken.refusals == ["CodeTaken"]
        blank = await place.merchant.submit(page, "/shop/warehouse/suppliers", {"code": "", "name": " "})
        assert blank.refusals == ["FieldMissing", "FieldMissing"]
        [link] = [link for link in page.links if link.startswith("/shop/warehouse/suppliers/")]
        page = await place.merchant.get(link)
        await place.merchant.submit(page, link, {"name": "Άλλος", "phone": "210"})
        [supplier] = (await place.shop.call("GET", "/fbs/suppliers")).json["suppliers"]
        assert (supplier["name"], supplier["phone"], supplier["code"]) == ("Άλλος", "210", "S1")

        page = await place.merchant.get("/shop/warehouse/purchase-orders")
        path = "/shop/warehouse/purchase-orders"
        refused = await place.merchant.submit(page, path, {"line_items[0][product_uid]": "A"})
        assert (refused.status, "Product 1: enter the number of pieces" in refused.text) == (422, True)
        values = {
            "line_items[0][product_uid]": "A",
            "line_items[0][expected_quantity]": "5",
            "line_items[0][storage_conditions]": "2",
            "line_items[2][product_uid]": "B",
            "line_items[2][expected_quantity]": "3",
            "line_items[2][keep_serial_numbers]": "true",
        }
        done = await place.merchant.submit(refused, path, values)
        assert done.done == "purchase_order"
        code = done.path.partition("?")[0].rpartition("/")[2]
        assert "Refrigerated" in done.text
        context = await place.operator.get(f"/operator/purchase-orders/{code}")
        received = await place.operator.submit(
            context, f"/operator/purchase-orders/{code}/receive", {"line_items[0][actual_quantity]": "4"}
        )
        assert received.done == "received"
        products = (await place.shop.call("GET", "/fbs/products")).json["products"]
        assert {entry["shop_uid"]: entry["quantity"] for entry in products} == {"A": 4, "B": 3}
        assert "4" in (await place.merchant.get("/shop/warehouse")).text
        twice = await place.operator.submit(context, f"/operator/purchase-orders/{code}/receive")
        assert (twice.status, "already received" in twice.text) == (422, True)


async def test_refusals_name_the_row_and_keep_every_row_of_a_purchase_order(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/warehouse/suppliers")
        await place.merchant.submit(page, "/shop/warehouse/suppliers", {"code": "S1", "name": "Προμηθευτής"})
        path = "/shop/warehouse/purchase-orders"
        page = await place.merchant.get(path)
        row = "line_items[{}]"
        for values, sentence in (
            ({}, "Choose at least one product"),
            ({row.format(2) + "[expected_quantity]": "7"}, "Product 3: choose a product."),
            ({row.format(3) + "[product_uid]": "A"}, "Product 4: enter the number of pieces, from 1 to 1000000."),
            ({row.format(1) + "[product_uid]": "none", row.format(1) + "[expected_quantity]": "1"}, "Product 2: "),
            (
                {row.format(n) + f"[{name}]": value for n in (0, 4) for name, value in _ONE_A.items()},
                "Product 5: A is already in the list.",
            ),
            (
                {row.format(1) + "[product_uid]": "line_items[99]", row.format(1) + "[expected_quantity]": "1"},
                "Product 2: the shop does not sell line_items[99].",
            ),
            (
                {"expected_date": "2026-11-01", **{row.format(0) + f"[{k}]": v for k, v in _ONE_A.items()}},
                "in the past",
            ),
            ({"expected_date": "x", **{row.format(0) + f"[{k}]": v for k, v in _ONE_A.items()}}, "such as 2026-12-01"),
        ):
            refused = await place.merchant.submit(page, path, values)
            assert (refused.status, sentence in refused.text) == (422, True), (sentence, refused.text[-2000:])
            held = refused.form(path).values
            # A product that the shop does not sell is not in the list.
            assert {name: held[name] for name in values} == {**values} or "does not sell" in refused.text


async def test_the_webhooks_are_set_and_switched(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/settings")
        values = {
            "webhook_url": "http://shop/new",
            "returns_webhook_url": "http://shop/returns",
            "returns_webhook_enabled": "1",
            "set_as_ready_required": "1",
        }
        done = await place.merchant.submit(page, "/shop/settings", values)
        assert done.done == "settings"
        shop = (await place.market.operate("GET", f"/marketplace/shops/{place.shop.id}"))["shop"]
        kept = {name: shop[name] for name in (*values, "webhook_enabled")}
        assert kept == {
            "webhook_url": "http://shop/new",
            "returns_webhook_url": "http://shop/returns",
            "returns_webhook_enabled": True,
            "set_as_ready_required": True,
            "webhook_enabled": True,
        }
        refused = await place.merchant.submit(done, "/shop/settings", {"webhook_url": "ftp://x"})
        assert (refused.status, refused.form("/shop/settings").values["webhook_url"]) == (422, "ftp://x")


async def test_a_test_webhook_sends_a_signed_demo_order(tmp_path: Path) -> None:
    async with open_place(tmp_path, returns_webhook_url="http://shop/r", returns_webhook_enabled=True) as place:
        page = await place.merchant.get("/shop/settings")
        shown = await place.merchant.submit(page, "/shop/settings/signing_secret")
        [secret] = [word for word in shown.text.split() if word.startswith("whsec_")]
        page = await place.merchant.get("/shop/settings")
        assert secret not in page.html
        place.network.statuses["http://shop/"] += [503, SendError.FORBIDDEN_ADDRESS, 200]
        for sentence in ("status 503", "The address is private", "Webhook delivered"):
            tried = await place.merchant.submit(page, "/shop/settings/try", {"which": "orders"})
            assert sentence in tried.text
        verify([secret], place.network.headers[-1], place.network.bodies[-1], now_seconds=real_millis() // 1000)
        assert json.loads(place.network.bodies[-1])["event_type"] == "new_order"
        forms = [form for form in page.forms if form.action == "/shop/settings/try"]
        assert [form.values["which"] for form in forms] == ["orders", "returns"]
        token = forms[0].values["form_token"]
        await place.merchant.post("/shop/settings/try", {"form_token": token, "which": "returns"})
        assert json.loads(place.network.bodies[-1])["event_type"] == "merchant_return_created"
        assert (await place.market.operate("GET", "/marketplace/deliveries"))["deliveries"] == []
        ended = await place.merchant.submit(page, "/shop/settings/signing_secret/end")
        assert "Webhooks are not signed." in ended.text
        await place.merchant.submit(page, "/shop/settings/try", {"which": "orders"})
        assert "webhook-signature" not in place.network.headers[-1]


async def test_in_production_a_url_must_be_the_shops_own(tmp_path: Path) -> None:
    async with open_place(tmp_path, settings=Settings(mode="production"), url=None) as place:
        page = await place.merchant.get("/shop/settings")
        refused = await place.merchant.submit(page, "/shop/settings", {"webhook_url": "https://elsewhere.example/"})
        assert (refused.status, refused.refusals) == (422, ["ForeignDomain"])
        nothing = await place.merchant.post(
            "/shop/settings/try", {"form_token": page.forms[0].values["form_token"], "which": "orders"}
        )
        assert (nothing.status, nothing.refusals) == (422, ["NoAddressToTry"])


async def test_in_production_the_button_dials_no_private_address(tmp_path: Path) -> None:
    settings = Settings(mode="production", data=tmp_path, operator_token=OPERATOR_TOKEN)
    marketplace = await open_marketplace(settings, "http://market")
    try:
        market = Market(marketplace, FakeNetwork(), FakeTime())
        shop = await market.shop(domain="localhost", url="https://localhost:1/hook")
        merchant = Visitor(market)
        await merchant.sign_in(shop.token)
        page = await merchant.get("/shop/settings")
        tried = await merchant.submit(page, "/shop/settings/try", {"which": "orders"})
        assert "The address is private" in tried.text
    finally:
        await marketplace.stop()


async def test_a_shop_sends_one_test_webhook_at_a_time(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        other = Visitor(place.market)
        await other.sign_in((await place.market.shop("Other", url="http://other/")).token)
        page, path = await place.merchant.get("/shop/settings"), "/shop/settings/try"
        gate = place.network.gates["http://shop/"] = asyncio.Event()
        first = asyncio.create_task(place.merchant.submit(page, path, {"which": "orders"}))
        await until(lambda: place.network.in_flight["http://shop/"] == 1)
        second = await place.merchant.submit(page, path, {"which": "orders"})
        assert (second.status, second.refusals) == (429, ["WebhookBeingTried"])
        theirs = await other.submit(await other.get("/shop/settings"), path, {"which": "orders"})
        assert "Webhook delivered" in theirs.text
        gate.set()
        assert "Webhook delivered" in (await first).text
        assert (await place.merchant.submit(page, path, {"which": "orders"})).status == 200


async def test_a_location_is_added(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/settings")
        await place.merchant.submit(page, "/shop/settings/locations", {**LOCATION, "street_name": "Αιόλου"})
        shop = (await place.market.operate("GET", f"/marketplace/shops/{place.shop.id}"))["shop"]
        assert [location["street_name"] for location in shop["locations"]] == ["Σταδίου", "Αιόλου"]


async def test_a_location_is_changed_and_removed_and_its_orders_keep_their_address(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code, other = await place.shop.cart(A=1), await place.shop.cart(A=1)
        await place.shop.accept(code)
        address = (await place.shop.show(code))["pickup_address"]
        page = await place.merchant.get("/shop/settings")
        [path] = {form.action for form in page.forms if form.action.startswith("/shop/settings/locations/")}
        done = await place.merchant.submit(page, path, {"street_name": "Αιόλου", "zip": "10551"})
        assert done.done == "location"
        [option] = (await place.shop.show(await place.shop.cart(A=1)))["accept_options"]["pickup_location"]
        assert option["label"].startswith("Αιόλου 1, Τ.Κ. 10551")
        await _check_voucher(place, code, address)
        # The last location stays.
        values = {**page.form(path).values, "confirmed": "1"}
        refused = await place.merchant.post(f"{path}/remove", values)
        assert (refused.status, refused.refusals) == (422, ["LastLocation"])
        await place.shop.accept(other)
        changed = (await place.shop.show(other))["pickup_address"]
        await place.merchant.submit(page, "/shop/settings/locations", {**LOCATION, "street_name": "Ερμού"})
        page = await place.merchant.get("/shop/settings")
        assert page.form(f"{path}/remove").required == {"confirmed": "1"}
        unconfirmed = await place.merchant.post(f"{path}/remove", page.form(f"{path}/remove").values)
        assert unconfirmed.refusals == ["NotConfirmed"]
        assert (await place.merchant.submit(page, f"{path}/remove")).done == "location_removed"
        # Its orders can be moved to the only one that is left.
        order = (await place.shop.call("GET", f"/orders/{other}?action_options=1")).json["order"]
        assert [option["label"][:4] for option in order["relocate_options"]] == ["Ερμο"]
        again = await place.merchant.post(f"{path}/remove", values)
        assert again.status == 404
        await _check_voucher(place, other, changed)


async def _check_voucher(place: Place, code: str, address: str) -> None:
    """The voucher is made only now, and has the address for which the order was accepted."""
    assert (await place.shop.show(code))["courier_voucher"] is None
    await place.market.advance(5)
    order = await place.shop.show(code)
    assert order["pickup_address"] == address
    pdf = await place.market.call("GET", "/" + order["courier_voucher"].split("/", 3)[3])
    with pypdfium2.PdfDocument(pdf.body) as document:
        assert address.partition(",")[0] in document[0].get_textpage().get_text_range()


async def test_a_shop_sees_its_calls_and_webhooks_in_one_timeline(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        await place.market.settle()
        await place.shop.accept(code)
        await place.market.settle()
        page = await place.merchant.get(f"/shop/orders/{code}")
        text = " ".join(page.text.split())
        assert "Calls and webhooks" in text
        traffic = text[text.index("Calls and webhooks") :]
        for entry in ("New order", "POST accept", "Order updated"):
            assert entry in traffic
        # The pages of calls and webhooks are the operator's.
        assert not [link for link in page.links if link.startswith("/operator")]
