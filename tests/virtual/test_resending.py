"""An event that is sent once more by hand: the latest, with the same bytes, whatever became of it before."""

from pathlib import Path

import pytest

from tests.market import open_market

pytestmark = pytest.mark.anyio

SHOP = "http://shop/"


async def test_the_latest_event_is_sent_again_with_the_same_bytes(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        await market.settle()
        await market.operate("POST", f"/marketplace/orders/{code}/extend")
        await market.settle()
        answer = await market.operate("POST", f"/marketplace/orders/{code}/webhook")
        assert answer == {"delivery": f"{shop.id}.{code}.2"}
        await market.settle()
        first, second, again = market.network.bodies
        assert (again == second, again == first) == (True, False)
        attempts = (await market.order(code))["deliveries"][1]["attempts"]
        assert [(attempt["number"], attempt["outcome"]) for attempt in attempts] == [(1, "delivered"), (2, "delivered")]


async def test_an_event_that_was_given_up_is_tried_once_more(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        market.network.statuses[SHOP] = [500] * 5
        shop = await market.shop()
        code = await shop.cart(A=1)
        await market.advance(20 * 60)
        for _ in range(2):
            await market.operate("POST", f"/marketplace/orders/{code}/webhook")
            await market.advance(3600)
        [delivery] = (await market.order(code))["deliveries"]
        outcomes = [attempt["outcome"] for attempt in delivery["attempts"]]
        assert outcomes == ["retry", "retry", "retry", "exhausted", "exhausted", "delivered"]


async def test_an_event_that_waits_for_its_next_attempt_is_sent_now(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        market.network.statuses[SHOP] = [500]
        shop = await market.shop()
        code = await shop.cart(A=1)
        await market.settle()
        await market.operate("POST", f"/marketplace/orders/{code}/webhook")
        await market.settle()
        assert len(market.network.posts) == 2
        await market.advance(3600)
        assert len(market.network.posts) == 2


async def test_nothing_is_sent_again_without_an_order_or_a_url_or_with_the_switch_off(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        await market.operate("POST", "/marketplace/orders/261124-0000000/webhook", status=404)
        shop = await market.shop(url=None)
        code = await shop.cart(A=1)
        answer = await market.operate("POST", f"/marketplace/orders/{code}/webhook", status=422)
        assert answer["errors"][0]["messages"] == ["The shop has no webhook_url, or its switch is off."]
        paused = await market.shop("Paused", webhook_enabled=False)
        code = await paused.cart(A=1)
        await market.operate("POST", f"/marketplace/orders/{code}/webhook", status=422)
        [delivery] = (await market.order(code))["deliveries"]
        assert (delivery["state"], market.network.posts) == ("not_sent", [])
        await market.operate("PATCH", f"/marketplace/shops/{paused.id}", {"webhook_enabled": True})
        await market.operate("POST", f"/marketplace/orders/{code}/webhook")
        await market.settle()
        assert len(market.network.posts) == 1
