"""An order that takes the place of a delivered one: which pieces, from where, at whose cost, and under which names."""

from pathlib import Path
from typing import Any

import pytest

from tests.market import Market, Shop, open_market

pytestmark = pytest.mark.anyio


async def _delivered(market: Market, shop: Shop, quantity: int = 2, pieces: int | None = None, **facts: object) -> str:
    code = await shop.accepted({"A": quantity}, **facts)
    await market.operate("POST", f"/marketplace/orders/{code}/hand_over")
    line = (await shop.show(code))["line_items"][0]["id"]
    body = None if pieces is None else {"line_items": [{"id": line, "quantity": pieces}]}
    await market.operate("POST", f"/marketplace/orders/{code}/deliver", body)
    return code


async def _replace(market: Market, code: str, status: int = 200, **body: object) -> Any:
    return await market.operate("POST", f"/marketplace/orders/{code}/replace", body, status=status)


async def _replacement(shop: Shop, code: str) -> Any:
    return await shop.show((await shop.show(code))["replacements"][-1]["code"])


@pytest.mark.parametrize("kind", ["from_service", "as_is_return"])
@pytest.mark.parametrize("end", ["cancel", "reject", "reject lines", "limited", "expire"])
async def test_replacing_with_the_same_items_keeps_the_stock(tmp_path: Path, kind: str, end: str) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        code = await _delivered(market, shop)
        await _replace(market, code, type=kind)
        assert (await shop.stock())["A"] == 8
        new = await _replacement(shop, code)
        line = {"id": new["line_items"][0]["id"]}
        path = f"/orders/{new['code']}/reject"
        if end == "cancel":
            await market.operate("POST", f"/marketplace/orders/{new['code']}/cancel")
        elif end == "reject":
            await shop.call("POST", path, {"rejection_reason_other": "x"})
        elif end == "reject lines":
            await shop.call("POST", path, {"line_items": [{**line, "reason_id": 1}]})
        elif end == "limited":
            await shop.call("POST", path, {"line_items": [{**line, "reason_id": 4, "available_quantity": 1}]})
        else:
            await market.advance(2 * 86_400)
        assert (await shop.show(new["code"]))["state"] != "open"
        assert (await shop.stock())["A"] == 8


@pytest.mark.parametrize(("kind", "commission"), [(None, 0.87), ("from_service", 0.0), ("as_is_return", 0.0)])
async def test_a_replacement_is_not_paid_again(tmp_path: Path, kind: str | None, commission: float) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(fulfillment_mode="fbm")
        fees = {"handling_fee": 1.5}
        code = await _delivered(
            market, shop, 1, payment_method="cash_on_delivery", fees=fees, shipping_cost=3, gift_wrap=True
        )
        await _replace(market, code, type=kind)
        new = await _replacement(shop, code)
        assert (new["payment_method"], new["paid_by_user"]) == ("wallet", True)
        assert (new["fees"], new["shipping_cost"], new["commission"]) == ({}, 0.0, commission)
        assert (
            new["custom"]
            == {
                None: "[GIFT-WRAP]",
                "from_service": "[RETURN-FROM-SERVICE]",
                "as_is_return": "[RETURN-AS-IS]",
            }[kind]
        )


async def test_only_delivered_pieces_can_be_replaced_and_only_once(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        code = await _delivered(market, shop, quantity=3, pieces=2)
        line = (await shop.show(code))["line_items"][0]["id"]
        refused = await _replace(market, code, 422, line_items=[{"id": line, "quantity": 3}])
        assert refused["errors"][0]["messages"][0].endswith(f"replaced yet: {line} (2).")
        await _replace(market, code, line_items=[{"id": line, "quantity": 1}])
        await _replace(market, code)
        assert [entry["quantity"] for entry in (await _replacement(shop, code))["line_items"]] == [1]
        refused = await _replace(market, code, 422)
        assert refused["errors"][0]["messages"][0].endswith("replaced yet: none.")
        assert len((await shop.show(code))["replacements"]) == 2
        assert (await shop.stock())["A"] == 5


async def test_the_replaced_order_names_the_successor_of_its_replacement(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await _delivered(market, shop, quantity=2)
        await _replace(market, code, type="from_service")
        first = await _replacement(shop, code)
        body = {"line_items": [{"id": first["line_items"][0]["id"], "reason_id": 4, "available_quantity": 1}]}
        await shop.call("POST", f"/orders/{first['code']}/reject", body)
        second = await _replacement(shop, code)
        assert second["code"] != first["code"]
        assert (second["replaced"], second["custom"]) == (code, "[RETURN-FROM-SERVICE]")
        assert [entry["type"] for entry in (await shop.show(code))["replacements"]] == ["from_service"] * 2
