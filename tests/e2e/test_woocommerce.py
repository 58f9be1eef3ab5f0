"""Orders handed over to WooCommerce by the example."""

import asyncio
import contextlib
import copy
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError
from kalathi.contract.orders import OrderBody
from kalathi.contract.reading import read
from kalathi.contract.received import received
from kalathi.merchant.handing_over import FunctionRecipient, HandoverError, order_body
from tests.e2e.processes import served
from tests.e2e.test_examples import load_example
from tests.e2e.woocommerce_shop import CENT, Product, WooCommerce, meta_of, total_of

pytestmark = pytest.mark.anyio

RECORDED = Path(__file__).parents[2] / "tests/data/examples/api/orders"
EXAMPLE = load_example("woocommerce")


def _recorded(name: str = "DEMO-OPEN", state: str = "accepted", **changes: Any) -> dict[str, Any]:
    """A recorded order, as it is handed over. Recordings are older than vat_ratio."""
    order: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_bytes())["order"]
    for line in order["line_items"]:
        line["vat_ratio"] = 24
    return order | {"state": state} | changes


def _products() -> list[Product]:
    return [
        Product(1, "405753", type="variable"),
        Product(2, "40575312-14", type="variation", parent_id=1),
        Product(3, "10"),
        Product(4, "768"),
        Product(5, "40575312-12", type="variation", parent_id=1),
    ]


class Desk:
    """The shop and the connector's way to it."""

    def __init__(self, shop: WooCommerce) -> None:
        self.shop = shop
        self._recipient = FunctionRecipient(EXAMPLE.hand_over)

    async def take(self, order: dict[str, Any]) -> None:
        """Hand over as the connector does; also an order that the connector could not read at all."""
        content = order
        with contextlib.suppress(UnexpectedShapeError, UnreadableBodyError):
            content = received(read(json.dumps({"order": order}).encode(), OrderBody))["order"]
        await self._recipient.take(str(order["code"]), order_body(content))

    async def refuse(self, order: dict[str, Any], sentence: str) -> None:
        """Hand over, and nothing is made."""
        before = copy.deepcopy(self.shop.orders)
        with pytest.raises(HandoverError, match=sentence) as caught:
            await self.take(order)
        assert "WooCommerceError: " in str(caught.value)
        assert self.shop.orders == before

    @property
    def order(self) -> dict[str, Any]:
        """The only one."""
        [order] = self.shop.orders.values()
        return order


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    shop = WooCommerce(_products())
    async with served(shop.answer) as url:
        os.environ |= {"WOOCOMMERCE_URL": f"{url}/", "WOOCOMMERCE_KEY": "ck_1", "WOOCOMMERCE_SECRET": "cs_1"}
        yield Desk(shop)


async def test_an_order_is_entered_once_and_follows_its_state(desk: Desk) -> None:
    await desk.take(_recorded(state="open"))
    assert desk.shop.orders == {}, "nothing is packed before it is accepted"
    for state, status in (
        ("accepted", "processing"),
        ("accepted", "processing"),
        ("dispatched", "completed"),
        ("delivered", "completed"),
        ("partially_returned", "completed"),
        ("returned", "refunded"),
    ):
        await desk.take(_recorded(state=state))
        assert (desk.order["status"], meta_of(desk.order)["state"]) == (status, state)
    assert desk.order["billing"]["last_name"] == "Doe"
    assert [line["quantity"] for line in desk.order["line_items"]] == [2, 2, 2]
    assert [line["subtotal"] for line in desk.order["line_items"]] == [x["total"] for x in desk.order["line_items"]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"total_price": None, "unit_price": None}, "has no price"),
        ({"total_price": "35,98", "unit_price": "17,99"}, "has no price"),
        ({"price_includes_vat": None}, "nothing says whether the price"),
        ({"price_includes_vat": "όχι"}, "nothing says whether the price"),
        ({"quantity": "two"}, "has no quantity"),
        ({"quantity": None}, "has no quantity"),
        ({"vat_ratio": None}, "vat_ratio is None"),
    ],
)
async def test_a_line_that_lacks_a_fact_is_not_entered_with_a_default(
    desk: Desk, changes: dict[str, Any], sentence: str
) -> None:
    order = _recorded()
    order["line_items"][0] |= changes
    await desk.refuse(order, sentence)
    for name, value in changes.items():
        if value is None:
            del order["line_items"][0][name]
    await desk.refuse(order, sentence.replace("is None", "is"))


