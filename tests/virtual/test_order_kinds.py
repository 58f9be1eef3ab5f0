"""Every kind of order, from its cart to its end: what the shop sees of it and what it is told."""

from pathlib import Path
from typing import Any

import pytest

from kalathi.marketplace.kernel.settings import Settings
from tests.market import CUSTOMER, Market, Shop, open_market

pytestmark = pytest.mark.anyio

COMPANY: dict[str, Any] = {
    "company": "Ελιά ΑΕ",
    "profession": "Εμπόριο",
    "vat_number": "094014201",
    "doy": "ΦΑΕ Αθηνών",
    "address": {"street_name": "Αθηνάς", "street_number": "5", "zip": "10551", "city": "Αθήνα", "region": "Αττική"},
}
REPRESENTATIVE = {"id_type": "ΑΤ Αστυνομική Ταυτότητα", "id_number": "12345", "otp": "654321", "mobile": "690"}


async def _operated(market: Market, code: str, *words: str) -> str:
    """The operator's words one after the other; gives the state."""
    state = ""
    for word in words:
        state = (await market.operate("POST", f"/marketplace/orders/{code}/{word}"))["order"]["state"]
    return state


async def test_an_express_order_is_accepted_by_the_marketplace(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.place({"A": 1}, express=True)
        await market.settle()
        assert (await shop.show(code))["state"] == "open"
        await market.advance(3)
        order = await shop.show(code)
        assert (order["state"], order["express"], bool(order["courier_voucher"])) == ("accepted", True, True)
        assert await shop.sent_updates(code) == [
            ("accepted", {"state", "pickup_window", "number_of_parcels", "pickup_address"}),
            ("accepted", {"courier_voucher", "courier_tracking_codes"}),
        ]


async def test_an_express_order_that_the_shop_rejects_in_time_stays_rejected(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.place({"A": 1}, express=True)
        await shop.call("POST", f"/orders/{code}/reject", {"rejection_reason_other": "Κλειστά"})
        await market.advance(5)
        assert (await shop.show(code))["state"] == "rejected"


async def test_a_store_pickup_has_no_courier_no_window_and_no_voucher(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.place({"A": 1}, store_pickup=True)
        order = await shop.show(code)
        assert (order["courier"], order["dispatch_until"], order["store_pickup"]) == (None, None, True)
        assert order["accept_options"]["pickup_window"] == []
        # One location may be left out, and a plugin that sends what it has is taken as well.
        assert (await shop.call("POST", f"/orders/{code}/accept", {})).json == {"success": True}
        await market.advance(60)
        order = await shop.show(code)
        assert (order["courier_voucher"], "pickup_window" in order) == (None, False)
        assert order["pickup_address"] == "Σταδίου 1, Τ.Κ. 10562, Αθήνα, Αττική"
        assert await shop.sent_updates(code) == [("accepted", {"state", "number_of_parcels", "pickup_address"})]
        await market.operate("POST", f"/marketplace/orders/{code}/hand_over", status=422)
        assert await _operated(market, code, "collect") == "delivered"


async def test_a_store_pickup_of_a_shop_with_two_locations_must_name_one(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        place = {"street_name": "Ερμού", "street_number": "1", "zip": "1", "city": "Α", "region": "Β"}
        shop = await market.shop(locations=[place, place])
        code = await shop.place({"A": 1}, store_pickup=True)
        refused = await shop.call("POST", f"/orders/{code}/accept", {})
        assert (refused.status, refused.json["errors"][0]["code"]) == (422, "invalid_parameter")
        assert shop.location_id in refused.json["errors"][0]["messages"][0]
        accepted = await shop.call("POST", f"/orders/{code}/accept", {"pickup_location": shop.location_id})
        assert accepted.json == {"success": True}


async def test_an_order_that_the_merchant_sends_has_a_shipping_cost_phones_and_its_own_tracking(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(fulfillment_mode="fbm", courier="ACS")
        customer = CUSTOMER | {"mobile": "6900000000"}
        code = await shop.accepted({"A": 1}, shipping_cost=3.5, customer=customer)
        order = await shop.show(code)
        assert (order["shipping_cost"], order["customer"]["mobile"]) == (3.5, "6900000000")
        assert order["fulfillment_mode"] == "fbm"
        assert (order["courier_voucher"], order["courier_tracking_codes"]) == (None, [])
        told = await shop.sent_updates(code)
        details = [{"courier": "geniki_taxydromiki", "tracking_code": "1"}, {"courier": "acs", "tracking_code": 2}]
        answer = await shop.call("POST", f"/orders/{code}/tracking_details", {"tracking_details": details})
        assert answer.json == {"success": True}
        order = await shop.show(code)
        assert (order["courier"], order["courier_tracking_codes"]) == ("Geniki Taxydromiki", ["1", "2"])
        assert await shop.sent_updates(code) == told, "the contract names no event for it"
        assert await _operated(market, code, "hand_over", "deliver") == "delivered"


async def test_phones_are_for_invoices_and_merchants_shipments_only(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        customer = CUSTOMER | {"phone": "210", "mobile": "690", "email": "a@b.gr"}
        plain = await shop.show(await shop.place({"A": 1}, customer=customer))
        invoiced = await shop.show(await shop.place({"A": 1}, customer=customer, invoice_details=COMPANY))
        assert not {"phone", "mobile", "email"} & set(plain["customer"])
        assert (invoiced["customer"]["phone"], invoiced["customer"]["mobile"]) == ("210", "690")
        assert "email" not in invoiced["customer"]


async def _invoiced(shop: Shop, **details: object) -> Any:
    code = await shop.place({"A": 2, "B": 1}, invoice_details=COMPANY | details)
    return await shop.show(code)


async def test_each_fiscal_document_has_its_fields_and_prices(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(listing={"vat_exclusion_39a": True, "unit_price": 12.4})
        receipt = await shop.show(await shop.cart(A=1))
        assert (receipt["invoice"], receipt["invoice_document"]) == (False, "receipt")
        assert "invoice_details" not in receipt

        invoice = await _invoiced(shop)
        assert (invoice["invoice"], invoice["invoice_document"]) == (True, "invoice")
        assert invoice["invoice_details"] == COMPANY | {"vat_exclusion_requested": False}
        assert [line["price_includes_vat"] for line in invoice["line_items"]] == [True, True]

        proofs: list[dict[str, object]] = [
            {"vat_exclusion_verification_method": "service", "vat_exclusion_representative": REPRESENTATIVE},
            {"vat_exclusion_verification_method": "documents", "vat_exclusion_documents": ["https://files.example/1"]},
        ]
        for proof in proofs:
            excluded = await _invoiced(shop, vat_exclusion_requested=True, **proof)
            assert excluded["invoice_document"] == "invoice_39a"
            assert {name: excluded["invoice_details"][name] for name in proof} == proof
            # Article 39α covers only some products: A costs 12.40 with 24 % VAT.
            first, second = excluded["line_items"]
            assert (first["price_includes_vat"], first["unit_price"], first["total_price"]) == (False, 10, 20)
            assert (second["price_includes_vat"], second["unit_price"]) == (True, 25)
            assert first["commission"] == 1.67

        vies = await _invoiced(shop, vat_exclusion_requested=True, vat_number="DE111119191")
        assert vies["invoice_document"] == "invoice_vies"
        assert [line["price_includes_vat"] for line in vies["line_items"]] == [False, False]
        assert vies["line_items"][1]["unit_price"] == 20.16


@pytest.mark.parametrize(
    "wrong",
    [
        {"company": " "},
        {"vat_number": ""},
        {"company": "x" * 501},
        {"vat_exclusion_verification_method": "service"},
        {"vat_exclusion_requested": True, "vat_exclusion_verification_method": "oath"},
        {"vat_exclusion_requested": True, "vat_exclusion_verification_method": "documents"},
        {"vat_exclusion_requested": True, "vat_exclusion_documents": ["https://files.example/1"]},
        {
            "vat_exclusion_requested": True,
            "vat_exclusion_verification_method": "documents",
            "vat_exclusion_documents": [],
        },
        {"vat_exclusion_requested": True, "vat_exclusion_representative": REPRESENTATIVE | {"id_type": "Άδεια"}},
        {"vat_exclusion_requested": True, "vat_exclusion_representative": REPRESENTATIVE | {"id_number": "123456"}},
    ],
)
async def test_invoice_details_that_do_not_fit_together_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        item = {"shop_id": shop.id, "shop_uid": "A", "quantity": 1}
        cart = {"customer": CUSTOMER, "items": [item], "payment_method": "card", "invoice_details": COMPANY | wrong}
        refused = await market.operate("POST", "/marketplace/carts", cart, status=422)
        assert refused["errors"][0]["code"] == "invalid_parameter"
        assert await shop.stock() == {"A": 100, "B": 100}


async def test_gift_wrap_fees_comments_and_listing_details_reach_the_shop(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        size = {"label": "Νούμερο", "value": "42", "shop_value": "42 EU", "shop_variation_uid": "A-42", "ean": "1"}
        shop = await market.shop(listing={"size": size, "tags": ["plus_deal"], "extra_info": "Χρώμα: Μπλε"})
        fees = {"handling_fee": 1.5, "plus_user_fee": 1}
        code = await shop.place({"A": 1}, gift_wrap=True, fees=fees, comments="Κουδούνι <b>2</b>")
        order = await shop.show(code)
        assert (order["gift_wrap"], order["custom"], order["fees"]) == (True, "[GIFT-WRAP]", fees)
        assert order["comments"] == "Κουδούνι <b>2</b>"
        [line] = order["line_items"]
        assert (line["size"], line["tags"], line["extra_info"]) == (size, ["plus_deal"], "Χρώμα: Μπλε")


async def test_the_fields_of_an_item_override_those_of_its_listing(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        item = {"shop_id": shop.id, "shop_uid": "A", "quantity": 1, "unit_price": 9.99, "serial_numbers": "SN1,SN2"}
        item |= {"tags": [], "readjusted_vat": True, "vat_ratio": 19, "island_vat_discount_applied": True}
        cart = {"customer": CUSTOMER, "items": [item], "payment_method": "cash_on_delivery", "invoice_details": COMPANY}
        code = (await market.operate("POST", "/marketplace/carts", cart, status=201))["orders"][0]["code"]
        order = await shop.show(code)
        [line] = order["line_items"]
        assert (order["paid_by_user"], line["unit_price"], line["serial_numbers"]) == (False, 9.99, "SN1,SN2")
        assert (line["tags"], line["readjusted_vat"], line["vat_ratio"]) == ([], True, 19)
        assert line["island_vat_discount_applied"] is True


async def test_a_collection_point_empties_all_seven_texts_of_the_address(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        point = {"pickup_from_collection_point": True, "collection_point_address": "Κατάστημα ACS: Ταύρος"}
        customer = CUSTOMER | {"address": {**CUSTOMER["address"], **point}}
        address = (await shop.show(await shop.place({"A": 1}, customer=customer)))["customer"]["address"]
        texts = ("street_name", "street_number", "floor", "zip", "city", "region", "country_code")
        assert address == dict.fromkeys(texts, "") | point


@pytest.mark.parametrize(
    "wrong",
    [
        {"express": True, "store_pickup": True},
        {"fees": {"handling_fee": 0}},
        {"fees": {"handling_fee": 0.001}},
        {"shipping_cost": -1},
        {"customer": {"first_name": "Α", "address": {"pickup_from_collection_point": True}}},
    ],
)
async def test_a_cart_that_contradicts_itself_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        item = {"shop_id": shop.id, "shop_uid": "A", "quantity": 1}
        cart = {"customer": CUSTOMER, "items": [item], "payment_method": "card", **wrong}
        refused = await market.operate("POST", "/marketplace/carts", cart, status=422)
        assert refused["errors"][0]["code"] == "invalid_parameter"


async def test_deliveries_send_webhooks_only_if_the_setting_is_on(
    tmp_path: Path,
) -> None:
    for tells in (False, True):
        async with open_market(tmp_path / str(tells), settings=Settings(tell_deliveries=tells)) as market:
            shop = await market.shop()
            codes = {word: await shop.accepted({"A": 2, "B": 1}) for word in ("part", "whole", "failed")}
            lines = (await shop.show(codes["part"]))["line_items"]
            told = {word: await shop.sent_updates(code) for word, code in codes.items()}
            for code in codes.values():
                await _operated(market, code, "hand_over")
            part = {"line_items": [{"id": lines[0]["id"], "quantity": 1}]}
            answer = await market.operate("POST", f"/marketplace/orders/{codes['part']}/deliver", part)
            assert answer["order"]["state"] == "partially_delivered"
            whole = await shop.show(codes["whole"])
            everything = {"line_items": [{"id": e["id"], "quantity": e["quantity"]} for e in whole["line_items"]]}
            answer = await market.operate("POST", f"/marketplace/orders/{codes['whole']}/deliver", everything)
            assert answer["order"]["state"] == "delivered"
            assert await _operated(market, codes["failed"], "fail_delivery") == "for_return"
            ends = {"part": "partially_delivered", "whole": "delivered", "failed": "for_return"}
            for word, code in codes.items():
                more = [("dispatched", {"state"})] + ([(ends[word], {"state"})] if tells else [])
                assert await shop.sent_updates(code) == told[word] + more


@pytest.mark.parametrize(
    "lines", [[("other", 1)], [("0", 3)], [("0", 1), ("0", 1)]], ids=["unknown", "too many", "twice"]
)
async def test_a_delivery_of_wrong_pieces_is_422(tmp_path: Path, lines: list[tuple[str, int]]) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.accepted({"A": 2})
        await _operated(market, code, "hand_over")
        first = (await shop.show(code))["line_items"][0]["id"]
        body = {"line_items": [{"id": first if name == "0" else name, "quantity": count} for name, count in lines]}
        await market.operate("POST", f"/marketplace/orders/{code}/deliver", body, status=422)
        assert (await shop.show(code))["state"] == "dispatched"


async def test_a_customer_may_cancel_at_every_stage_until_delivery(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        stages: dict[str, list[str]] = {"accepted": [], "ready": [], "dispatched": ["hand_over"]}
        codes: dict[str, str] = {}
        for stage, words in stages.items():
            code = await shop.accepted({"A": 1})
            codes[code] = stage
            if stage == "ready":
                await shop.call("POST", f"/orders/{code}/set_as_ready")
            await _operated(market, code, *words)
            assert await _operated(market, code, "cancel") == "cancelled"
            assert (await shop.sent_updates(code))[-1] == ("cancelled", {"state"})
        assert await shop.stock() == {"A": 9, "B": 10}, "what travels back is not in stock"
        [code] = [code for code, stage in codes.items() if stage == "dispatched"]
        told = await shop.sent_updates(code)
        assert await _operated(market, code, "bring_back") == "cancelled"
        assert await shop.stock() == {"A": 10, "B": 10}
        assert await shop.sent_updates(code) == told, "an order that stays cancelled has no news"
        await market.operate("POST", f"/marketplace/orders/{code}/bring_back", status=422)
        delivered = await shop.accepted({"A": 1})
        await _operated(market, delivered, "hand_over", "deliver")
        await market.operate("POST", f"/marketplace/orders/{delivered}/cancel", status=422)


async def test_support_rejects_with_a_reason_that_names_the_actor(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        code = await shop.cart(A=1)
        body = {"reason": "Λάθος τιμή"}
        order = (await market.operate("POST", f"/marketplace/orders/{code}/reject", body))["order"]
        assert order["rejection_info"] == {"reason": "Λάθος τιμή", "actor": "skroutz"}
        assert await shop.sent_updates(code) == [("rejected", {"state"})]
        assert await shop.stock() == {"A": 10, "B": 10}


async def test_an_extension_may_name_the_number_of_hours(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        order = (await market.operate("POST", f"/marketplace/orders/{code}/extend", {"hours": 72}))["order"]
        assert order["expires_at"] == "2026-11-28T10:00:00+02:00"
        assert await shop.sent_updates(code) == [("open", {"expires_at", "dispatch_until"})]


@pytest.mark.parametrize(
    ("kind", "custom", "left"),
    [(None, None, 5), ("from_service", "[RETURN-FROM-SERVICE]", 7), ("as_is_return", "[RETURN-AS-IS]", 7)],
)
async def test_a_replacement_and_the_replaced_order_name_each_other(
    tmp_path: Path, kind: str | None, custom: str | None, left: int
) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        code = await shop.accepted({"A": 3})
        await _operated(market, code, "hand_over", "deliver")
        told = await shop.sent_updates(code)
        line = (await shop.show(code))["line_items"][0]
        body = {"type": kind, "line_items": [{"id": line["id"], "quantity": 2}]}
        replaced = (await market.operate("POST", f"/marketplace/orders/{code}/replace", body))["order"]
        [noted] = replaced["replacements"]
        assert noted == {"code": noted["code"]} | ({"type": kind} if kind else {})
        new = await shop.show(noted["code"])
        assert (new["replaced"], new.get("custom"), new["state"]) == (code, custom, "open")
        assert [(entry["shop_uid"], entry["quantity"]) for entry in new["line_items"]] == [("A", 2)]
        assert await shop.stock() == {"A": left, "B": 10}
        assert await shop.sent_updates(code) == told
        assert market.network.events("http://shop/")[-1] == ("new_order", "open")


async def test_a_replacement_is_limited_by_the_order_and_the_stock(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=3)
        code = await shop.accepted({"A": 2})
        path = f"/marketplace/orders/{code}/replace"
        await market.operate("POST", path, {}, status=422)
        await _operated(market, code, "hand_over", "deliver")
        line = (await shop.show(code))["line_items"][0]["id"]
        for lines in ([{"id": line, "quantity": 3}], [{"id": "x", "quantity": 1}], [{"id": line, "quantity": 1}] * 2):
            await market.operate("POST", path, {"line_items": lines}, status=422)
        await market.operate("POST", path, {}, status=422)  # One piece is left of the two that it needs.
        assert await shop.stock() == {"A": 1, "B": 3}
        assert "replacements" not in await shop.show(code)


async def test_a_successor_keeps_the_customers_wishes_and_details(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.place({"A": 2, "B": 1}, gift_wrap=True, invoice_details=COMPANY, comments="Νωρίς")
        before = await shop.show(code)
        line = before["line_items"][0]["id"]
        body = {"line_items": [{"id": line, "reason_id": 4, "available_quantity": 1}]}
        await shop.call("POST", f"/orders/{code}/reject", body)
        await market.settle()
        [successor] = [
            entry["order"]
            for _, entry in market.network.posts
            if entry["event_type"] == "new_order" and entry["order"]["code"] != code
        ]
        for name in ("gift_wrap", "custom", "invoice_details", "invoice_document", "comments", "customer"):
            assert successor[name] == before[name]


async def test_the_list_shows_the_newest_change_first_in_pages(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop, other = await market.shop(), await market.shop("Other", url=None)
        codes = []
        for _ in range(5):
            codes.append(await shop.cart(A=1))
            await market.advance(60)
        await other.cart(A=1)
        await shop.accept(codes[1])
        answer = (await shop.call("GET", "/orders")).json
        assert [order["code"] for order in answer["orders"]] == [codes[1], codes[4], codes[3], codes[2], codes[0]]
        assert answer["orders"][0] == await shop.show(codes[1])
        assert answer["meta"] == {"pagination": {"total_results": 5, "total_pages": 1, "page": 1, "per": 100}}
        answer = (await shop.call("GET", "/orders?state=open&per=3&page=2")).json
        assert [order["code"] for order in answer["orders"]] == [codes[0]]
        assert answer["meta"] == {"pagination": {"total_results": 4, "total_pages": 2, "page": 2, "per": 3}}
        for since in ("2026-11-24T10:03:00%2B02:00", "2026-11-24T10:03:00+02:00", "2026-11-24T08:03:00Z"):
            answer = (await shop.call("GET", f"/orders?updated_since={since}")).json
            assert [order["code"] for order in answer["orders"]] == [codes[1], codes[4], codes[3]]
        assert (await shop.call("GET", "/orders?state=returned&per=50")).json["orders"] == []
