"""Batches of stock and prices with carts at the same time, on every database."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from kalathi.contract.products import ProductUpdate, VariationUpdate
from kalathi.marketplace.app import Marketplace, open_marketplace
from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.products.batches import ProductBatches
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import ListingSource
from tests.market import CUSTOMER, OPERATOR_TOKEN, FakeNetwork, FakeTime, Market

pytestmark = pytest.mark.anyio

_CALLERS = 32
_SEED = 20261130
_PRODUCTS = 40


def _batch(number: int, chance: random.Random) -> dict[str, Any]:
    products = [
        {"product_id": f"P{place}", "quantity": chance.randint(0, 30), "enabled": True, "price": 1000 + number}
        for place in range(_PRODUCTS)
    ]
    return {"data": products}


async def _run_callers(market: Market, shop: Any) -> tuple[list[str], int]:
    """Send batches and place carts from 32 callers. Return the accepted batches in no order, and the placed carts."""
    batches: list[str] = []
    placed = 0

    async def run_caller(number: int) -> None:
        nonlocal placed
        chance = random.Random(_SEED + number)
        for turn in range(4):
            if number % 2:
                answer = await shop.products("POST", "/batch", _batch(100 * number + turn, chance))
                assert answer.status == 200, answer
                batches.append(answer.json["id"])
                continue
            for _ in range(5):
                item = {"shop_id": shop.id, "shop_uid": f"P{chance.randrange(_PRODUCTS)}", "quantity": 3}
                cart = {"customer": CUSTOMER, "items": [item], "payment_method": "card"}
                answer = await market.call(
                    "POST", "/marketplace/carts", cart, {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
                )
                # There is too little stock, or another cart was faster.
                assert answer.status in {201, 409, 422}, answer
                placed += answer.status == 201

    await asyncio.gather(*(run_caller(number) for number in range(_CALLERS)))
    return batches, placed


@asynccontextmanager
async def _open_market(database_url: str, folder: Path) -> AsyncIterator[tuple[Marketplace, Market]]:
    """A marketplace whose batches are due at once, so that they run while others are accepted and carts are placed."""
    settings = Settings(data=folder, database=database_url, operator_token=OPERATOR_TOKEN, product_batch_seconds=0)
    network, time = FakeNetwork(), FakeTime()
    marketplace = await open_marketplace(settings, "http://market", real=time, sender=network)
    marketplace.start()
    try:
        yield marketplace, Market(marketplace, network, time)
    finally:
        await marketplace.stop()


async def test_stock_is_never_negative_and_the_last_accepted_batch_wins(database_url: str, tmp_path: Path) -> None:
    print(f"seed {_SEED}")
    async with _open_market(database_url, tmp_path) as (marketplace, market):
        shop = await market.shop(url=None)
        listings = [
            {"shop_uid": f"P{place}", "product_name": f"P{place}", "unit_price": 10, "quantity": 10}
            for place in range(_PRODUCTS)
        ]
        await market.operate("PUT", f"/marketplace/shops/{shop.id}/listings", listings)
        await shop.products("POST", "/batch", {"data": []})
        least = []

        async def watch() -> None:
            while True:
                row = await marketplace.database.read(lambda view: view.one("SELECT min(quantity) FROM listings", {}))
                least.append(row[0] if row else 0)
                await asyncio.sleep(0.001)

        watching = asyncio.create_task(watch())
        batches, placed = await _run_callers(market, shop)
        await market.settle()
        watching.cancel()
        assert min(least) >= 0
        assert placed > 20
        assert len(batches) == _CALLERS // 2 * 4
        rows = await marketplace.database.read(
            lambda view: view.all("SELECT batch_id FROM product_batches ORDER BY sequence DESC LIMIT 1", {})
        )
        last = (await shop.products("GET", f"/batch/{rows[0][0]}/status")).json
        assert {entry["status"] for entry in last["results"]} <= {"success", "no_change"}
        shown = await market.operate("GET", f"/marketplace/shops/{shop.id}/listings")
        published = [entry for entry in shown["listings"] if entry["shop_uid"].startswith("P")]
        # Every listing has the price of the last batch, and no other.
        assert len({entry["unit_price"] for entry in published}) == 1
        assert {entry["batch"] for entry in published} == {max(entry["batch"] for entry in published)}
        for batch_id in batches:
            status = (await shop.products("GET", f"/batch/{batch_id}/status")).json
            assert status["status"] == "completed"


@pytest.mark.parametrize("has_variations", [False, True])
async def test_a_page_saved_at_the_same_moment_as_an_order_keeps_the_taken_pieces(
    database_url: str, tmp_path: Path, *, has_variations: bool
) -> None:
    async with _open_market(database_url, tmp_path) as (marketplace, market):
        varied = [{"variation_id": "A-38", "quantity": 500}]
        shop = await market.shop(quantity=500, listing={"variations": varied} if has_variations else {})
        batches = ProductBatches(marketplace.database, BusinessClock(real=FakeTime()), Settings(data=tmp_path))
        calls = 0

        def make(present: shops.ListingInStock, variations: Mapping[str, shops.VariationInStock]) -> ProductUpdate:
            nonlocal calls
            calls += 1
            entries = [
                VariationUpdate(variation_id=uid, quantity=one.quantity, enabled=True, price=calls)
                for uid, one in variations.items()
            ]
            return ProductUpdate(
                product_id="A", quantity=present.quantity, enabled=True, price=calls, variations=entries or UNSET
            )

        def take_one(view: View) -> tuple[ChangeSet, None]:
            del view
            changes = ChangeSet(shops.take_variation(shop.id, "A", "A-38", 1)) if has_variations else ChangeSet()
            changes.add(shops.take_stock(shop.id, "A", 1))
            return changes, None

        async def save_after(turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await batches.edit(shop.id, "A", make, ListingSource.PAGE)

        rounds = 100
        for number in range(rounds):
            # After some turns of the loop, the order is being written and not yet visible.
            await asyncio.gather(marketplace.database.run(take_one), save_after(number % 5))
        shown = await market.operate("GET", f"/marketplace/shops/{shop.id}/listings")
        [listing] = [entry for entry in shown["listings"] if entry["shop_uid"] == "A"]
        stocks = [listing["quantity"], *(one["quantity"] for one in listing.get("variations", []))]
        assert set(stocks) == {500 - rounds}
        assert calls > rounds, "no order came between the reading and the saving of a page, so nothing was shown"
