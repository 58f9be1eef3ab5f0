"""Batches of stock and prices with carts at the same time, on every database."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from kalathi.marketplace.app import open_marketplace
from kalathi.marketplace.kernel.settings import Settings
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


async def test_stock_is_never_negative_and_the_last_accepted_batch_wins(database_url: str, tmp_path: Path) -> None:
    print(f"seed {_SEED}")
    # Batches are due at once, so that they run while others are accepted and carts are placed.
    settings = Settings(data=tmp_path, database=database_url, operator_token=OPERATOR_TOKEN, product_batch_seconds=0)
    network, time = FakeNetwork(), FakeTime()
    marketplace = await open_marketplace(settings, "http://market", real=time, sender=network)
    marketplace.start()
    try:
        market = Market(marketplace, network, time)
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
    finally:
        await marketplace.stop()
