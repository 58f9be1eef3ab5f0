"""Every named scenario plays from its first step to its last, and overrides change what it places."""

from pathlib import Path
from typing import Any

import pytest

from kalathi.marketplace.sandbox.scenario import scenarios
from tests.market import Market, Shop, open_market

pytestmark = pytest.mark.anyio

ENDS = {
    "late_cancellation": "for_return",
    "express": "accepted",
    "limited_stock": "rejected",
    "store_pickup": "delivered",
    "expiry": "expired",
    "extension": "open",
    "partial_delivery": "partially_delivered",
    "replacement": "delivered",
    "merchant_ships": "dispatched",
}


async def _play(market: Market, shop: Shop, name: str, **values: object) -> Any:
    body = {"shop_id": shop.id, "set": values}
    return await market.operate("POST", f"/marketplace/scenarios/{name}", body, status=201)


@pytest.mark.parametrize("name", list(scenarios()))
async def test_a_scenario_plays_to_its_end(tmp_path: Path, name: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(**scenarios()[name].requires)
        for _ in range(2):
            played = await _play(market, shop, name)
            assert len(played["steps"]) == len(scenarios()[name].steps)
            first = played["orders"][0]
            assert first["state"] == ENDS.get(name, first["state"])
            order = await shop.show(first["code"])
            assert order["state"] == first["state"]
        await market.settle()
        assert market.network.posts


def test_each_scenario_says_in_a_sentence_why_it_exists() -> None:
    for scenario in scenarios().values():
        assert len(scenario.sentence) > 40, scenario.name
        assert scenario.sentence.endswith("."), scenario.name


async def test_scenarios_bring_about_what_they_are_named_after(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        shown = {
            name: await shop.show((await _play(market, shop, name))["orders"][0]["code"])
            for name in ("hundred_lines", "vies", "invoice_39a", "many_parcels", "gift_wrap", "sizes", "greek")
        }
        assert len(shown["hundred_lines"]["line_items"]) == 100
        assert shown["vies"]["line_items"][0]["price_includes_vat"] is False
        assert [line["price_includes_vat"] for line in shown["invoice_39a"]["line_items"]] == [False, True]
        assert len(shown["many_parcels"]["courier_tracking_codes"]) == 3
        assert shown["gift_wrap"]["custom"] == "[GIFT-WRAP]"
        assert shown["sizes"]["line_items"][0]["size"]["shop_variation_uid"] == "KALATHI-SHOE-42"
        assert "σς" not in shown["greek"]["customer"]["last_name"]
        limited = await _play(market, shop, "limited_stock")
        assert [order["state"] for order in limited["orders"]] == ["rejected", "open"]


async def test_an_override_changes_the_value_at_its_path(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        values = {
            "order.line_items[0].quantity": 3,
            "order.line_items[0].shop_uid": "A",
            "order.comments": "Γεια",
            "order.customer.first_name": "Άννα",
        }
        played = await _play(market, shop, "new_order", **values)
        order = await shop.show(played["orders"][0]["code"])
        assert (order["line_items"][0]["shop_uid"], order["line_items"][0]["quantity"]) == ("A", 3)
        assert (order["comments"], order["customer"]["first_name"]) == ("Γεια", "Άννα")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("order.line_items[9].quantity", 1),
        ("order.line_items[0].quantity", 0),
        ("order.line_items[0].times", 100000),
        ("customer.first_name", "x"),
        ("order..x", 1),
        ("order.payment_method", "shells"),
        ("order", {}),
    ],
)
async def test_an_override_that_leads_nowhere_is_refused_and_places_nothing(
    tmp_path: Path, path: str, value: object
) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        body = {"shop_id": shop.id, "set": {path: value}}
        answer = await market.operate("POST", "/marketplace/scenarios/new_order", body, status=422)
        assert answer["errors"][0]["code"] == "invalid_parameter"
        assert (await market.operate("GET", "/marketplace/orders"))["orders"] == []


async def test_an_unknown_scenario_names_those_that_there_are(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        answer = await market.operate("POST", "/marketplace/scenarios/none", {"shop_id": shop.id}, status=404)
        assert "late_cancellation" in answer["errors"][0]["messages"][0]
        listed = await market.operate("GET", "/marketplace/scenarios")
        assert {entry["name"] for entry in listed["scenarios"]} == set(scenarios())
        await market.operate("POST", "/marketplace/scenarios/new_order", {"shop_id": "nobody"}, status=404)


async def test_a_scenario_that_needs_another_kind_of_shop_says_what_to_do(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        body = {"shop_id": shop.id}
        answer = await market.operate("POST", "/marketplace/scenarios/merchant_ships", body, status=422)
        assert "PATCH" in answer["errors"][0]["messages"][0]
