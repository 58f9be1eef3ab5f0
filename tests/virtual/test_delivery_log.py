"""The delivery log: lists by every filter, one event whole, failures sent again, and what is old is forgotten."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.webhooks.log import forget_old
from tests.market import OPERATOR_TOKEN, Market, Shop, open_market

pytestmark = pytest.mark.anyio


async def _listed(market: Market, query: str = "") -> list[dict[str, Any]]:
    answer = await market.operate("GET", f"/marketplace/deliveries{query}")
    assert answer["meta"]["pagination"]["total_results"] >= len(answer["deliveries"])
    deliveries: list[dict[str, Any]] = answer["deliveries"]
    return deliveries


async def _some(market: Market) -> tuple[Shop, Shop, Shop]:
    """A shop that takes all, one whose endpoint is dead, and one without a URL."""
    market.network.statuses["http://dead/"] = [500] * 8
    shop, dead = await market.shop(), await market.shop("Dead", url="http://dead/")
    mute = await market.shop("Mute", url=None)
    for one in (shop, dead, mute):
        await one.cart(A=1)
    await market.advance(20 * 60)
    await shop.accept(await shop.cart(B=1))
    await dead.cart(A=1)
    await market.advance(2)
    return shop, dead, mute


async def test_the_log_lists_every_event_with_its_outcome(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop, dead, mute = await _some(market)
        listed = await _listed(market)
        assert [entry["created_at"] for entry in listed] == sorted((e["created_at"] for e in listed), reverse=True)
        assert len(listed) == 7
        states = {(entry["shop_id"], entry["state"]) for entry in listed}
        assert states == {
            (shop.id, "delivered"),
            (dead.id, "exhausted"),
            (dead.id, "pending"),
            (mute.id, "not_sent"),
        }
        [pending] = await _listed(market, "?state=pending")
        assert (pending["attempts"], pending["status"], pending["due_at"] > pending["created_at"]) == (1, 500, True)
        [exhausted] = await _listed(market, f"?state=exhausted&shop_id={dead.id}")
        assert (exhausted["attempts"], exhausted["due_at"]) == (4, None)
        assert len(await _listed(market, f"?shop_id={shop.id}&event_type=order_updated")) == 2
        assert len(await _listed(market, f"?subject={exhausted['subject']}")) == 1
        assert len(await _listed(market, "?since=2026-11-24T10:10:00%2B02:00")) == 4
        assert len(await _listed(market, "?per=3&page=3")) == 1
        for wrong in ("?state=lost", "?since=yesterday", "?per=0"):
            await market.operate("GET", f"/marketplace/deliveries{wrong}", status=422)


async def test_one_delivery_is_shown_whole(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        await market.settle()
        [entry] = await _listed(market)
        shown = await market.operate("GET", f"/marketplace/deliveries/{entry['id']}")
        assert shown["delivery"] == entry
        assert shown["body"] == market.network.posts[0][1]
        assert shown["headers"] == {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Skroutz OrderNotifier v1",
        }
        [attempt] = shown["attempts"]
        assert (attempt["status"], attempt["answer"], attempt["url"]) == (200, "answer", "http://shop/")
        for unknown in (f"{shop.id}.{code}.2", f"{shop.id}.{code}", "x", f"{shop.id}.{code}.1.1", "a.b.²"):
            await market.operate("GET", f"/marketplace/deliveries/{unknown}", status=404)
            await market.operate("POST", f"/marketplace/deliveries/{unknown}/resend", status=404)


async def test_failures_of_a_shop_are_sent_again_and_others_are_not(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        _, dead, _ = await _some(market)
        market.network.statuses["http://dead/"] = []
        before = len(market.network.posts)
        body = {"shop_id": dead.id, "since": "2026-11-24T00:00:00+02:00"}
        assert await market.operate("POST", "/marketplace/deliveries/resend", body) == {"resent": 1}
        await market.settle()
        assert len(market.network.posts) == before + 1
        late = body | {"since": "2026-11-25T00:00:00+02:00"}
        assert await market.operate("POST", "/marketplace/deliveries/resend", late) == {"resent": 0}
        assert {entry["state"] for entry in await _listed(market, f"?shop_id={dead.id}")} == {"delivered", "pending"}


async def test_resending_a_delivery_is_idempotent_under_one_key(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        await shop.cart(A=1)
        await market.settle()
        [entry] = await _listed(market)
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}", "Idempotency-Key": "k"}
        for _ in range(2):
            answer = await market.call("POST", f"/marketplace/deliveries/{entry['id']}/resend", None, headers)
            assert answer.json == {"resent": 1}
            await market.settle()
        assert market.network.bodies[0] == market.network.bodies[1]
        assert len(market.network.bodies) == 2


async def test_old_events_are_deleted_but_not_pending_ones(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=Settings(delivery_log_days=1)) as market:
        market.network.statuses["http://dead/"] = [500] * 4
        shop, dead = await market.shop(), await market.shop("Dead", url="http://dead/")
        code = await shop.cart(A=1)
        await dead.cart(A=1)
        await market.advance(60)
        database = market.marketplace._context.database
        assert await forget_old(database, market.time.millis + 59_000, asyncio.Event()) == 1
        [left] = await _listed(market)
        assert left["shop_id"] == dead.id
        assert (await market.order(code))["deliveries"] == []
        assert (await shop.show(code))["state"] == "open"


async def test_deleting_old_events_stops_when_the_marketplace_stops(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        await shop.cart(A=1)
        await market.settle()
        ending = asyncio.Event()
        ending.set()
        assert await forget_old(market.marketplace._context.database, market.time.millis + 10**9, ending) == 0
        assert len(await _listed(market)) == 1
