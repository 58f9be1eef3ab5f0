"""The Products API (docs/contract.md#section-10): stock and prices in batches."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kalathi.contract.products import MOST_PRODUCTS
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.products.applying import Applied
from kalathi.marketplace.products.store import update_listings
from tests.market import CUSTOMER, OPERATOR_TOKEN, Market, Shop, open_market

pytestmark = pytest.mark.anyio

_BATCHES = "SELECT created_at FROM product_batches"
_VARIED = [
    {"variation_id": "A-38", "quantity": 3, "unit_price": 12.5, "size": {"label": "Μέγεθος", "value": "38"}},
    {"variation_id": "A-39", "quantity": 0},
]


def _product(uid: object = "A", quantity: object = 7, price: object = 990, **different: object) -> dict[str, Any]:
    return {"product_id": uid, "quantity": quantity, "enabled": True, "price": price, **different}


async def _listing(shop: Shop, uid: str = "A") -> dict[str, Any]:
    answer = await shop.market.operate("GET", f"/marketplace/shops/{shop.id}/listings")
    return next(entry for entry in answer["listings"] if entry["shop_uid"] == uid)


async def test_a_batch_changes_the_listings_after_its_answer(market: Market, shop: Shop) -> None:
    sent = await shop.products("POST", "/batch", {"data": [_product(), _product("X"), _product("B", 100, 2500)]})
    assert sent.json == {"success": True, "id": sent.json["id"]}
    assert len(sent.json["id"]) == 24
    assert int(sent.json["id"], 16)
    path = f"/batch/{sent.json['id']}/status"
    pending = (await shop.products("GET", path)).json
    waiting: dict[str, Any] = {"status": "in_progress", "message": None, "executed_at": None, "variations": []}
    assert pending == {
        "id": sent.json["id"],
        "status": "in_progress",
        "created_at": "2026-11-24T10:00:00+02:00",
        "results": [{"product_id": uid, **waiting} for uid in ("A", "X", "B")],
    }
    assert (await _listing(shop))["quantity"] == 100
    await market.advance(1)
    done = (await shop.products("GET", path)).json
    assert done["status"] == "completed"
    assert [(entry["product_id"], entry["status"], entry["message"]) for entry in done["results"]] == [
        ("A", "success", None),
        ("X", "failure", "Product not found."),
        ("B", "no_change", None),
    ]
    assert {entry["executed_at"] for entry in done["results"]} == {"2026-11-24T10:00:01+02:00"}
    changed = await _listing(shop)
    assert (changed["quantity"], changed["unit_price"], changed["enabled"]) == (7, 9.9, True)
    assert (changed["changed_by"], changed["changed_at"]) == ("products_api", "2026-11-24T10:00:01+02:00")
    assert (await _listing(shop, "B"))["changed_by"] == "operator"


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (None, ["Missing required field 'data'"]),
        ([], ["Missing required field 'data'"]),
        ({"data": None}, ["Missing required field 'data'"]),
        ({"data": {"product_id": "A"}}, ["Field 'data' has invalid type"]),
        ({"data": ["A"]}, ["Field 'data' has invalid type"]),
        (
            {"data": [{}]},
            [f"Missing required field '{name}'" for name in ("product_id", "quantity", "enabled", "price")],
        ),
        (
            {"data": [{"product_id": "A", "quantity": 1, "enabled": True}]},
            ["Product A: Missing required field 'price'"],
        ),
        ({"data": [_product(price=9.9)]}, ["Product A: Field 'price' has invalid type"]),
        ({"data": [_product(price=990.0)]}, ["Product A: Field 'price' has invalid type"]),
        ({"data": [_product(price="990")]}, ["Product A: Field 'price' has invalid type"]),
        ({"data": [_product(quantity=True)]}, ["Product A: Field 'quantity' has invalid type"]),
        ({"data": [_product(enabled=1)]}, ["Product A: Field 'enabled' has invalid type"]),
        ({"data": [_product(7)]}, ["Field 'product_id' has invalid type"]),
        ({"data": [_product(variations={})]}, ["Product A: Field 'variations' has invalid type"]),
        (
            {"data": [_product(variations=[{"variation_id": "38", "quantity": 1, "enabled": True}])]},
            ["Variation 38: Missing required field 'price'"],
        ),
    ],
)
async def test_a_malformed_batch_is_refused_by_both_calls(shop: Shop, body: object, messages: list[str]) -> None:
    for path in ("/batch", "/batch/validations"):
        answer = await shop.products("POST", path, body)
        assert (answer.status, answer.json) == (400, {"errors": [{"code": "invalid_format", "messages": messages}]})
    assert (await _listing(shop))["quantity"] == 100


async def test_a_batch_has_at_most_500_products(shop: Shop) -> None:
    many = [_product(f"P{number}") for number in range(MOST_PRODUCTS + 1)]
    for path in ("/batch", "/batch/validations"):
        answer = await shop.products("POST", path, {"data": many})
        assert (answer.status, answer.json["errors"][0]["code"]) == (400, "invalid_batch_size")
        assert (await shop.products("POST", path, {"data": many[1:]})).status == 200


async def test_a_validation_changes_nothing(market: Market, shop: Shop) -> None:
    answer = await shop.products("POST", "/batch/validations", {"data": [_product()]})
    assert answer.json == {"success": True, "message": "All validations passed successfully."}
    await market.advance(60)
    assert (await _listing(shop))["quantity"] == 100


async def test_each_api_has_a_token_of_its_own(market: Market, shop: Shop) -> None:
    await shop.products("POST", "/batch", {"data": []})
    first = shop.products_token
    orders = await shop.call("GET", "/orders", Authorization=f"Bearer {first}")
    products = await shop.products("POST", "/batch", {"data": []}, Authorization=f"Bearer {shop.token}")
    none = await shop.products("POST", "/batch", {"data": []}, Authorization="")
    for refused in (orders, products, none):
        assert (refused.status, refused.json["errors"][0]["code"]) == (401, "unauthorized")
    answer = await market.operate("POST", f"/marketplace/shops/{shop.id}/products_token", status=201)
    assert [*answer] == ["products_token"]
    assert (await shop.products("POST", "/batch", {"data": []})).status == 401
    shop.products_token = answer["products_token"]
    assert (await shop.products("POST", "/batch", {"data": []})).status == 200
    assert (await shop.products("POST", "/batch", {"data": []}, Accept="application/json")).status == 406


async def test_only_the_shop_reads_the_status_of_its_batch_for_30_days(market: Market, shop: Shop) -> None:
    other = await market.shop("Other")
    batch_id = (await shop.publish(_product()))["id"]
    missing = {"errors": [{"code": "not_found", "messages": ["Batch not found."]}]}
    assert (await other.products("GET", f"/batch/{batch_id}/status")).json == missing
    for malformed in ("x", "0" * 24, f"{batch_id}0"):
        answer = await shop.products("GET", f"/batch/{malformed}/status")
        assert (answer.status, answer.json) == (404, missing)
    await market.advance(29 * 86_400)
    assert (await shop.products("GET", f"/batch/{batch_id}/status")).status == 200
    await market.advance(2 * 86_400)
    assert (await shop.products("GET", f"/batch/{batch_id}/status")).json == missing


async def test_old_batches_are_deleted_and_later_ones_still_count(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        await shop.publish(_product(quantity=5))
        await market.advance(31 * 86_400)
    async with open_market(tmp_path, time=market.time) as again:
        shop.market = again
        await shop.publish(_product(quantity=6))
        # The start deletes old batches while it serves already.
        async with asyncio.timeout(20):
            while len(await again.marketplace.database.read(lambda view: view.all(_BATCHES, {}))) > 1:
                await asyncio.sleep(0.002)
        assert (await _listing(shop))["quantity"] == 6


async def test_values_that_no_listing_can_have_are_failures_of_the_status(shop: Shop) -> None:
    status = await shop.publish(
        _product(quantity=-1), _product("B", price=0), _product("A", 2_000_000_000), _product("A", 1, -5)
    )
    assert [entry["status"] for entry in status["results"]] == ["failure"] * 4
    assert all(entry["message"] for entry in status["results"])
    assert await shop.stock() == {"A": 100, "B": 100}


async def test_carts_are_placed_against_the_published_price_and_availability(market: Market, shop: Shop) -> None:
    await shop.publish(_product(quantity=2, price=750))
    order = await shop.show(await shop.cart(A=1))
    assert order["line_items"][0]["unit_price"] == 7.5
    await shop.publish(_product(quantity=2, enabled=False))
    items = [{"shop_id": shop.id, "shop_uid": "A", "quantity": 1}]
    cart = {"customer": CUSTOMER, "items": items, "payment_method": "card"}
    refused = await market.operate("POST", "/marketplace/carts", cart, status=422)
    assert refused["errors"][0]["messages"] == ["items.shop_uid: A is not on sale."]


async def test_a_cart_orders_one_variation_with_its_own_price_and_stock(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=3, listing={"variations": _VARIED})

        def cart(quantity: int, **item: object) -> dict[str, Any]:
            items = [{"shop_id": shop.id, "shop_uid": "A", "quantity": quantity, **item}]
            return {"customer": CUSTOMER, "items": items, "payment_method": "card"}

        for wrong in (cart(1), cart(1, variation_id="A-40"), cart(1, variation_id="A-39")):
            await market.operate("POST", "/marketplace/carts", wrong, status=422)
        placed = await market.operate("POST", "/marketplace/carts", cart(2, variation_id="A-38"), status=201)
        code = placed["orders"][0]["code"]
        line = (await shop.show(code))["line_items"][0]
        assert (line["shop_variation_uid"], line["unit_price"], line["size"]["value"]) == ("A-38", 12.5, "38")
        assert [one["quantity"] for one in (await _listing(shop))["variations"]] == [1, 0]
        await shop.call("POST", f"/orders/{code}/reject", {"rejection_reason_other": "Κλειστά"})
        listing = await _listing(shop)
        assert (listing["quantity"], [one["quantity"] for one in listing["variations"]]) == (3, [3, 0])


def test_a_batch_locks_tables_in_the_order_in_which_orders_lock_them() -> None:
    """Single changes are sorted by table. In another order, a batch and an order would wait for each other on
    PostgreSQL."""
    updates = update_listings("shop", {}, Applied({}, {}, []))
    assert [update.table for update in updates] == sorted(update.table for update in updates)


@pytest.mark.parametrize(
    ("quantity", "variations", "ordered", "left"),
    [
        pytest.param(
            7, {"A-38": 3, "A-39": 4}, ["A-38"], (4, [0, 4]), id="the product has the other variation's pieces"
        ),
        pytest.param(10, {"A-38": 5, "A-39": 5}, ["A-38"], (5, [0, 5]), id="the pieces that were not ordered go too"),
        pytest.param(7, {"A-38": 5, "A-39": 5}, ["A-38", "A-39"], (0, [0, 0]), id="two variations, and too few pieces"),
        pytest.param(4, {"A-38": 9}, ["A-38"], (0, [0]), id="more pieces of the variation than of the product"),
    ],
)
async def test_a_limited_rejection_takes_the_pieces_of_its_variations_from_the_product(
    tmp_path: Path, quantity: int, variations: dict[str, int], ordered: list[str], left: tuple[int, list[int]]
) -> None:
    async with open_market(tmp_path) as market:
        varied = [{"variation_id": uid, "quantity": pieces} for uid, pieces in variations.items()]
        shop = await market.shop(quantity=quantity, listing={"variations": varied})
        items = [{"shop_id": shop.id, "shop_uid": "A", "quantity": 3, "variation_id": uid} for uid in ordered]
        cart = {"customer": CUSTOMER, "items": items, "payment_method": "card"}
        code = (await market.operate("POST", "/marketplace/carts", cart, status=201))["orders"][0]["code"]
        lines = (await shop.show(code))["line_items"]
        body = {"line_items": [{"id": line["id"], "reason_id": 4, "available_quantity": 1} for line in lines]}
        assert (await shop.call("POST", f"/orders/{code}/reject", body)).status == 200
        listing = await _listing(shop)
        assert (listing["quantity"], [one["quantity"] for one in listing["variations"]]) == left


async def test_variations_are_changed_with_their_product_and_have_results_of_their_own(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=3, listing={"variations": _VARIED})
        updates = [
            {"variation_id": "A-38", "quantity": 3, "enabled": True, "price": 1250},
            {"variation_id": "A-39", "quantity": 5, "enabled": True, "price": 1300},
            {"variation_id": "A-40", "quantity": 5, "enabled": True, "price": 1300},
        ]
        status = await shop.publish(_product("A", 8, 1040, variations=updates), _product("B", variations=updates[:1]))
        assert [entry["status"] for entry in status["results"]] == ["success", "success"]
        assert [entry["status"] for entry in status["results"][0]["variations"]] == ["no_change", "success", "failure"]
        assert status["results"][1]["variations"][0]["message"] == "Variation not found."
        listing = await _listing(shop)
        assert [(one["quantity"], one["unit_price"]) for one in listing["variations"]] == [(3, 12.5), (5, 13)]


async def test_a_product_that_a_batch_names_twice_gets_the_last_values(shop: Shop) -> None:
    status = await shop.publish(_product(quantity=5), _product(quantity=6))
    assert [entry["status"] for entry in status["results"]] == ["success", "success"]
    assert (await shop.stock())["A"] == 6


async def test_the_last_accepted_batch_wins(market: Market, shop: Shop) -> None:
    sent = [await shop.products("POST", "/batch", {"data": [_product(quantity=number)]}) for number in range(5)]
    await market.advance(1)
    assert (await shop.stock())["A"] == 4
    statuses = [(await shop.products("GET", f"/batch/{answer.json['id']}/status")).json["status"] for answer in sent]
    assert statuses == ["completed"] * 5


async def test_an_operators_listing_keeps_its_place_among_the_batches(market: Market, shop: Shop) -> None:
    await shop.publish(_product(quantity=5))
    await shop.count({"A": 50})
    assert (await _listing(shop))["changed_by"] == "operator"
    await shop.publish(_product(quantity=6))
    assert (await shop.stock())["A"] == 6


async def test_a_batch_is_refused_while_the_feed_is_scanned(market: Market, shop: Shop) -> None:
    path = f"/marketplace/shops/{shop.id}"
    await market.operate("PATCH", path, {"feed_scan_until": "2026-11-24T10:30:00+02:00"})
    scanning = "We are currently scanning your XML. Please try again later."
    for call in ("/batch", "/batch/validations"):
        answer = await shop.products("POST", call, {"data": [_product()]})
        expected = {"errors": [{"code": "invalid_shop_state", "messages": [scanning]}]}
        assert (answer.status, answer.json) == (422, expected)
    await market.advance(30 * 60)
    assert (await shop.products("POST", "/batch", {"data": [_product()]})).status == 200
    await market.operate("PATCH", path, {"takes_product_updates": False})
    refused = await shop.products("POST", "/batch", {"data": [_product()]})
    assert refused.json["errors"] == [
        {"code": "invalid_shop_state", "messages": ["The shop is not in a state to take product updates."]}
    ]


async def test_feeds_are_scanned_at_the_beginning_of_each_hour_from_eight_to_midnight(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=Settings(feed_scan_minutes=10)) as market:
        shop = await market.shop()  # 10:00 in Athens
        statuses = []
        for minutes in (0, 9, 1, 50, 12 * 60 + 50, 10, 7 * 60 + 50, 10, 9, 1):
            await market.advance(minutes * 60)
            statuses.append((await shop.products("POST", "/batch/validations", {"data": [_product()]})).status)
        # 10:00, 10:09, 10:10, 11:00, 23:50, 00:00, 07:50, 08:00, 08:09, 08:10
        assert statuses == [422, 422, 200, 422, 200, 200, 200, 422, 422, 200]


async def test_a_batch_in_flight_is_executed_after_a_restart(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        await shop.products("POST", "/batch", {"data": [_product()]})
    async with open_market(tmp_path, time=market.time) as market:
        shop.market = market
        await market.advance(1)
        assert (await shop.stock())["A"] == 7


async def test_the_batch_of_another_client_is_read_as_documented(shop: Shop) -> None:
    """A recorded exchange: a client that sends whole cents and whole numbers, and never asks for the status."""
    body = (
        b'{"data":[{"product_id":"A","quantity":12,"enabled":true,"price":2999},'
        b'{"product_id":"B","quantity":0,"enabled":false,"price":1500,"variations":[]}]}'
    )
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = await shop.products("POST", "/batch", body, **headers)
    assert (answer.status, answer.json["success"]) == (200, True)
    await shop.market.advance(1)
    assert await shop.stock() == {"A": 12, "B": 0}
    assert (await _listing(shop, "B"))["enabled"] is False


async def test_only_the_operator_makes_a_token(market: Market, shop: Shop) -> None:
    path = f"/marketplace/shops/{shop.id}/products_token"
    for token in (shop.token, ""):
        assert (await market.call("POST", path, None, {"Authorization": f"Bearer {token}"})).status == 401
    unknown = await market.call("POST", "/marketplace/shops/x/products_token", None, _OPERATOR)
    assert unknown.status == 404


_OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
