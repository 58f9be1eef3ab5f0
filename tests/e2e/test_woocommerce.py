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
from kalathi.contract.received import read_received
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


class Context:
    """The shop and the connector's way to it."""

    def __init__(self, shop: WooCommerce) -> None:
        self.shop = shop
        self._recipient = FunctionRecipient(EXAMPLE.hand_over)

    async def take(self, order: dict[str, Any]) -> None:
        """Hand over as the connector does; also an order that the connector could not read at all."""
        content = order
        # Then the connector hands it over as it is.
        with contextlib.suppress(UnexpectedShapeError, UnreadableBodyError):
            content = read_received(read(json.dumps({"order": order}).encode(), OrderBody))["order"]
        await self._recipient.receive(str(order["code"]), order_body(content))

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
async def context() -> AsyncIterator[Context]:
    shop = WooCommerce(_products())
    async with served(shop.answer) as url:
        os.environ |= {"WOOCOMMERCE_URL": f"{url}/", "WOOCOMMERCE_KEY": "ck_1", "WOOCOMMERCE_SECRET": "cs_1"}
        yield Context(shop)


async def test_an_order_is_entered_once_and_follows_its_state(context: Context) -> None:
    await context.take(_recorded(state="open"))
    assert context.shop.orders == {}, "nothing is packed before it is accepted"
    for state, status in (
        ("accepted", "processing"),
        ("accepted", "processing"),
        ("dispatched", "completed"),
        ("delivered", "completed"),
        ("partially_returned", "completed"),
        ("returned", "refunded"),
    ):
        await context.take(_recorded(state=state))
        assert (context.order["status"], meta_of(context.order)["state"]) == (status, state)
    assert context.order["billing"]["last_name"] == "Doe"
    assert [line["quantity"] for line in context.order["line_items"]] == [2, 2, 2]
    assert [line["subtotal"] for line in context.order["line_items"]] == [
        x["total"] for x in context.order["line_items"]
    ]


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
async def test_a_missing_value_of_a_line_is_not_replaced_by_a_default(
    context: Context, changes: dict[str, Any], sentence: str
) -> None:
    order = _recorded()
    order["line_items"][0] |= changes
    await context.refuse(order, sentence)
    for name, value in changes.items():
        if value is None:
            del order["line_items"][0][name]
    await context.refuse(order, sentence.replace("is None", "is"))


@pytest.mark.parametrize("total", [None, "35,98", {}])
async def test_a_line_without_its_total_costs_unit_price_times_quantity(context: Context, total: object) -> None:
    order = _recorded()
    order["line_items"][0]["total_price"] = total
    await context.take(order)
    assert (context.order["status"], context.order["total"]) == ("processing", "286.98")


async def test_an_order_of_which_a_line_or_the_shipping_cost_cannot_be_read_is_not_entered(context: Context) -> None:
    for line in ("a line", 7, None):
        order = _recorded()
        order["line_items"][1] = line
        await context.refuse(order, "one of its lines cannot be read")
    await context.refuse(_recorded(line_items={"1": {}}), "one of its lines cannot be read")
    await context.refuse(_recorded(shipping_cost="3,50"), "shipping cost cannot be read")


async def test_a_line_without_an_id_is_entered_all_the_same(context: Context) -> None:
    order = _recorded()
    del order["line_items"][0]["id"]
    await context.take(order)
    assert (context.order["status"], context.order["total"]) == ("processing", "286.98")


async def test_credentials_bypass_proxies_and_an_unreachable_shop_is_reported(context: Context) -> None:
    asked: list[str] = []

    async def proxy(request: web.Request) -> web.Response:
        asked.append(str(request.headers.get("Authorization")))
        return web.Response(status=502)

    async with served(proxy) as address:
        environment = os.environ | dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), address)
        assert await _hand_over_in_a_process(_recorded(), environment) == ""
        assert context.order["status"] == "processing"
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
async def test_an_order_whose_answer_was_lost_is_not_entered_twice(
    context: Context, *, search_runs_behind: bool
) -> None:
    context.shop.loses_answers = True
    context.shop.search_runs_behind = search_runs_behind
    with pytest.raises(HandoverError, match="504"):
        await context.take(_recorded())
    context.shop.loses_answers = False
    await context.take(_recorded())
    assert context.order["status"] == "processing"