@pytest.mark.parametrize("total", [None, "35,98", {}])
async def test_a_line_without_its_total_costs_unit_price_times_quantity(desk: Desk, total: object) -> None:
    order = _recorded()
    order["line_items"][0]["total_price"] = total
    await desk.take(order)
    assert (desk.order["status"], desk.order["total"]) == ("processing", "286.98")


async def test_an_order_of_which_a_line_or_the_shipping_cost_cannot_be_read_is_not_entered(desk: Desk) -> None:
    for line in ("a line", 7, None):
        order = _recorded()
        order["line_items"][1] = line
        await desk.refuse(order, "one of its lines cannot be read")
    await desk.refuse(_recorded(line_items={"1": {}}), "one of its lines cannot be read")
    await desk.refuse(_recorded(shipping_cost="3,50"), "shipping cost cannot be read")


async def test_a_line_without_an_id_is_entered_all_the_same(desk: Desk) -> None:
    order = _recorded()
    del order["line_items"][0]["id"]
    await desk.take(order)
    assert (desk.order["status"], desk.order["total"]) == ("processing", "286.98")


async def test_key_and_secret_go_to_no_proxy_and_a_shop_that_is_away_is_said_so(desk: Desk) -> None:
    asked: list[str] = []

    async def proxy(request: web.Request) -> web.Response:
        asked.append(str(request.headers.get("Authorization")))
        return web.Response(status=502)

    async with served(proxy) as address:
        environment = os.environ | dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), address)
        assert await _hand_over_in_a_process(_recorded(), environment) == ""
        assert desk.order["status"] == "processing"
        away = await _hand_over_in_a_process(_recorded(), environment | {"WOOCOMMERCE_URL": "http://127.0.0.1:9"})
        assert away.startswith("woocommerce.WooCommerceError: WooCommerce at http://127.0.0.1:9/wp-json")
        assert "does not answer (Conn" in away
        assert asked == []
        assert "502" in await _hand_over_in_a_process(_recorded(), environment | {"WOOCOMMERCE_PROXY": address})
        assert len(asked) == 1


async def _hand_over_in_a_process(order: dict[str, Any], environment: dict[str, str]) -> str:
    """The last line of its errors. In a process of its own, since the HTTP library reads the environment once."""
    script = "import json, sys, woocommerce; woocommerce.hand_over(json.load(sys.stdin))"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=RECORDED.parents[4] / "examples",
        env=environment,
    )
    async with asyncio.timeout(60):
        _, error = await process.communicate(json.dumps({"kind": "order", "order": order}).encode())
    return (error.decode().splitlines() or [""])[-1]


@pytest.mark.parametrize("search_runs_behind", [False, True])
async def test_an_order_whose_answer_was_lost_is_not_entered_twice(desk: Desk, *, search_runs_behind: bool) -> None:
    desk.shop.loses_answers = True
    desk.shop.search_runs_behind = search_runs_behind
    with pytest.raises(HandoverError, match="504"):
        await desk.take(_recorded())
    desk.shop.loses_answers = False
    await desk.take(_recorded())
    assert desk.order["status"] == "processing"


async def test_an_order_is_found_by_its_code_and_not_by_a_part_of_it(desk: Desk) -> None:
    for code in ("261128-10", "261128-1", "261128-100"):
        await desk.take(_recorded(code=code))
    await desk.take(_recorded(code="261128-1", state="dispatched"))
    assert {meta_of(o)["code"]: o["status"] for o in desk.shop.orders.values()} == {
        "261128-10": "processing",
        "261128-1": "completed",
        "261128-100": "processing",
    }


