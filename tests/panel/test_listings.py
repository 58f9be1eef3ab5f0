"""The shop's page of its listings: stock and prices by hand and by file, and the cost of rejections."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.contract.products import ProductUpdate
from kalathi.marketplace.products.csv_text import read_listings, render_listings
from kalathi.marketplace.shops.model import Listing, Variation
from kalathi.marketplace.shops.store import ListingInStock, VariationInStock
from tests.market import CUSTOMER, OPERATOR_TOKEN
from tests.panel.visitor import Place, open_place

pytestmark = pytest.mark.anyio

VARIED = {"variations": [{"variation_id": "A-38", "quantity": 3}, {"variation_id": "A-39", "quantity": 4}]}
HEAD = "shop_uid;variation_id;product_name;price;quantity;enabled\r\n"


async def _listings(place: Place) -> dict[str, dict[str, Any]]:
    answer = await place.market.operate("GET", f"/marketplace/shops/{place.shop.id}/listings")
    return {entry["shop_uid"]: entry for entry in answer["listings"]}


async def _upload(place: Place, content: bytes) -> Any:
    page = await place.merchant.get("/shop/listings")
    return await place.merchant.upload(page, "/shop/listings/import", "listings_file", content)


async def test_the_page_shows_stock_held_pieces_and_the_last_change(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await place.shop.cart(A=3)
        await place.shop.publish({"product_id": "B", "quantity": 5, "enabled": False, "price": 2500})
        page = await place.merchant.get("/shop/listings")
        assert "A Προϊόν A €10.40 97 3" in page.text
        row = page.text[page.text.index("Προϊόν B") :]
        assert "5 0" in row
        assert "your system" in row


async def test_a_rejection_costs_half_of_its_commission_for_thirty_days(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        assert "charged" not in (await place.merchant.get("/shop/listings")).text
        code = await place.shop.cart(A=1, B=1)
        line = (await place.shop.show(code))["line_items"][0]
        assert line["commission"] == 0.87
        body = {"line_items": [{"id": line["id"], "reason_id": 1}]}
        await place.shop.call("POST", f"/orders/{code}/reject", body)
        # Support has rejected this one, so it costs nothing.
        other = await place.shop.cart(B=1)
        await place.market.operate("POST", f"/marketplace/orders/{other}/reject", {"reason": "Απάτη"})
        text = (await place.merchant.get("/shop/listings")).text
        assert "charged to the shop: €0.44" in text
        await place.market.advance(31 * 86_400)
        assert "€0.44" not in (await place.merchant.get("/shop/listings")).text


async def test_a_listing_is_changed_by_hand_with_its_variations(tmp_path: Path) -> None:
    async with open_place(tmp_path, listing=VARIED) as place:
        page = await place.merchant.get("/shop/listings")
        assert "/shop/listing?uid=A" in page.links
        page = await place.merchant.get("/shop/listing?uid=A")
        values = {"unit_price": "9,90", "quantity": "7", "unit_price_0": "9,50", "quantity_0": "0"}
        done = await place.merchant.submit(page, "/shop/listing", values)
        assert done.done == "listing"
        listing = (await _listings(place))["A"]
        assert (listing["unit_price"], listing["quantity"], listing["changed_by"]) == (9.9, 7, "page")
        assert [(one["unit_price"], one["quantity"]) for one in listing["variations"]] == [(9.5, 0), (10.4, 4)]
        for wrong in ({"unit_price": "x"}, {"unit_price": "-1"}, {"unit_price": "1,005"}, {"quantity": "1.5"}):
            refused = await place.merchant.submit(page, "/shop/listing", wrong)
            assert (refused.status, refused.refusals) == (422, ["NotANumber"])
        assert (await place.merchant.get("/shop/listing?uid=C")).status == 404


async def test_orders_and_changes_of_the_price_at_the_same_moment_keep_the_stock(tmp_path: Path) -> None:
    async with open_place(tmp_path, listing=VARIED) as place:
        page = await place.merchant.get("/shop/listing?uid=A")
        item = {"shop_id": place.shop.id, "shop_uid": "A", "quantity": 1, "variation_id": "A-39"}
        cart = {"customer": CUSTOMER, "items": [item], "payment_method": "card"}

        async def sell() -> int:
            headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
            return (await place.market.call("POST", "/marketplace/carts", cart, headers)).status

        async def change(price: int) -> None:
            values = {"unit_price": f"{price},50", "unit_price_1": f"{price},00"}
            await place.merchant.submit(page, "/shop/listing", values)

        done = await asyncio.gather(*(sell() if number % 2 else change(number + 5) for number in range(24)))
        sold = done.count(201)
        assert sold
        listing = (await _listings(place))["A"]
        assert (listing["quantity"], listing["variations"][1]["quantity"]) == (100 - sold, 4 - sold)


@pytest.mark.parametrize("price", ["sNaN", "nan", "9e999999", "1.300", "1,300", "1.300.000", "inf", "٣", ".", "+"])
async def test_a_price_that_is_unclear_or_no_number_is_refused(tmp_path: Path, price: str) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/listing?uid=A")
        refused = await place.merchant.submit(page, "/shop/listing", {"unit_price": price})
        assert (refused.status, refused.refusals) == (422, ["NotANumber"])


@pytest.mark.parametrize(
    ("price", "euros"), [("1.300,50", 1300.5), ("1,300.50", 1300.5), ("1 300", 1300), ("0,500", 0.5), ("7.5", 7.5)]
)
async def test_a_price_is_read_as_users_write_it(tmp_path: Path, price: str, euros: float) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/listing?uid=A")
        await place.merchant.submit(page, "/shop/listing", {"unit_price": price})
        assert (await _listings(place))["A"]["unit_price"] == euros


async def test_saving_a_page_changes_only_the_values_that_were_edited(tmp_path: Path) -> None:
    async with open_place(tmp_path, listing=VARIED) as place:
        page = await place.merchant.get("/shop/listing?uid=A")
        # While the page is open, a customer orders and the shop's system publishes.
        item = {"shop_id": place.shop.id, "shop_uid": "A", "quantity": 3, "variation_id": "A-38"}
        cart = {"customer": CUSTOMER, "items": [item], "payment_method": "card"}
        await place.market.operate("POST", "/marketplace/carts", cart, status=201)
        size = {"variation_id": "A-38", "quantity": 1, "enabled": False, "price": 1040}
        await place.shop.publish(
            {"product_id": "A", "quantity": 50, "enabled": False, "price": 990, "variations": [size]}
        )
        done = await place.merchant.submit(page, "/shop/listing", {"unit_price_1": "8,00"})
        assert done.done == "listing"
        listing = (await _listings(place))["A"]
        assert (listing["unit_price"], listing["quantity"], listing["enabled"]) == (9.9, 50, False)
        sizes = [(one["unit_price"], one["quantity"], one["enabled"]) for one in listing["variations"]]
        assert sizes == [(10.4, 1, False), (8.0, 4, True)]
        # After a refusal, the values that the page has shown first still count.
        refused = await place.merchant.submit(page, "/shop/listing", {"unit_price": "x", "quantity": "100"})
        await place.merchant.submit(refused, "/shop/listing", {"unit_price": "7,00"})
        listing = (await _listings(place))["A"]
        assert (listing["unit_price"], listing["quantity"]) == (7.0, 50)


async def test_a_listing_of_another_shop_is_not_shown_or_changed(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        other = await place.market.shop("Other", listing={"shop_uid": "SECRET"})
        assert (await place.merchant.get("/shop/listing?uid=SECRET")).status == 404
        page = await place.merchant.get("/shop/listing?uid=A")
        refused = await place.merchant.submit(page, "/shop/listing", {"uid": "SECRET"})
        assert refused.refusals == ["NoSuchPage"]
        assert (await other.stock())["SECRET"] == 100


async def test_the_exported_file_can_be_changed_and_imported(tmp_path: Path) -> None:
    async with open_place(tmp_path, listing=VARIED) as place:
        answer = (await place.merchant.get("/shop/listings.csv")).answer
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        content = answer.body.decode("utf-8-sig")
        assert content == (
            f"{HEAD}A;;Προϊόν A;10,40;100;1\r\nA;A-38;Προϊόν A;10,40;3;1\r\nA;A-39;Προϊόν A;10,40;4;1\r\n"
            "B;;Προϊόν B;25,00;100;1\r\n"
        )
        done = await _upload(place, answer.body)
        assert done.done == "listings"
        assert (await _listings(place))["A"]["changed_by"] == "operator"  # Nothing has changed.
        changed = content.replace("25,00;100;1", "20,00;5;0").replace("10,40;3;1", "10,40;2;1")
        assert (await _upload(place, changed.encode())).done == "listings"
        listings = await _listings(place)
        assert (listings["B"]["unit_price"], listings["B"]["quantity"], listings["B"]["enabled"]) == (20, 5, False)
        assert listings["B"]["changed_by"] == "csv"
        assert [one["quantity"] for one in listings["A"]["variations"]] == [2, 4]


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", "EmptyFile"),
        (b"\xff\xfe\x00", "BadListingsFile"),
        (b"sku;price\r\nA;1\r\n", "BadListingsFile"),
        (b"shop_uid;price;quantity\r\nA;1.000;5\r\n", "BadListingLine"),
        (b'shop_uid;price;quantity\r\nA;"' + b"x" * 140_000 + b'";5\r\n', "BadListingLine"),
        (b'"' + b"x" * 140_000 + b'"\r\n', "BadListingsFile"),
        (b"shop_uid;price;quantity\r\nA;1,00;-5\r\n", "BadListingLine"),
        (b"shop_uid;price;quantity\r\nA;1,00\r\n", "BadListingLine"),
        (b"shop_uid;price;quantity;enabled\r\nA;1,00;5;maybe\r\n", "BadListingLine"),
        (b"shop_uid;price;quantity\r\nNONE;1,00;5\r\n", "ListingFailed"),
        (b"shop_uid;price;quantity\r\nA;0,00;5\r\n", "ListingFailed"),
    ],
)
async def test_a_file_that_cannot_be_taken_is_refused(tmp_path: Path, content: bytes, refusal: str) -> None:
    async with open_place(tmp_path) as place:
        refused = await _upload(place, content)
        assert (refused.status, refused.refusals) == (422, [refusal])
        assert await place.shop.stock() == {"A": 100, "B": 100}


def test_a_file_with_commas_and_points_is_read_as_well() -> None:
    read = read_listings(b"quantity,shop_uid,price\n3,A,10.4\n\n0,B,7\n")
    assert read == [
        ProductUpdate(product_id="A", quantity=3, enabled=True, price=1040),
        ProductUpdate(product_id="B", quantity=0, enabled=True, price=700),
    ]


_UIDS = (
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=30).map(str.strip).filter(bool)
)


@given(_UIDS, _UIDS, st.integers(1, 10**9), st.integers(0, 10**6), st.booleans())
def test_a_written_file_reads_back(uid: str, own: str, cents: int, quantity: int, enabled: bool) -> None:
    price = Decimal(cents) / 100
    listing = Listing(shop_uid=uid, product_name="=1+1", unit_price=price, commission_rate=Decimal(0), enabled=enabled)
    variation = VariationInStock(Variation(variation_id=own, unit_price=price, enabled=enabled), quantity)
    content = render_listings([ListingInStock(listing, quantity)], {uid: {own: variation}})
    [read] = read_listings(content)
    assert (read.product_id, read.price, read.quantity, read.enabled) == (uid, cents, quantity, enabled)
    assert [one.variation_id for one in read.variations or ()] == [own]


def test_no_cell_is_a_formula() -> None:
    listing = Listing(shop_uid="=A", product_name="+1", unit_price=Decimal(1), commission_rate=Decimal(0))
    content = render_listings([ListingInStock(listing, 1)], {}).decode("utf-8-sig")
    assert content.splitlines()[1] == "'=A;;'+1;1,00;1;1"