async def test_an_order_is_found_by_its_code_and_not_by_a_part_of_it(context: Context) -> None:
    for code in ("261128-10", "261128-1", "261128-100"):
        await context.take(_recorded(code=code))
    await context.take(_recorded(code="261128-1", state="dispatched"))
    assert {meta_of(o)["code"]: o["status"] for o in context.shop.orders.values()} == {
        "261128-10": "processing",
        "261128-1": "completed",
        "261128-100": "processing",
    }


async def test_an_order_that_an_earlier_version_entered_is_found(context: Context) -> None:
    billing = {"company": "Smart Cart DEMO-OPEN"}
    old = {"id": 7, "status": "processing", "billing": billing, "meta_data": [], "total": "1.00", "line_items": []}
    context.shop.orders[7] = old | {"stock_is_reduced": True}
    await context.take(_recorded(state="dispatched"))
    assert context.order["status"] == "completed"
    assert context.order["billing"] == billing


async def test_an_order_that_a_person_has_entered_is_found_by_its_transaction_id(context: Context) -> None:
    unsaid = _recorded()
    unsaid["line_items"][0]["vat_ratio"] = None
    await context.refuse(unsaid, "with the order's code as its transaction id")
    by_hand = {"id": 7, "status": "processing", "billing": {}, "transaction_id": "DEMO-OPEN", "meta_data": []}
    context.shop.orders[7] = by_hand | {"line_items": [], "total": "1.00", "stock_is_reduced": True}
    await context.take(unsaid)
    await context.take(unsaid | {"state": "dispatched", "courier": "ACS"})
    assert (context.order["status"], meta_of(context.order)["courier"]) == ("completed", "ACS")


async def test_an_order_in_the_trash_stays_there(context: Context) -> None:
    await context.take(_recorded())
    context.order["status"] = "trash"
    await context.take(_recorded(state="dispatched"))
    assert context.order["status"] == "trash"


# Money


@pytest.mark.parametrize("at_subtotal", [False, True])
@pytest.mark.parametrize("rate", [24, 17, 13, 9, 6, 4, 19, 0])
def test_woocommerce_computes_every_price_to_the_cent(rate: int, *, at_subtotal: bool) -> None:
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
async def test_prices_are_entered_net_and_the_total_is_the_customers_price(
    context: Context, *, at_subtotal: bool
) -> None:
    context.shop.at_subtotal = at_subtotal
    await context.take(_recorded())
    assert [line["total"] for line in context.order["line_items"]] == ["29.016129", "161.290323", "41.129032"]
    assert context.order["total"] == "286.98"
    assert context.order["currency"] == "EUR"


async def test_shipping_that_the_customer_pays_is_in_the_total(context: Context) -> None:
    await context.take(_recorded(shipping_cost=2.5))
    [shipping] = context.order["shipping_lines"]
    assert shipping["total"] == "2.016129"
    assert context.order["total"] == "289.48"


async def test_another_tax_rate_puts_the_order_on_hold_until_corrected(context: Context) -> None:
    context.shop.rates[""] = Decimal(17)
    for _ in range(2):
        with pytest.raises(HandoverError, match=r"order 1000 comes to 270\.78, the customer pays 286\.98") as caught:
            await context.take(_recorded())
        assert "DEMO-OPEN" in str(caught.value)
        assert context.order["status"] == "on-hold"
    context.order["total"] = "286.98"
    await context.take(_recorded())
    assert context.order["status"] == "processing"


async def test_a_person_may_take_an_order_with_another_total_off_hold(context: Context) -> None:
    context.shop.rates[""] = Decimal(0)
    with pytest.raises(HandoverError, match="on hold"):
        await context.take(_recorded())
    context.shop.set_status(context.order, "processing")
    await context.take(_recorded(state="dispatched"))
    assert context.order["status"] == "completed"


@pytest.mark.parametrize("ratio", [None, "", "much", -1, 124, True, "NaN"])
async def test_an_unusable_vat_ratio_stops_the_order(context: Context, ratio: object) -> None:
    order = _recorded()
    order["line_items"][1]["vat_ratio"] = ratio
    await context.refuse(order, r"Order DEMO-OPEN: the price of Smartphone 123 includes VAT.*Enter it by hand")


@pytest.mark.parametrize("missing", ["price_includes_vat", "quantity"])
async def test_an_incomplete_line_stops_the_order(context: Context, missing: str) -> None:
    order = _recorded()
    order["line_items"][1][missing] = None
    await context.refuse(order, r"Order DEMO-OPEN: .*Smartphone 123")