async def test_an_order_that_an_earlier_version_entered_is_found(desk: Desk) -> None:
    billing = {"company": "Smart Cart DEMO-OPEN"}
    old = {"id": 7, "status": "processing", "billing": billing, "meta_data": [], "total": "1.00", "line_items": []}
    desk.shop.orders[7] = old | {"stock_is_reduced": True}
    await desk.take(_recorded(state="dispatched"))
    assert desk.order["status"] == "completed"
    assert desk.order["billing"] == billing


async def test_an_order_that_a_person_has_entered_is_found_by_its_transaction_id(desk: Desk) -> None:
    unsaid = _recorded()
    unsaid["line_items"][0]["vat_ratio"] = None
    await desk.refuse(unsaid, "with the order's code as its transaction id")
    by_hand = {"id": 7, "status": "processing", "billing": {}, "transaction_id": "DEMO-OPEN", "meta_data": []}
    desk.shop.orders[7] = by_hand | {"line_items": [], "total": "1.00", "stock_is_reduced": True}
    await desk.take(unsaid)
    await desk.take(unsaid | {"state": "dispatched", "courier": "ACS"})
    assert (desk.order["status"], meta_of(desk.order)["courier"]) == ("completed", "ACS")


async def test_an_order_in_the_trash_stays_there(desk: Desk) -> None:
    await desk.take(_recorded())
    desk.order["status"] = "trash"
    await desk.take(_recorded(state="dispatched"))
    assert desk.order["status"] == "trash"


# Money


@pytest.mark.parametrize("at_subtotal", [False, True])
@pytest.mark.parametrize("rate", [24, 17, 13, 9, 6, 4, 19, 0])
def test_woocommerce_comes_to_each_price_to_the_cent(rate: int, *, at_subtotal: bool) -> None:
    for cents in range(1, 10_000):
        price = Decimal(cents) * CENT
        # Through a float, as it comes out of JSON.
        line = {"total_price": float(price), "price_includes_vat": True, "vat_ratio": rate, "quantity": 1}
        net = EXAMPLE._net("o1", line)
        assert total_of([net], [Decimal(rate)], at_subtotal=at_subtotal) == price
        assert net.quantize(CENT, ROUND_HALF_UP) == (price / (1 + Decimal(rate) / 100)).quantize(CENT, ROUND_HALF_UP)


def test_two_decimals_would_miss_a_fifth_of_all_prices() -> None:
    missed = 0
    for cents in range(1, 10_001):
        net = (cents * CENT / Decimal("1.24")).quantize(CENT, ROUND_HALF_UP)
        missed += total_of([net], [Decimal(24)]) != cents * CENT
    assert 1800 < missed < 2100


@pytest.mark.parametrize("at_subtotal", [False, True])
async def test_prices_with_vat_are_entered_net_and_the_order_comes_to_what_the_customer_pays(
    desk: Desk, *, at_subtotal: bool
) -> None:
    desk.shop.at_subtotal = at_subtotal
    await desk.take(_recorded())
    assert [line["total"] for line in desk.order["line_items"]] == ["29.016129", "161.290323", "41.129032"]
    assert desk.order["total"] == "286.98"
    assert desk.order["currency"] == "EUR"


async def test_shipping_that_the_customer_pays_is_in_the_total(desk: Desk) -> None:
    await desk.take(_recorded(shipping_cost=2.5))
    [shipping] = desk.order["shipping_lines"]
    assert shipping["total"] == "2.016129"
    assert desk.order["total"] == "289.48"


async def test_another_tax_rate_leaves_the_order_on_hold_until_a_person_has_looked(desk: Desk) -> None:
    desk.shop.rates[""] = Decimal(17)
    for _ in range(2):
        with pytest.raises(HandoverError, match=r"order 1000 comes to 270\.78, the customer pays 286\.98") as caught:
            await desk.take(_recorded())
        assert "DEMO-OPEN" in str(caught.value)
        assert desk.order["status"] == "on-hold"
    desk.order["total"] = "286.98"
    await desk.take(_recorded())
    assert desk.order["status"] == "processing"


