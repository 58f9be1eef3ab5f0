"""The text of a page is true for every kind of order."""

from pathlib import Path

import pytest

from tests.panel.visitor import open_place
from tests.virtual.warehousing import stocked

pytestmark = pytest.mark.anyio


async def test_a_voucher_is_announced_only_if_one_will_be_created(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        for facts, promised in (({}, True), ({"store_pickup": True}, False)):
            code = await place.shop.place({"A": 1}, **facts)
            page = await place.merchant.get(f"/shop/orders/{code}")
            done = await place.merchant.submit(page, f"/shop/orders/{code}/accept")
            assert done.done == ("accept" if promised else "accept_without_voucher")
            assert ("Ready for the courier" in done.text) is promised
    async with open_place(tmp_path / "fbm", fulfillment_mode="fbm") as place:
        code = await place.shop.cart(A=1)
        page = await place.merchant.get(f"/shop/orders/{code}")
        done = await place.merchant.submit(page, f"/shop/orders/{code}/accept")
        assert "The voucher" not in done.text
        assert "Ready for the courier" not in done.text


async def test_no_marketplace_pickup_is_shown_if_the_shop_ships(tmp_path: Path) -> None:
    async with open_place(tmp_path, fulfillment_mode="fbm") as place:
        code = await place.shop.accepted()
        page = await place.merchant.get(f"/shop/orders/{code}")
        assert "Orders are sent by" in page.text
        for word in ("Pickup Tue", "Pickup from", "Courier –"):
            assert word not in page.text.partition("Shipping")[2]


async def test_reschedule_is_not_offered_without_a_pickup(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        for facts, is_offered in (({}, True), ({"store_pickup": True}, False)):
            code = await place.shop.accepted(**facts)  # type: ignore[arg-type]  # Either of two keywords.
            page = await place.operator.get(f"/operator/orders/{code}")
            assert ("Reschedule" in page.text) is is_offered


async def test_blank_parts_of_an_address_leave_no_commas(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        company = {"company": "ΑΒΓ", "vat_number": "1", "profession": "", "doy": "", "address": {"city": "Αθήνα"}}
        customer = {"first_name": "Ε", "last_name": "Π", "address": {"street_name": "Ερμού", "city": "Αθήνα"}}
        code = await place.shop.place({"A": 1}, customer=customer, invoice_details=company)
        for visitor, path in ((place.merchant, "/shop"), (place.operator, "/operator")):
            text = (await visitor.get(f"{path}/orders/{code}")).text
            parts = text.partition("Customer Name")[2].partition("VAT number 1")
            customers = "".join(parts[:2]) + parts[2][:5]
            assert ", " not in customers
            assert "ΕρμούΑθήνα" in customers
            assert "VAT number 1Αθήνα" in customers


async def test_a_warehouse_order_shows_the_shop_no_deadline(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await stocked(place.shop, A=1)
        code = await place.shop.cart(A=1)
        assert (await place.shop.show(code))["fulfilled_by_skroutz"] is True
        for path in ("/shop/orders", f"/shop/orders/{code}"):
            page = await place.merchant.get(path)
            assert "Accepted" in page.text
            assert " left" not in page.text
            assert "overdue" not in page.text


async def test_a_page_past_the_end_links_back_to_the_list(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await place.shop.cart(A=1)
        for visitor, path in ((place.merchant, "/shop/orders"), (place.operator, "/operator/orders")):
            page = await visitor.get(f"{path}?page=99")
            assert "The list ends before this page." in page.text
            assert "?page=1" in page.links


async def test_a_floor_is_shown_as_the_customer_wrote_it(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        customer = {"first_name": "Ε", "last_name": "Π", "address": {"street_name": "Ερμού", "city": "Αθήνα"}}
        for floor, shown in (("2", ", floor 2"), ("2ος όροφος", ", 2ος όροφος")):
            address = {**customer["address"], "floor": floor}  # type: ignore[dict-item]  # A mapping all the same.
            code = await place.shop.place({"A": 1}, customer={**customer, "address": address})
            assert f"Ερμού{shown}" in (await place.merchant.get(f"/shop/orders/{code}")).text


async def test_a_vat_exclusion_is_shown_with_its_proof(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        for scenario, name in (("invoice_39a_documents", "vat_exclusion_documents"), ("invoice_39a", "")):
            answer = await place.market.operate(
                "POST", f"/marketplace/scenarios/{scenario}", {"shop_id": place.shop.id}, status=201
            )
            [code] = [order["code"] for order in answer["orders"]]
            details = (await place.shop.show(code))["invoice_details"]
            proofs = details[name] if name else list(details["vat_exclusion_representative"].values())
            page = await place.merchant.get(f"/shop/orders/{code}")
            for proof in proofs:
                assert proof in page.text


async def test_error_pages_link_to_the_visitors_own_pages(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        for visitor, home in ((place.merchant, "/shop/orders"), (place.operator, "/")):
            page = await visitor.get("/shop/orders/none" if home != "/" else "/operator/orders/none")
            assert page.status == 404
            assert home in page.links


async def test_the_log_filters_by_athens_time_and_an_error_keeps_the_filters(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        code = await place.shop.cart(A=1)
        await place.market.settle()
        for since, is_there in (("2026-11-24T09:59", True), ("2026-11-24T10:01", False), ("2026-11-24T08:00Z", True)):
            page = await place.operator.get(f"/operator/deliveries?since={since}")
            assert (f"/operator/orders/{code}" in page.links) is is_there, since
        page = await place.operator.get("/operator/deliveries?since=yesterday&state=delivered")
        assert page.status == 422
        assert page.form("").values["state"] == "delivered"


@pytest.mark.parametrize(
    ("written", "meant"), [("1.234,50", "1234.50"), ("1,234.50", "1234.50"), ("12,5", "12.50"), ("13", "13.00")]
)
async def test_a_price_is_read_in_usual_formats(tmp_path: Path, written: str, meant: str) -> None:
    async with open_place(tmp_path) as place:
        path = f"/operator/shops/{place.shop.id}"
        page = await place.operator.get(path)
        listing = {"shop_uid": "X", "product_name": "Λάμπα", "unit_price": written, "quantity": "3"}
        page = await place.operator.submit(page, f"{path}/listings", listing)
        assert f"€{float(meant):,.2f}" in page.text
