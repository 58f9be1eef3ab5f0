"""The page of a shop's checkup and recipes."""

import re
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.settings import Settings
from tests.checkup.sample_report import both, sample_report
from tests.market import OPERATOR_TOKEN, Market, Shop, open_market
from tests.panel.visitor import Visitor

pytestmark = pytest.mark.anyio


async def _sign_in(market: Market) -> Visitor:
    visitor = Visitor(market)
    await visitor.sign_in(OPERATOR_TOKEN)
    return visitor


async def test_the_page_shows_the_report_while_it_grows_in_both_languages(market: Market, shop: Shop) -> None:
    visitor = await _sign_in(market)
    path = f"/operator/shops/{shop.id}/checkup"
    assert "There was no checkup of this shop yet." in (await visitor.get(path)).html
    api = f"/marketplace/shops/{shop.id}/checkup"
    await market.operate("PUT", api, sample_report(shop.id))
    english = (await visitor.get(f"{path}?language=en")).html
    for text in ("one call accept", "2 calls accept", "sends it twice", "the clock", "running: 1 of 44 checks"):
        assert text in english
    assert "&lt;script&gt;" in english
    assert 'href="/operator/orders/261124-1234567"' in english
    greek = (await visitor.get(f"{path}?language=el")).html
    assert "ελ one call accept" in greek
    assert "Κοστίζει χρήματα" in greek
    await market.operate(
        "PUT", api, sample_report(shop.id, ended_at="2026-11-24T10:01:00Z", stopped=both("it was stopped"))
    )
    assert "ελ it was stopped" in (await visitor.get(path)).html


async def test_the_page_shows_the_ticks_of_recipes(market: Market, shop: Shop) -> None:
    visitor = await _sign_in(market)
    progress = {
        "recipe": "accept",
        "title": both("first order"),
        "shop_id": shop.id,
        "seed": "TEST",
        "began_at": "2026-11-24T10:00:00Z",
        "ticks": [
            {"step": -1, "turn": "marketplace", "say": both("placed"), "is_done": True},
            {"step": 0, "turn": "shop", "say": both("accept it"), "seen": both("it is rejected")},
            {"step": 1, "turn": "check", "say": both("the stock is right"), "is_unseen": True},
            {"step": 2, "turn": "shop", "say": both("print the voucher")},
        ],
    }
    await market.operate("PUT", f"/marketplace/shops/{shop.id}/recipes/accept", progress)
    html = (await visitor.get(f"/operator/shops/{shop.id}/checkup")).html
    assert "first order" in html
    assert "it is rejected" in html
    # Each mark has its words beside it, for those who do not see it.
    shown = re.findall(r'aria-hidden="true">(.)</span> <span class="unseen">([^<]+)</span> ([^<]+)<?', html)
    assert [tuple(part.strip() for part in row) for row in shown] == [
        ("✓", "done", "placed"),
        ("✗", "not as expected", "accept it"),
        ("–", "cannot be seen", "the stock is right"),
        ("○", "not done yet", "print the voucher"),
    ]


async def test_without_a_starter_there_is_no_button(market: Market, shop: Shop) -> None:
    visitor = await _sign_in(market)
    path = f"/operator/shops/{shop.id}/checkup"
    assert "Run the checkup" not in (await visitor.get(path)).html
    token = (await visitor.get("/operator/sandbox")).form("/operator/sandbox/clock").values["form_token"]
    assert (await visitor.post(path, {"form_token": token})).status == 404


async def test_the_button_starts_a_checkup(tmp_path: Path) -> None:
    started: list[str] = []

    async def start(shop_id: str) -> None:
        started.append(shop_id)

    async with open_market(tmp_path, start_checkup=start) as market:
        shop = await market.shop()
        visitor = await _sign_in(market)
        path = f"/operator/shops/{shop.id}/checkup"
        page = await visitor.get(path)
        assert "Run the checkup" in page.html
        assert "The checkup has started." in (await visitor.submit(page, path)).html
        assert started == [shop.id]


async def test_a_reset_shop_has_no_report_and_an_unknown_shop_none_either(market: Market, shop: Shop) -> None:
    api = f"/marketplace/shops/{shop.id}/checkup"
    await market.operate("GET", api, status=404)
    await market.operate("PUT", api, sample_report(shop.id))
    await market.operate("PUT", "/marketplace/shops/none/checkup", sample_report(shop.id), status=404)
    await market.operate("PUT", api, {"shop_id": shop.id}, status=422)
    await market.operate("POST", f"/marketplace/shops/{shop.id}/reset")
    await market.operate("GET", api, status=404)


async def test_production_has_no_checkups(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=Settings(mode="production")) as market:
        visitor = await _sign_in(market)
        assert (await visitor.get("/operator/shops/x/checkup")).status == 404
        await market.operate("GET", "/marketplace/shops/x/checkup", status=404)