async def test_a_person_may_take_an_order_with_another_total_off_hold(desk: Desk) -> None:
    desk.shop.rates[""] = Decimal(0)
    with pytest.raises(HandoverError, match="on hold"):
        await desk.take(_recorded())
    desk.shop.set_status(desk.order, "processing")
    await desk.take(_recorded(state="dispatched"))
    assert desk.order["status"] == "completed"


@pytest.mark.parametrize("ratio", [None, "", "much", -1, 124, True, "NaN"])
async def test_a_vat_ratio_that_says_nothing_stops_the_order(desk: Desk, ratio: object) -> None:
    order = _recorded()
    order["line_items"][1]["vat_ratio"] = ratio
    await desk.refuse(order, r"Order DEMO-OPEN: the price of Smartphone 123 includes VAT.*Enter it by hand")


@pytest.mark.parametrize("missing", ["price_includes_vat", "quantity"])
async def test_a_line_that_says_too_little_stops_the_order(desk: Desk, missing: str) -> None:
    order = _recorded()
    order["line_items"][1][missing] = None
    await desk.refuse(order, r"Order DEMO-OPEN: .*Smartphone 123")


async def test_numbers_as_texts_are_numbers_and_the_total_counts(desk: Desk) -> None:
    order = _recorded()
    order["line_items"] = order["line_items"][1:2]
    order["line_items"][0] |= {"vat_ratio": "24.0", "total_price": None, "unit_price": "17.99", "quantity": "2"}
    await desk.take(order)
    assert desk.order["total"] == "35.98"
    assert desk.order["line_items"][0]["quantity"] == 2


async def test_cash_on_delivery_is_told_from_what_is_paid(desk: Desk) -> None:
    await desk.take(_recorded(code="o1", payment_method="Cash_on_delivery"))
    await desk.take(_recorded(code="o2", payment_method="card"))
    assert [o["payment_method"] for o in desk.shop.orders.values()] == ["cod", "smart_cart"]


# Products


async def test_the_most_exact_uid_finds_the_product(desk: Desk) -> None:
    order = _recorded()
    sizes, variation, plain = order["line_items"]
    sizes |= {"shop_variation_uid": "40575312-12", "size": {"shop_variation_uid": "40575312-14"}}
    variation |= {"shop_uid": "405753", "shop_variation_uid": "40575312-12", "size": {"shop_variation_uid": None}}
    plain |= {"shop_variation_uid": ""}
    await desk.take(order)
    lines = [(line["product_id"], line["variation_id"]) for line in desk.order["line_items"]]
    assert lines == [(1, 2), (1, 5), (4, 0)]


async def test_an_unknown_sku_stops_the_order_and_names_both(desk: Desk) -> None:
    order = _recorded()
    order["line_items"][2]["shop_uid"] = 769
    await desk.refuse(order, r"Order DEMO-OPEN: WooCommerce has no product with the SKU 769 \(AIR OPTIX")
    desk.shop.products.append(Product(6, "769"))
    await desk.take(order)
    assert desk.order["line_items"][2]["product_id"] == 6


async def test_an_unknown_size_does_not_become_its_product(desk: Desk) -> None:
    order = _recorded()
    order["line_items"][0]["size"]["shop_variation_uid"] = "40575312-16"
    await desk.refuse(order, "the SKU 40575312-16")


async def test_a_product_with_sizes_is_not_ordered_without_one(desk: Desk) -> None:
    order = _recorded()
    order["line_items"][0] |= {"shop_variation_uid": None, "size": None}
    await desk.refuse(order, "Order DEMO-OPEN: SKU 405753 .* is a product with variations")


async def test_a_sku_that_two_products_have_stops_the_order(desk: Desk) -> None:
    desk.shop.products.append(Product(6, "768"))
    await desk.refuse(_recorded(), "products 4 and 6 of WooCommerce have the same SKU 768")


