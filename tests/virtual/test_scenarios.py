"""Every named scenario plays from its first step to its last, and overrides change what it places."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kalathi.marketplace.sandbox.scenario import scenarios
from kalathi.marketplace.webhooks.answer import NO_HEADERS, Answer
from tests.market import FakeNetwork, Market, Shop, open_market

pytestmark = pytest.mark.anyio

ENDS = {
    "late_cancellation": "cancelled",
    "late_cancellation_comes_back": "cancelled",
    "failed_delivery": "for_return",
    "returned_to_sender": "returned",
    "parcels_changed": "accepted",
    "courier_changed": "accepted",
    "pickup_missed": "accepted",
    "express": "accepted",
    "limited_stock": "rejected",
    "store_pickup": "delivered",
    "expiry": "expired",
    "extension": "open",
    "partial_delivery": "partially_delivered",
    "replacement": "delivered",
    "merchant_ships": "dispatched",
    "return_faulty": "returned",
    "return_twice": "returned",
    "return_virtual": "returned",
    "return_from_warehouse": "returned",
    "return_expired": "delivered",
    "warehouse": "dispatched",
}


async def _play(market: Market, shop: Shop, name: str, **values: object) -> Any:
    body = {"shop_id": shop.id, "set": values}
    return await market.operate("POST", f"/marketplace/scenarios/{name}", body, status=201)


@pytest.mark.parametrize("name", list(scenarios()))
def test_every_product_of_a_scenario_has_the_numbers_by_which_clients_book_stock(name: str) -> None:
    for line in scenarios()[name].order["line_items"]:
        assert len(line["ean"]) == 13
        assert line["mpn"]


@pytest.mark.parametrize("name", list(scenarios()))
async def test_a_scenario_plays_to_its_end(tmp_path: Path, name: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(**scenarios()[name].requires)
        for _ in range(2):
            played = await _play(market, shop, name)
            assert [step["do"] for step in played["steps"]] == [
                step["do"] for step in scenarios()[name].steps if "do" in step
            ]
            first = played["orders"][0]
            assert first["state"] == ENDS.get(name, first["state"])
            order = await shop.show(first["code"])
            assert order["state"] == first["state"]
        await market.settle()
        assert market.network.posts


def test_each_scenario_has_a_sentence() -> None:
    for scenario in scenarios().values():
        assert len(scenario.sentence) > 40, scenario.name
        assert scenario.sentence.endswith("."), scenario.name


async def test_scenarios_create_the_case_that_they_are_named_after(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("return_faulty", ["returned"]),
        ("return_missing_part", ["rejected"]),
        ("return_missing_part_sent", ["cancelled"]),
        ("return_withdrawal", ["returned"]),
        ("return_withdrawal_late", ["rejected"]),
        ("return_expired", ["expired"]),
        ("return_virtual", ["returned"]),
        ("return_twice", ["returned", "returned"]),
        ("return_from_warehouse", ["returned"]),
        ("return_long_comment", ["rejected"]),
    ],
)
async def test_return_scenarios_end_as_expected(tmp_path: Path, name: str, states: list[str]) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(returns_webhook_url="http://shop/returns", returns_webhook_enabled=True)
        played = await _play(market, shop, name)
        assert [entry["state"] for entry in played["returns"]] == states
        await market.settle()
        told = [body["return"] for url, body in market.network.posts if url == "http://shop/returns"]
        assert told[-1]["state"] == states[-1]
        details = [await market.operate("GET", f"/marketplace/returns/{entry['code']}") for entry in played["returns"]]
        if name == "return_missing_part":
            assert details[0]["decision"]["proposed_part_url"] == "https://shop.example/parts/cable"
        if name == "return_long_comment":
            assert len(told[0]["return_line_items"][0]["user_comment"]) == 1001
            assert [step["note"] for step in played["steps"] if "note" in step][-1] == (
                "Comment is too long (maximum is 1000 characters)."
            )


@pytest.mark.parametrize("name", ["limited_stock", "replacement", "replacement_from_service"])
async def test_a_scenario_lists_each_order_that_it_placed_once(tmp_path: Path, name: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        codes = [order["code"] for order in (await _play(market, shop, name))["orders"]]
        listed = await market.operate("GET", "/marketplace/orders")
        assert sorted(codes) == sorted(order["code"] for order in listed["orders"])
        assert len(codes) == 2


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


async def test_text_values_are_converted_to_the_type_of_the_field(tmp_path: Path) -> None:
    """The command line passes texts: they become numbers in numeric fields and stay texts elsewhere."""
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        values = {
            "order.line_items[0].quantity": "2",
            "order.line_items[0].unit_price": "12.50",
            "order.line_items[0].product_name": "Άλλο",
            "order.line_items[0].size.label": "Νούμερο",
            "order.line_items[0].size.value": "42",
            "order.gift_wrap": "true",
            "order.comments": "true",
            "order.customer.address.zip": "10434",
        }
        for quantity in ("2", "1"):
            played = await _play(market, shop, "new_order", **values | {"order.line_items[0].quantity": quantity})
            order = await shop.show(played["orders"][0]["code"])
            line = order["line_items"][0]
            assert (line["quantity"], line["unit_price"], line["product_name"]) == (int(quantity), 12.5, "Άλλο")
            assert (line["size"]["value"], order["gift_wrap"], order["comments"]) == ("42", True, "true")
            assert order["customer"]["address"]["zip"] == "10434"


async def test_scenarios_of_one_shop_do_not_take_each_others_pieces(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        for name in ("limited_stock", "replacement", "limited_stock", "hundred_lines", "replacement"):
            await _play(market, shop, name)


class AcceptingNetwork(FakeNetwork):
    """A shop whose own system accepts each new order from inside its webhook."""

    shop: Shop

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        answer = await super().post(url, body, headers)
        event = self.posts[-1][1]
        if event["event_type"] == "new_order":
            await self.shop.accept(event["order"]["code"])
        return answer


async def test_an_answer_of_the_shop_before_the_scenarios_counts(tmp_path: Path) -> None:
    network = AcceptingNetwork()
    async with open_market(tmp_path, network=network) as market:
        network.shop = shop = await market.shop()
        played = await _play(market, shop, "accept", **{"steps[1].do": "advance"})
        assert played["orders"][0]["state"] == "accepted"
        code = await shop.cart(A=1)
        await market.settle()
        assert (await shop.show(code))["state"] == "accepted"
        steps = [{"do": "advance", "seconds": 1}, {"do": "accept", "pickup_location": "@accept_options.nowhere"}]
        played = await _play(market, shop, "accept", **{"steps[0]": steps[0], "steps[1]": steps[1]})
        assert played["steps"][1] == {
            "do": "accept",
            "code": played["orders"][0]["code"],
            "state": "accepted",
            "note": "The shop was faster.",
        }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("order.line_items[9].quantity", 1),
        ("order.line_items[0].quantity", 0),
        ("order.line_items[0].times", 100000),
        ("customer.first_name", "x"),
        ("order..x", 1),
        ("order.payment_method", "shells"),
        ("order.unknown", 1),
        ("order.line_items[0].colour", "blue"),
        ("order.line_items[0].times", "many"),
        ("order", {}),
    ],
)
async def test_an_invalid_override_is_refused_and_places_no_order(tmp_path: Path, path: str, value: object) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        body = {"shop_id": shop.id, "set": {path: value}}
        answer = await market.operate("POST", "/marketplace/scenarios/new_order", body, status=422)
        assert answer["errors"][0]["code"] == "invalid_parameter"
        assert (await market.operate("GET", "/marketplace/orders"))["orders"] == []


async def test_an_unknown_scenario_is_404_and_lists_the_names(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        answer = await market.operate("POST", "/marketplace/scenarios/none", {"shop_id": shop.id}, status=404)
        assert "late_cancellation" in answer["errors"][0]["messages"][0]
        listed = await market.operate("GET", "/marketplace/scenarios")
        assert {entry["name"] for entry in listed["scenarios"]} == set(scenarios())
        await market.operate("POST", "/marketplace/scenarios/new_order", {"shop_id": "unknown"}, status=404)


async def test_a_scenario_for_another_kind_of_shop_is_422_with_what_to_do(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        body = {"shop_id": shop.id}
        answer = await market.operate("POST", "/marketplace/scenarios/merchant_ships", body, status=422)
        assert "PATCH" in answer["errors"][0]["messages"][0]


async def test_a_scenario_is_played_in_sections(market: Market, shop: Shop) -> None:
    path = "/marketplace/scenarios/late_cancellation"
    placed = await market.operate("POST", path, {"shop_id": shop.id, "end_step": 0}, status=201)
    assert placed["steps"] == []
    assert [order["state"] for order in placed["orders"]] == ["open"]
    codes = [order["code"] for order in placed["orders"]]
    section = {"shop_id": shop.id, "first_step": 0, "end_step": 3, "orders": codes}
    played = await market.operate("POST", path, section, status=201)
    assert [step["do"] for step in played["steps"]] == ["accept", "advance", "hand_over"]
    rest = await market.operate("POST", path, {"shop_id": shop.id, "first_step": 3, "orders": codes}, status=201)
    assert [step["do"] for step in rest["steps"]] == ["cancel"]
    assert [order["state"] for order in rest["orders"]] == ["cancelled"]


async def test_a_section_takes_only_orders_of_its_shop(market: Market, shop: Shop) -> None:
    other = await market.shop()
    placed = await _play(market, other, "new_order")
    section = {"shop_id": shop.id, "orders": [placed["orders"][0]["code"]]}
    refused = await market.operate("POST", "/marketplace/scenarios/late_cancellation", section, status=422)
    assert "is not an order of shop" in refused["errors"][0]["messages"][0]
    section["orders"] = ["261130-0000000"]
    await market.operate("POST", "/marketplace/scenarios/late_cancellation", section, status=404)


async def test_the_faults_of_a_scenario_end_and_those_of_the_shop_stay(market: Market, shop: Shop) -> None:
    path = f"/marketplace/shops/{shop.id}/faults"
    own = {"on": "api", "kind": "delay", "seconds": 0.5, "call": "list"}
    await market.operate("PUT", path, {"seed": 7, "rules": [own]})
    name = "accept_503"
    section = {"shop_id": shop.id, "end_step": 0}
    placed = await market.operate("POST", f"/marketplace/scenarios/{name}", section, status=201)
    during = await market.operate("GET", path)
    assert [rule["kind"] for rule in during["rules"]] == ["delay", "error"]
    code = placed["orders"][0]["code"]
    assert [(await shop.accept(code)).status for _ in range(2)] == [503, 200]
    await market.operate(
        "POST", f"/marketplace/scenarios/{name}", {"shop_id": shop.id, "first_step": 1, "orders": [code]}, status=201
    )
    assert await market.operate("GET", path) == {"seed": 7, "rules": [own], "rough": False}


async def test_the_faults_of_a_scenario_end_if_one_of_its_steps_is_refused(market: Market, shop: Shop) -> None:
    path = f"/marketplace/shops/{shop.id}/faults"
    without_window = {"shop_id": shop.id, "set": {"order.store_pickup": True}}
    await market.operate("POST", "/marketplace/scenarios/accept_503", without_window, status=422)
    assert (await market.operate("GET", path))["rules"] == []


async def test_an_unknown_and_a_forged_webhook_are_sent_as_any_other(market: Market, shop: Shop) -> None:
    played = await _play(market, shop, "unknown_event")
    forged = await _play(market, shop, "forged_event")
    await market.settle()
    events = [body for _, body in market.network.posts]
    unknown = next(event for event in events if event["event_type"] == "order_archived")
    assert unknown["order"]["code"] == played["orders"][0]["code"]
    code = next(step["code"] for step in forged["steps"] if step["do"] == "forged_event")
    assert code not in {order["code"] for order in forged["orders"]}
    [event] = [event for event in events if event["order"]["code"] == code]
    assert event["event_type"] == "new_order"
    await market.operate("GET", f"/marketplace/orders/{code}", status=404)
    assert (await shop.call("GET", f"/orders/{code}")).status == 404


async def test_a_burst_places_the_same_cart_again(market: Market, shop: Shop) -> None:
    played = await _play(market, shop, "burst")
    assert len({order["code"] for order in played["orders"]}) == 20
