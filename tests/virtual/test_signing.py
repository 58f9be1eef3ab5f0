"""Signed webhooks: a switch per shop, the same id at each attempt, two live secrets while one is changed."""

import time
from pathlib import Path

import pytest

from kalathi.contract.signatures import SignatureError, verify
from tests.market import Market, Shop, open_market

pytestmark = pytest.mark.anyio


async def _secret(market: Market, shop: Shop) -> str:
    answer = await market.operate("POST", f"/marketplace/shops/{shop.id}/signing_secret")
    secret: str = answer["signing_secret"]
    assert secret not in str(await market.operate("GET", f"/marketplace/shops/{shop.id}"))
    return secret


async def test_webhooks_are_signed_from_the_switch_on_until_the_switch_off(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop, other = await market.shop(), await market.shop("Other", url="http://other/")
        await shop.cart(A=1)
        await market.settle()
        assert market.network.headers == [{}]
        secrets = [await _secret(market, shop) for _ in range(3)]
        market.network.statuses["http://shop/"] = [500]
        await shop.cart(A=1)
        await market.advance(60)
        first, again = market.network.headers[1:]
        assert first["webhook-id"] == again["webhook-id"]
        for headers, body in zip((first, again), market.network.bodies[1:], strict=True):
            for live in secrets[1:]:
                assert verify([live], headers, body, int(time.time())) == first["webhook-id"]
            with pytest.raises(SignatureError):
                verify([secrets[0]], headers, body, int(time.time()))
        [_, told] = (await market.operate("GET", "/marketplace/deliveries"))["deliveries"]
        [told] = [entry for entry in (told, _) if entry["attempts"] == 2]
        detail = await market.operate("GET", f"/marketplace/deliveries/{told['id']}")
        shown = {name.lower(): value for name, value in detail["headers"].items()}
        assert verify([secrets[-1]], shown, market.network.bodies[1], int(time.time())) == first["webhook-id"]
        await market.operate("DELETE", f"/marketplace/shops/{shop.id}/signing_secret")
        await shop.cart(A=1)
        await other.cart(A=1)
        await market.settle()
        assert market.network.headers[3:] == [{}, {}]


async def test_an_unknown_shop_gets_no_signing_secret(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        for method in ("POST", "DELETE"):
            await market.operate(method, "/marketplace/shops/unknown/signing_secret", status=404)