async def test_a_product_in_the_trash_is_not_taken_and_hides_no_other(desk: Desk) -> None:
    desk.shop.products[3].status = "trash"
    await desk.refuse(_recorded(), "no product with the SKU 768 .*trash")
    desk.shop.products.append(Product(6, "768"))
    await desk.take(_recorded())
    assert desk.order["line_items"][2]["product_id"] == 6


@pytest.mark.parametrize(("sku", "others"), [("a,b", ["a", "b"]), ("Ab", ["aB"]), ("0", ["x", "y"])])
async def test_only_the_exact_sku_is_taken(desk: Desk, sku: str, others: list[str]) -> None:
    desk.shop.products += [Product(20 + number, other) for number, other in enumerate(others)]
    order = _recorded()
    order["line_items"] = order["line_items"][1:2]
    order["line_items"][0]["shop_uid"] = sku
    await desk.refuse(order, f"no product with the SKU {sku}")
    desk.shop.products.append(Product(30, sku))
    await desk.take(order)
    assert desk.order["line_items"][0]["product_id"] == 30


# Invoices, addresses, details


async def test_an_invoice_goes_along_with_its_company(desk: Desk) -> None:
    await desk.take(_recorded("DEMO-INVOICE"))
    recorded = _recorded("DEMO-INVOICE")["invoice_details"]
    assert desk.order["billing"] | {"phone": ""} == {
        "first_name": "John",
        "last_name": "Doe",
        "company": recorded["company"],
        "address_1": "Πανεπιστημίου 4",
        "address_2": "",
        "city": "Αθήνα",
        "state": "Αττικής",
        "postcode": "12345",
        "country": "GR",
        "phone": "",
    }
    meta = meta_of(desk.order)
    assert meta["invoice_document"] == "invoice"
    assert (meta["vat_number"], meta["tax_office"]) == (recorded["vat_number"], recorded["doy"])
    assert meta["profession"] == recorded["profession"]
    assert "is_vat_exempt" not in meta


async def test_39a_goes_along_with_its_proof(desk: Desk) -> None:
    order = _recorded("DEMO-INVOICE39A")
    order["invoice_details"] |= {
        "vat_exclusion_verification_method": "documents",
        "vat_exclusion_documents": ["https://x/1.pdf", "https://x/2.pdf"],
    }
    await desk.take(order)
    meta = meta_of(desk.order)
    assert meta["invoice_document"] == "invoice_39a"
    assert meta["vat_exclusion_requested"] == "yes"
    assert meta["vat_exclusion_verification_method"] == "documents"
    assert meta["vat_exclusion_documents"] == "https://x/1.pdf, https://x/2.pdf"
    assert meta["representative_id_type"] == "ΑΤ Αστυνομική Ταυτότητα"
    assert (meta["representative_id_number"], meta["representative_otp"]) == ("12345", "123456")
    # The recorded one has a line without VAT among lines with VAT.
    assert [line["tax_class"] for line in desk.order["line_items"]] == ["", "zero-rate", ""]
    assert desk.order["total"] == "286.98"


async def test_a_vies_invoice_is_entered_without_tax_and_in_its_country(desk: Desk) -> None:
    order = _recorded("DEMO-INVOICE-VIES")
    for line in order["line_items"]:
        line.pop("vat_ratio")
    order["line_items"] = order["line_items"][1:]
    await desk.take(order)
    assert desk.order["total"] == "100.00"
    assert desk.order["billing"]["country"] == "DE"
    assert desk.order["billing"]["company"] == "ACME EU"
    meta = meta_of(desk.order)
    assert (meta["is_vat_exempt"], meta["invoice_document"]) == ("yes", "invoice_vies")
    assert meta["vat_number"] == "DE111119191"


async def test_a_shop_without_that_tax_class_is_told(desk: Desk) -> None:
    del desk.shop.rates["zero-rate"]
    await desk.refuse(_recorded("DEMO-INVOICE39A"), "Invalid tax class")


