"""Many guessed tokens over real connections: guesses are throttled despite forged headers; valid tokens are not."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.attack.remote import RemoteMarket, open_remote
from tests.market import ACCEPT, OPERATOR_TOKEN
from tests.panel.visitor import Visitor

pytestmark = pytest.mark.anyio

GUESSES = 300


async def _statuses(market: RemoteMarket, path: str, tokens: list[str]) -> Counter[int]:
    async def one(number: int, token: str) -> int:
        forwarded = {
            "X-Forwarded-For": f"203.0.113.{number % 250}",
            "X-Real-IP": f"198.51.100.{number % 250}",
            "Forwarded": f"for=192.0.2.{number % 250}",
        }
        headers = {"Authorization": f"Bearer {token}", "Accept": ACCEPT, **forwarded}
        return (await market.call("GET", path, headers=headers)).status

    return Counter(await asyncio.gather(*(one(number, token) for number, token in enumerate(tokens))))


async def test_guesses_are_throttled_and_a_shop_at_the_same_address_is_not(tmp_path: Path) -> None:
    async with open_remote(tmp_path, "--wrong-tokens-per-minute", "30") as market:
        shop = await market.shop()
        for path in ("/merchants/ecommerce/orders", "/marketplace/orders"):
            guesses = [f"guess-{number}" for number in range(GUESSES)]
            valid = [shop.token if path.startswith("/merchants") else OPERATOR_TOKEN] * 100
            wrong, right = await asyncio.gather(_statuses(market, path, guesses), _statuses(market, path, valid))
            assert wrong[401] <= 40
            assert wrong[401] + wrong[429] == GUESSES
            assert right == {200: 100}


async def test_forged_headers_do_not_bypass_sign_in_throttling(tmp_path: Path) -> None:
    async with open_remote(tmp_path) as market:
        statuses = Counter[int]()
        for number in range(40):
            visitor = Visitor(market)
            visitor.headers |= {"X-Forwarded-For": f"203.0.113.{number}", "Forwarded": f"for=192.0.2.{number}"}
            statuses[(await visitor.sign_in("wrong")).status] += 1
        assert statuses[401] <= 12
        assert statuses[401] + statuses[429] == 40
