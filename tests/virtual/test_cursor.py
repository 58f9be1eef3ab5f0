"""A walk through a shop's orders misses none, even while they change."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.market import Market, Shop, open_market

pytestmark = pytest.mark.anyio


async def _walk(shop: Shop, cursor: str, **query: object) -> tuple[list[dict[str, Any]], str]:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    answer = await shop.call("GET", f"/orders?cursor={cursor}{more}")
    assert answer.status == 200, answer.json
    orders: list[dict[str, Any]] = answer.json["orders"]
    return orders, answer.json["meta"]["next_cursor"]


async def _change(market: Market, shop: Shop, chance: random.Random, codes: list[str]) -> None:
    """Add an order or change the state of an existing one; time may stand still."""
    market.time.millis += chance.choice([0, 0, 1, 700, 5000])
    if chance.random() < 0.4 or not codes:
        codes.append(await shop.cart(A=1))
    else:
        await shop.call("POST", f"/orders/{chance.choice(codes)}/reject", {"rejection_reason_other": "x"})


async def test_a_walk_returns_the_last_state_of_every_order(tmp_path: Path) -> None:
    seed = int(os.environ.get("KALATHI_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}: repeat with KALATHI_TEST_SEED={seed}")
    chance = random.Random(seed)
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10_000)
        codes: list[str] = []
        seen: dict[str, str] = {}
        cursor = "start"
        for _ in range(150):
            for _ in range(chance.randrange(4)):
                await _change(market, shop, chance, codes)
            orders, cursor = await _walk(shop, cursor, per=chance.choice([1, 2, 7]))
            seen |= {order["code"]: order["state"] for order in orders}
        market.time.millis += 10_000
        while True:
            orders, following = await _walk(shop, cursor)
            seen |= {order["code"]: order["state"] for order in orders}
            if not orders:
                assert following == cursor, "there is nothing more"
                break
            cursor = following
        assert seen == {code: (await shop.show(code))["state"] for code in codes}
        # From the beginning, each order comes once if nothing changes, the earliest change first.
        found, cursor = [], "start"
        while orders := (page := await _walk(shop, cursor, per=9))[0]:
            found += [order["code"] for order in orders]
            cursor = page[1]
        assert sorted(found) == sorted(codes)
        rejected, cursor = await _walk(shop, "start", state="rejected")
        assert {order["code"] for order in rejected} == {code for code, state in seen.items() if state == "rejected"}


async def test_a_change_of_this_moment_is_returned_by_a_later_call(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        assert (await _walk(shop, "start"))[0] == []
        market.time.millis += 2_000
        orders, cursor = await _walk(shop, "start")
        assert [order["code"] for order in orders] == [code]
        assert (await _walk(shop, cursor))[0] == []
        answer = await shop.call("GET", "/orders")
        assert "next_cursor" not in answer.json["meta"]