async def test_a_collection_point_a_gift_and_phones_go_along(desk: Desk) -> None:
    order = _recorded(custom="[GIFT-WRAP]", comments="Παρακαλώ\nγρήγορα")
    order["customer"] |= {"id": 17, "phone": 2101234567, "mobile": "(+30) 6999999999"}
    empty = dict.fromkeys(("street_name", "street_number", "floor", "zip", "city", "region", "country_code"), "")
    order["customer"]["address"] = empty | {
        "pickup_from_collection_point": True,
        "collection_point_address": "Skroutz Point, Ερμού 1",
    }
    await desk.take(order)
    assert desk.order["shipping"]["address_1"] == "Skroutz Point, Ερμού 1"
    assert desk.order["shipping"]["country"] == "GR"
    assert desk.order["billing"]["phone"] == "(+30) 6999999999"
    assert desk.order["customer_note"] == "Παρακαλώ\nγρήγορα"
    assert desk.order["shipping_lines"][0]["method_title"] == "Smart Cart DEMO-OPEN, gift wrap"
    meta = meta_of(desk.order)
    assert (meta["phone"], meta["mobile"], meta["gift_wrap"]) == ("2101234567", "(+30) 6999999999", "yes")
    assert meta["collection_point"] == "Skroutz Point, Ερμού 1"
    line = meta_of(desk.order["line_items"][0])
    assert (line["size"], line["size_shop_value"], line["line_id"]) == ("Ηλικία 14 χρονών", "12-14", "Y5jVmgKmeX")


