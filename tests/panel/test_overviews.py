"""The overviews: charts with their numbers as tables, and no script."""

import asyncio
import re
from pathlib import Path

import pytest

from kalathi.marketplace.panel.charts import Series, draw_bars, draw_columns, draw_lines
from tests.panel.visitor import Place, open_place

pytestmark = pytest.mark.anyio


async def _play(place: Place) -> None:
    accepted = await place.shop.cart(A=2)
    await place.shop.accept(accepted)
    rejected = await place.shop.cart(A=1)
    line = (await place.shop.show(rejected))["line_items"][0]["id"]
    body = {"line_items": [{"id": line, "reason_id": 1}]}
    assert (await place.shop.call("POST", f"/orders/{rejected}/reject", body)).status == 200
    await place.shop.cart(A=1)
    await place.market.marketplace.folding.count_moves(asyncio.Event())


async def test_a_shop_sees_its_figures_in_both_languages(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await _play(place)
        page = await place.merchant.get("/shop/overview")
        text = " ".join(page.text.split())
        for fact in ("3 orders", "50% acceptance rate", "100% answered within 1 hour", "Out of stock"):
            assert fact in text, (fact, text)
        assert re.search(r"Numbers .*Ακουστικά|A 2", text) or "Best products" in text
        assert page.html.count("<svg") == 3
        assert page.html.count("<table") == 3
        greek = await place.merchant.get("/shop/overview?days=7&language=el")
        assert "ποσοστό αποδοχής" in greek.text
        assert "Δεν υπάρχει απόθεμα" in greek.text or "Λόγοι απόρριψης" in greek.text
        assert (await place.merchant.get("/shop/overview?days=8")).status == 422


async def test_an_empty_shop_has_an_overview(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        page = await place.merchant.get("/shop/overview")
        assert page.status == 200
        assert "No rejected orders in this period." in page.text


async def test_no_shop_sees_another_shops_figures(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        await _play(place)
        other = await place.market.shop(name="Other")
        await place.merchant.sign_in(other.token)
        text = " ".join((await place.merchant.get("/shop/overview")).text.split())
        assert "0 orders" in text
        assert "Out of stock" not in text


async def test_the_operator_sees_days_minutes_and_failures_by_shop(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        place.network.statuses["http://shop/"] = [500] * 2
        await _play(place)
        await place.market.settle()
        await place.market.marketplace.folding.write_minute()
        page = await place.operator.get("/?days=7")
        text = " ".join(page.text.split())
        assert "Failed attempts by shop" in text
        assert "No failed attempts" not in text
        assert page.html.count("<svg") == 5


def test_texts_in_charts_are_escaped() -> None:
    hostile = '"><script>alert(1)</script>'
    charts = (
        draw_bars([(hostile, 1, hostile)]),
        draw_columns([hostile], [Series(hostile, hostile, [1])]),
        draw_lines([hostile], [Series(hostile, hostile, [1])]),
    )
    for chart in charts:
        assert "<script" not in chart
        assert 'class=""><' not in chart


@pytest.mark.parametrize("values", [[], [0], [0, 0, 0], [1e9], [0.1, 3]])
def test_charts_of_any_numbers_stay_inside_their_frame(values: list[float]) -> None:
    labels = [str(number) for number in range(len(values))]
    for chart in (draw_columns(labels, [Series("", "good", values)]), draw_lines(labels, [Series("", "good", values)])):
        assert all(-1 <= float(y) <= 200 for y in re.findall(r' y="([^"]+)"', chart))
        assert all(0 <= float(x) <= 480 for x in re.findall(r' x="([^"]+)"', chart))
        assert "nan" not in chart