async def test_numbers_as_texts_are_numbers_and_the_total_counts(context: Context) -> None:
    order = _recorded()
    order["line_items"] = order["line_items"][1:2]
    order["line_items"][0] |= {"vat_ratio": "24.0", "total_price": None, "unit_price": "17.99", "quantity": "2"}
    await context.take(order)
    assert context.order["total"] == "35.98"
    assert context.order["line_items"][0]["quantity"] == 2


async def test_cash_on_delivery_is_distinguished_from_paid_orders(context: Context) -> None:
    await context.take(_recorded(code="o1", payment_method="Cash_on_delivery"))
    await context.take(_recorded(code="o2", payment_method="card"))
    assert [o["payment_method"] for o in context.shop.orders.values()] == ["cod", "smart_cart"]


# Products


async def test_the_most_exact_uid_finds_the_product(context: Context) -> None:
    order = _recorded()
    sizes, variation, plain = order["line_items"]
    sizes |= {"shop_variation_uid": "40575312-12", "size": {"shop_variation_uid": "40575312-14"}}
    variation |= {"shop_uid": "405753", "shop_variation_uid": "40575312-12", "size": {"shop_variation_uid": None}}
    plain |= {"shop_variation_uid": ""}
    await context.take(order)
    lines = [(line["product_id"], line["variation_id"]) for line in context.order["line_items"]]
    assert lines == [(1, 2), (1, 5), (4, 0)]


async def test_an_unknown_sku_stops_the_order_and_names_both(context: Context) -> None:
    order = _recorded()
    order["line_items"][2]["shop_uid"] = 769
    await context.refuse(order, r"Order DEMO-OPEN: WooCommerce has no product with the SKU 769 \(AIR OPTIX")
    context.shop.products.append(Product(6, "769"))
    await context.take(order)
    assert context.order["line_items"][2]["product_id"] == 6


async def test_an_unknown_size_does_not_become_its_product(context: Context) -> None:
    order = _recorded()
    order["line_items"][0]["size"]["shop_variation_uid"] = "40575312-16"
    await context.refuse(order, "the SKU 40575312-16")


async def test_a_product_with_sizes_is_not_ordered_without_one(context: Context) -> None:
    order = _recorded()
    order["line_items"][0] |= {"shop_variation_uid": None, "size": None}
    await context.refuse(order, "Order DEMO-OPEN: SKU 405753 .* is a product with variations")


async def test_a_sku_that_two_products_have_stops_the_order(context: Context) -> None:
    context.shop.products.append(Product(6, "768"))
    await context.refuse(_recorded(), "products 4 and 6 of WooCommerce have the same SKU 768")


async def test_a_product_in_the_trash_is_not_used_and_hides_no_other(context: Context) -> None:
    context.shop.products[3].status = "trash"
    await context.refuse(_recorded(), "no product with the SKU 768 .*trash")
    context.shop.products.append(Product(6, "768"))
    await context.take(_recorded())
    assert context.order["line_items"][2]["product_id"] == 6


@pytest.mark.parametrize(("sku", "others"), [("a,b", ["a", "b"]), ("Ab", ["aB"]), ("0", ["x", "y"])])
async def test_only_the_exact_sku_matches(context: Context, sku: str, others: list[str]) -> None:
    context.shop.products += [Product(20 + number, other) for number, other in enumerate(others)]
    order = _recorded()
    order["line_items"] = order["line_items"][1:2]
    order["line_items"][0]["shop_uid"] = sku
    await context.refuse(order, f"no product with the SKU {sku}")
    context.shop.products.append(Product(30, sku))
    await context.take(order)
    assert context.order["line_items"][0]["product_id"] == 30


# Invoices, addresses, details