def _optional(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from _optional(inner, (*path, key))


@pytest.mark.parametrize("name", ["DEMO-OPEN", "DEMO-INVOICE39A", "DEMO-STORE-PICKUP"])
async def test_any_member_may_be_null_or_missing(desk: Desk, name: str) -> None:
    """The order is entered, or a sentence says why not."""
    recorded = _recorded(name)
    recorded.pop("accept_options", None)
    recorded.pop("reject_options", None)
    entered = 0
    paths = [path for path in _optional(recorded) if path not in {("code",), ("state",)}]
    for number, path in enumerate(paths):
        for is_missing in (False, True):
            order = copy.deepcopy(recorded) | {"code": f"o{number}-{is_missing}"}
            holder: Any = order
            for key in path[:-1]:
                holder = holder[key]
            if is_missing and isinstance(holder, dict):
                del holder[path[-1]]
            else:
                holder[path[-1]] = None
            try:
                await desk.take(order)
                entered += 1
            except HandoverError as error:
                assert str(error).startswith("WooCommerceError: Order o"), (path, error)
                assert path[0] == "line_items", (path, error)
    assert len(desk.shop.orders) == entered
    assert entered > len(paths)


# Changes


async def test_couriers_and_tracking_codes_of_later_changes_go_along(desk: Desk) -> None:
    await desk.take(_recorded())
    changed = _recorded(courier="ACS", courier_tracking_codes=[123, "456"], courier_voucher="https://x/v.pdf")
    await desk.take(changed)
    meta = meta_of(desk.order)
    assert (meta["courier"], meta["courier_tracking_codes"]) == ("ACS", "123, 456")
    assert meta["courier_voucher"] == "https://x/v.pdf"
    await desk.take(changed | {"courier_voucher": None, "courier_tracking_codes": []})
    assert meta_of(desk.order)["courier_voucher"] == ""
    keys = [entry["key"] for entry in desk.order["meta_data"]]
    assert len(keys) == len(set(keys))


async def test_a_status_that_a_person_has_set_stays_until_the_state_changes(desk: Desk) -> None:
    await desk.take(_recorded())
    desk.shop.set_status(desk.order, "completed")
    await desk.take(_recorded(courier="ACS"))
    assert desk.order["status"] == "completed"
    await desk.take(_recorded(state="cancelled"))
    assert desk.order["status"] == "on-hold", "it was packed already, so a person looks"


@pytest.mark.parametrize("status", ["on-hold", "refunded", "failed"])
async def test_a_change_that_is_no_new_state_undoes_no_status(desk: Desk, status: str) -> None:
    await desk.take(_recorded())
    desk.shop.set_status(desk.order, status)
    await desk.take(_recorded(courier="ACS"))
    assert (desk.order["status"], meta_of(desk.order)["courier"]) == (status, "ACS")


async def test_an_order_that_a_person_has_completed_goes_not_back_to_processing(desk: Desk) -> None:
    desk.shop.rates[""] = Decimal(0)
    with pytest.raises(HandoverError, match="on hold"):
        await desk.take(_recorded())
    desk.shop.set_status(desk.order, "completed")
    await desk.take(_recorded())
    assert (desk.order["status"], meta_of(desk.order)["state"]) == ("completed", "accepted")


async def test_a_cancelled_order_gives_its_pieces_back_only_while_they_are_here(desk: Desk) -> None:
    def stock() -> list[int]:
        return [product.stock for product in desk.shop.products]

    at_first = stock()
    await desk.take(_recorded())
    sold = stock()
    assert sold == [100, 98, 98, 98, 100]
    await desk.take(_recorded(state="cancelled"))
    assert (desk.order["status"], stock()) == ("cancelled", at_first)
    desk.shop.orders.clear()
    for state, status in (
        ("dispatched", "completed"),
        ("cancelled", "on-hold"),
        ("for_return", "on-hold"),
        ("cancelled", "on-hold"),
    ):
        await desk.take(_recorded(state=state))
        assert (desk.order["status"], stock()) == (status, sold)


async def test_states_without_a_word_leave_the_order_alone(desk: Desk) -> None:
    await desk.take(_recorded())
    before = copy.deepcopy(desk.order)
    asked = len(desk.shop.requests)
    for state in ("lost_at_sea", "open"):
        await desk.take(_recorded(state=state))
    assert desk.order == before
    assert len(desk.shop.requests) == asked


async def test_what_this_shop_does_not_send_is_not_entered(desk: Desk) -> None:
    for state in ("cancelled", "rejected", "expired", "returned", "for_return", "partially_returned"):
        await desk.take(_recorded(state=state))
    await desk.take(_recorded(fulfilled_by_skroutz=True))
    await FunctionRecipient(EXAMPLE.hand_over).take("R-1", b'{"kind": "return", "return": {"return_code": "R-1"}}')
    assert desk.shop.orders == {}


# Calls


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_a_redirect_is_no_success_and_names_the_new_address(desk: Desk, method: str, status: int) -> None:
    desk.shop.instead = web.Response(status=status, headers={"Location": "https://www.shop.example/wp-json/x"})
    desk.shop.instead_of = {method}
    with pytest.raises(HandoverError, match=r"to https://www\.shop\.example/wp-json/x\. Put the new address"):
        await desk.take(_recorded())
    desk.shop.instead = None
    await desk.take(_recorded())
    assert desk.order["status"] == "processing"


@pytest.mark.parametrize(
    ("text", "content_type", "sentence"),
    [
        ("<html>Back soon</html>", "text/html", "answered 200 and not with JSON"),
        ("{}", "application/json", "not WooCommerce's"),
        ("[]", "application/json", "not WooCommerce's"),
        ("null", "application/json", "not WooCommerce's"),
    ],
)
async def test_a_page_is_not_taken_for_an_order(desk: Desk, text: str, content_type: str, sentence: str) -> None:
    desk.shop.instead = web.Response(status=200, text=text, content_type=content_type)
    desk.shop.instead_of = {"POST"}
    await desk.refuse(_recorded(), sentence)


async def test_a_refusal_says_what_woocommerce_says(desk: Desk) -> None:
    os.environ["WOOCOMMERCE_SECRET"] = "cs_2"
    await desk.refuse(_recorded(), r"with 401 \(woocommerce_rest_cannot_view: Sorry")
    os.environ["WOOCOMMERCE_SECRET"] = ""
    await desk.refuse(_recorded(), "Set WOOCOMMERCE_SECRET in the connector's environment")


async def test_netrc_is_never_used(desk: Desk, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n", "utf-8")
    os.environ["NETRC"] = str(netrc)
    try:
        await desk.take(_recorded())
    finally:
        del os.environ["NETRC"]
    assert desk.order["status"] == "processing"
