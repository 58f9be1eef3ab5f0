"""Wrong tokens are throttled by address; valid ones are never affected (setting `wrong_tokens_per_minute`)."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from kalathi.marketplace.kernel.settings import Settings, read_settings
from kalathi.marketplace.web.callers import Callers, network_of
from tests.market import ACCEPT, OPERATOR_TOKEN, HttpAnswer, Market, open_market

pytestmark = pytest.mark.anyio

SHOP_CALL, OPERATOR_CALL = "/merchants/ecommerce/orders", "/marketplace/shops"


async def _call(
    market: Market, path: str, token: str, client: str = "203.0.113.9", headers: Mapping[str, str] | None = None
) -> HttpAnswer:
    sent = {"Authorization": f"Bearer {token}", "Accept": ACCEPT, **(headers or {})}
    return await market.call("GET", path, headers=sent, client=client)


@pytest.mark.parametrize("path", [SHOP_CALL, OPERATOR_CALL, "/merchants/ecommerce/orders/261124-0000001"])
async def test_after_thirty_wrong_tokens_an_address_gets_429_and_valid_tokens_still_work(
    tmp_path: Path, path: str
) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        answers = [await _call(market, path, f"wrong-{number}") for number in range(60)]
        assert [answer.status for answer in answers] == [401] * 30 + [429] * 30
        assert answers[-1].json["errors"][0]["code"] == "rate_limited"
        assert "wrong tokens" in answers[-1].json["errors"][0]["messages"][0]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        # The other API counts them together, and another address on its own.
        assert (await _call(market, OPERATOR_CALL, "wrong")).status == 429
        assert (await _call(market, OPERATOR_CALL, "wrong", "203.0.113.10")).status == 401
        for _ in range(100):
            assert (await _call(market, SHOP_CALL, shop.token)).status == 200
            assert (await _call(market, OPERATOR_CALL, OPERATOR_TOKEN)).status == 200


@pytest.mark.parametrize("token", ["", "x", "x" * 5000, "\u00ff", "a b"])
async def test_every_kind_of_wrong_token_counts(tmp_path: Path, token: str) -> None:
    async with open_market(tmp_path) as market:
        for path in (SHOP_CALL, OPERATOR_CALL):
            client = f"client of {path}"
            statuses = [(await _call(market, path, token, client)).status for _ in range(31)]
            assert statuses == [401] * 30 + [429]


@pytest.mark.parametrize(
    ("proxies", "peer", "counted_together"),
    [
        ("", "10.0.0.2", True),
        ("", "127.0.0.1", True),
        ("10.0.0.2", "10.0.0.3", True),
        ("10.0.0.2", "10.0.0.2", False),
        ("10.0.0.0/8", "10.0.0.2", False),
        ("1", "10.0.0.2", False),
    ],
)
async def test_only_a_trusted_proxy_sets_the_address_of_a_caller(
    tmp_path: Path, proxies: str, peer: str, counted_together: bool
) -> None:
    settings = msgspec.convert({"trusted_proxies": proxies, "wrong_tokens_per_minute": 5}, Settings)
    async with open_market(tmp_path, settings=settings) as market:
        statuses = []
        for number in range(40):
            forwarded = {"X-Forwarded-For": f"198.51.100.1, 203.0.113.{number}"}
            statuses.append((await _call(market, OPERATOR_CALL, "wrong", peer, forwarded)).status)
        assert (429 in statuses) is counted_together


async def test_the_throttle_can_be_switched_off(tmp_path: Path) -> None:
    settings = msgspec.convert({"wrong_tokens_per_minute": 0}, Settings)
    async with open_market(tmp_path, settings=settings) as market:
        statuses = {(await _call(market, OPERATOR_CALL, "wrong")).status for _ in range(200)}
        assert statuses == {401}


def test_a_caller_without_a_forwarded_address_counts_as_its_proxy() -> None:
    callers = Callers(msgspec.convert({"trusted_proxies": "1"}, Settings))
    for lines in ([], [(b"x-forwarded-for", b"unknown")], [(b"x-forwarded-for", b"")]):
        assert callers.find_address({"client": ("10.0.0.2", 1), "headers": lines}) == "10.0.0.2"
    assert callers.find_address({"client": None, "headers": []}) == ""


def test_ipv6_callers_are_counted_by_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:203.0.113.9") == network_of("203.0.113.9") == "203.0.113.9"
    assert network_of("fe80::1%eth0") == network_of("fe80::2%eth1")
    assert len(network_of("x" * 1000)) == 50


@pytest.mark.parametrize("proxies", ["0", "21", "everywhere", "0.0.0.0/0", "::/0", "10.0.0.0/33"])
def test_an_invalid_trusted_proxies_setting_is_refused_by_flag(proxies: str) -> None:
    with pytest.raises(ValueError, match=r"--trusted-proxies: "):
        read_settings({"trusted_proxies": proxies})