async def test_an_invoice_order_includes_the_company(context: Context) -> None:
    await context.take(_recorded("DEMO-INVOICE"))
    recorded = _recorded("DEMO-INVOICE")["invoice_details"]
    assert context.order["billing"] | {"phone": ""} == {
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
    meta = meta_of(context.order)
    assert meta["invoice_document"] == "invoice"
    assert (meta["vat_number"], meta["tax_office"]) == (recorded["vat_number"], recorded["doy"])
    assert meta["profession"] == recorded["profession"]
    assert "is_vat_exempt" not in meta


async def test_an_article_39a_order_includes_its_proof(context: Context) -> None:
    order = _recorded("DEMO-INVOICE39A")
    order["invoice_details"] |= {
        "vat_exclusion_verification_method": "documents",
        "vat_exclusion_documents": ["https://x/1.pdf", "https://x/2.pdf"],
    }
    await context.take(order)
    meta = meta_of(context.order)
    assert meta["invoice_document"] == "invoice_39a"
    assert meta["vat_exclusion_requested"] == "yes"
    assert meta["vat_exclusion_verification_method"] == "documents"
    assert meta["vat_exclusion_documents"] == "https://x/1.pdf, https://x/2.pdf"
    assert meta["representative_id_type"] == "ΑΤ Αστυνομική Ταυτότητα"
    assert (meta["representative_id_number"], meta["representative_otp"]) == ("12345", "123456")
    # The recorded one has a line without VAT among lines with VAT.
    assert [line["tax_class"] for line in context.order["line_items"]] == ["", "zero-rate", ""]
    assert context.order["total"] == "286.98"


async def test_a_vies_invoice_is_entered_without_tax_and_in_its_country(context: Context) -> None:
    order = _recorded("DEMO-INVOICE-VIES")
    for line in order["line_items"]:
        line.pop("vat_ratio")
    order["line_items"] = order["line_items"][1:]
    await context.take(order)
    assert context.order["total"] == "100.00"
    assert context.order["billing"]["country"] == "DE"
    assert context.order["billing"]["company"] == "ACME EU"
    meta = meta_of(context.order)
    assert (meta["is_vat_exempt"], meta["invoice_document"]) == ("yes", "invoice_vies")
    assert meta["vat_number"] == "DE111119191"


async def test_a_missing_tax_class_stops_the_order(context: Context) -> None:
    del context.shop.rates["zero-rate"]
    await context.refuse(_recorded("DEMO-INVOICE39A"), "Invalid tax class")


async def test_collection_point_gift_wrap_and_phones_are_entered(context: Context) -> None:
    order = _recorded(custom="[GIFT-WRAP]", comments="Παρακαλώ\nγρήγορα")
    order["customer"] |= {"id": 17, "phone": 2101234567, "mobile": "(+30) 6999999999"}
    empty = dict.fromkeys(("street_name", "street_number", "floor", "zip", "city", "region", "country_code"), "")
    order["customer"]["address"] = empty | {
        "pickup_from_collection_point": True,
        "collection_point_address": "Skroutz Point, Ερμού 1",
    }
    await context.take(order)
    assert context.order["shipping"]["address_1"] == "Skroutz Point, Ερμού 1"
    assert context.order["shipping"]["country"] == "GR"
    assert context.order["billing"]["phone"] == "(+30) 6999999999"
    assert context.order["customer_note"] == "Παρακαλώ\nγρήγορα"
    assert context.order["shipping_lines"][0]["method_title"] == "Smart Cart DEMO-OPEN, gift wrap"
    meta = meta_of(context.order)
    assert (meta["phone"], meta["mobile"], meta["gift_wrap"]) == ("2101234567", "(+30) 6999999999", "yes")
    assert meta["collection_point"] == "Skroutz Point, Ερμού 1"
    line = meta_of(context.order["line_items"][0])
    assert (line["size"], line["size_shop_value"], line["line_id"]) == ("Ηλικία 14 χρονών", "12-14", "Y5jVmgKmeX")


def _optional(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from _optional(inner, (*path, key))


@pytest.mark.parametrize("name", ["DEMO-OPEN", "DEMO-INVOICE39A", "DEMO-STORE-PICKUP"])
async def test_any_member_may_be_null_or_missing(context: Context, name: str) -> None:
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
                await context.take(order)
                entered += 1
            except HandoverError as error:
                assert str(error).startswith("WooCommerceError: Order o"), (path, error)
                assert path[0] == "line_items", (path, error)
    assert len(context.shop.orders) == entered
    assert entered > len(paths)


# Changes


async def test_courier_and_tracking_codes_of_later_changes_are_entered(context: Context) -> None:
    await context.take(_recorded())
    changed = _recorded(courier="ACS", courier_tracking_codes=[123, "456"], courier_voucher="https://x/v.pdf")
    await context.take(changed)
    meta = meta_of(context.order)
    assert (meta["courier"], meta["courier_tracking_codes"]) == ("ACS", "123, 456")
    assert meta["courier_voucher"] == "https://x/v.pdf"
    await context.take(changed | {"courier_voucher": None, "courier_tracking_codes": []})
    assert meta_of(context.order)["courier_voucher"] == ""
    keys = [entry["key"] for entry in context.order["meta_data"]]
    assert len(keys) == len(set(keys))


async def test_a_status_that_a_person_has_set_stays_until_the_state_changes(context: Context) -> None:
    await context.take(_recorded())
    context.shop.set_status(context.order, "completed")
    await context.take(_recorded(courier="ACS"))
    assert context.order["status"] == "completed"
    await context.take(_recorded(state="cancelled"))
    assert context.order["status"] == "on-hold", "it was packed already, so a person looks"


@pytest.mark.parametrize("status", ["on-hold", "refunded", "failed"])
async def test_a_change_without_a_new_state_keeps_the_status(context: Context, status: str) -> None:
    await context.take(_recorded())
    context.shop.set_status(context.order, status)
    await context.take(_recorded(courier="ACS"))
    assert (context.order["status"], meta_of(context.order)["courier"]) == (status, "ACS")


async def test_an_order_completed_by_a_person_stays_completed(context: Context) -> None:
    context.shop.rates[""] = Decimal(0)
    with pytest.raises(HandoverError, match="on hold"):
        await context.take(_recorded())
    context.shop.set_status(context.order, "completed")
    await context.take(_recorded())
    assert (context.order["status"], meta_of(context.order)["state"]) == ("completed", "accepted")


async def test_a_cancelled_order_is_restocked_only_before_dispatch(context: Context) -> None:
    def stock() -> list[int]:
        return [product.stock for product in context.shop.products]

    at_first = stock()
    await context.take(_recorded())
    sold = stock()
    assert sold == [100, 98, 98, 98, 100]
    await context.take(_recorded(state="cancelled"))
    assert (context.order["status"], stock()) == ("cancelled", at_first)
    context.shop.orders.clear()
    for state, status in (
        ("dispatched", "completed"),
        ("cancelled", "on-hold"),
        ("for_return", "on-hold"),
        ("cancelled", "on-hold"),
    ):
        await context.take(_recorded(state=state))
        assert (context.order["status"], stock()) == (status, sold)


async def test_states_without_a_mapping_leave_the_order_unchanged(context: Context) -> None:
    await context.take(_recorded())
    before = copy.deepcopy(context.order)
    asked = len(context.shop.requests)
    for state in ("lost_at_sea", "open"):
        await context.take(_recorded(state=state))
    assert context.order == before
    assert len(context.shop.requests) == asked


async def test_orders_that_the_shop_does_not_send_are_not_entered(context: Context) -> None:
    for state in ("cancelled", "rejected", "expired", "returned", "for_return", "partially_returned"):
        await context.take(_recorded(state=state))
    await context.take(_recorded(fulfilled_by_skroutz=True))
    await FunctionRecipient(EXAMPLE.hand_over).receive("R-1", b'{"kind": "return", "return": {"return_code": "R-1"}}')
    assert context.shop.orders == {}


# Calls


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_a_redirect_is_no_success_and_names_the_new_address(context: Context, method: str, status: int) -> None:
    context.shop.instead = web.Response(status=status, headers={"Location": "https://www.shop.example/wp-json/x"})
    context.shop.instead_of = {method}
    with pytest.raises(HandoverError, match=r"to https://www\.shop\.example/wp-json/x\. Put the new address"):
        await context.take(_recorded())
    context.shop.instead = None
    await context.take(_recorded())
    assert context.order["status"] == "processing"


@pytest.mark.parametrize(
    ("text", "content_type", "sentence"),
    [
        ("<html>Back soon</html>", "text/html", "answered 200 and not with JSON"),
        ("{}", "application/json", "not WooCommerce's"),
        ("[]", "application/json", "not WooCommerce's"),
        ("null", "application/json", "not WooCommerce's"),
    ],
)
async def test_an_invalid_answer_is_refused(context: Context, text: str, content_type: str, sentence: str) -> None:
    context.shop.instead = web.Response(status=200, text=text, content_type=content_type)
    context.shop.instead_of = {"POST"}
    await context.refuse(_recorded(), sentence)


async def test_a_refusal_quotes_woocommerces_message(context: Context) -> None:
    os.environ["WOOCOMMERCE_SECRET"] = "cs_2"
    await context.refuse(_recorded(), r"with 401 \(woocommerce_rest_cannot_view: Sorry")
    os.environ["WOOCOMMERCE_SECRET"] = ""
    await context.refuse(_recorded(), "Set WOOCOMMERCE_SECRET in the connector's environment")


async def test_netrc_is_never_used(context: Context, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n", "utf-8")
    os.environ["NETRC"] = str(netrc)
    try:
        await context.take(_recorded())
    finally:
        del os.environ["NETRC"]
    assert context.order["status"] == "processing"
