"""Links that sign the operator of a sandbox in: once each, and only with a good signature before its end."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.panel.sign_in.links import make_sign_in_link, read_sign_in_link
from kalathi.marketplace.shops.model import hash_token
from tests.market import OPERATOR_TOKEN, Market, open_market
from tests.panel.visitor import Visitor, open_place

pytestmark = pytest.mark.anyio

HOUR = 3_600_000


def _new_link(market: Market, *, token: str = OPERATOR_TOKEN, lasts_millis: int = HOUR) -> str:
    return urlsplit(make_sign_in_link("http://market", token, market.time.millis + lasts_millis)).path


async def test_a_link_signs_the_operator_in_once(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        link = _new_link(market)
        visitor = Visitor(market)
        assert (await visitor.get(link)).path == "/"
        assert (await visitor.get("/operator/sandbox")).path == "/operator/sandbox"
        # The same browser is led to the pages, every other one is refused.
        assert (await visitor.get(link)).path == "/"
        for _ in range(2):
            other = Visitor(market)
            refused = await other.get(link)
            assert (refused.status, refused.refusals) == (401, ["LinkRefused"])
            assert (await other.get("/operator/sandbox")).path.startswith("/sign-in")


async def test_of_concurrent_uses_of_a_link_one_succeeds(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        link = _new_link(market)
        answers = await asyncio.gather(*(Visitor(market).request("GET", link) for _ in range(20)))
        assert sorted(answer.status for answer in answers) == [303] + [401] * 19


async def test_an_altered_expired_or_foreign_link_is_refused(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        link = _new_link(market)
        end, nonce, signature = link.removeprefix("/sign-in/").split(".")
        later = f"{int(end, 16) + HOUR:x}"
        for wrong in (
            f"/sign-in/{later}.{nonce}.{signature}",
            f"/sign-in/{end}.{nonce[::-1]}.{signature}",
            f"/sign-in/{end}.{nonce}.{signature[::-1]}",
            f"/sign-in/{end}.{nonce}.",
            f"/sign-in/{end}.{nonce}",
            "/sign-in/x",
            "/sign-in/" + "a" * 5000,
            _new_link(market, token="another-token"),
            _new_link(market, lasts_millis=0),
        ):
            visitor = Visitor(market)
            assert (await visitor.get(wrong)).status == 401, wrong
            assert (await visitor.get("/")).path.startswith("/sign-in")
        market.time.millis += HOUR
        assert (await Visitor(market).get(link)).status == 401


async def test_production_refuses_links(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=msgspec.convert({"mode": "production"}, Settings)) as market:
        assert (await Visitor(market).get(_new_link(market))).status == 401


async def test_a_prefetch_does_not_use_up_a_link(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        link = _new_link(market)
        for header in ({"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}):
            answer = await Visitor(market).request("GET", link, headers=header)
            assert answer.status == 503
        assert (await Visitor(market).request("HEAD", link)).status == 405
        assert (await Visitor(market).get(link)).path == "/"


async def test_used_links_are_deleted_once_expired(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        for _ in range(3):
            await Visitor(market).get(_new_link(market))
            market.time.millis += HOUR
        database = market.marketplace.database
        assert await database.read(lambda view: view.one("SELECT count(*) FROM used_links", {})) == (1,)


async def test_a_sandbox_operator_can_also_open_a_shops_pages(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.operator.get(f"/operator/shops/{place.shop.id}")
        inside = await place.operator.submit(page, f"/operator/shops/{place.shop.id}/open")
        assert inside.path == "/shop/orders"
        assert "/" in inside.links
        assert (await place.operator.get("/operator/sandbox")).path == "/operator/sandbox"
        # A new token of the shop ends neither; the operator's session began with the operator's token.
        settings = await place.operator.get("/shop/settings")
        shown = await place.operator.submit(settings, "/shop/settings/api_token")
        assert shown.status == 200
        assert (await place.operator.get("/operator/sandbox")).path == "/operator/sandbox"
        assert (await place.operator.get("/shop/orders")).path == "/shop/orders"
        out = await place.operator.submit(await place.operator.get("/shop/orders"), "/sign-out")
        assert out.done == "signed_out"
        for path in ("/", "/shop/orders"):
            assert (await place.operator.get(path)).path.startswith("/sign-in")


async def test_a_session_of_an_earlier_operator_token_is_refused(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.operator.get(f"/operator/shops/{place.shop.id}")
        await place.operator.submit(page, f"/operator/shops/{place.shop.id}/open")
        cookies = place.operator.cookies
    changed = msgspec.structs.replace(Settings(), operator_token="another-token-of-the-operator-of-tests")
    async with open_market(tmp_path, settings=changed, keeps_token=False) as market:
        visitor = Visitor(market)
        visitor.cookies = cookies
        for path in ("/", "/shop/orders"):
            assert (await visitor.get(path)).path.startswith("/sign-in")


async def test_in_production_the_operator_cannot_open_a_shops_pages(tmp_path: Path) -> None:
    settings = msgspec.convert({"mode": "production"}, Settings)
    async with open_place(tmp_path, settings=settings, url="https://shop.example/") as place:
        page = await place.operator.get(f"/operator/shops/{place.shop.id}")
        assert "Sign in as this shop" not in page.text
        token = page.forms[0].values["form_token"]
        assert (await place.operator.post(f"/operator/shops/{place.shop.id}/open", {"form_token": token})).status == 404


def test_links_differ_and_name_the_marketplace() -> None:
    first, second = (make_sign_in_link("https://market.example/", "token", 1_800_000_000_000) for _ in range(2))
    assert first != second
    assert first.startswith("https://market.example/sign-in/")
    found = read_sign_in_link(first.rpartition("/")[2], hash_token("token"))
    assert found is not None
    assert found.expires_at == 1_800_000_000_000
    assert read_sign_in_link(first.rpartition("/")[2] + "\n", hash_token("token")) is None
