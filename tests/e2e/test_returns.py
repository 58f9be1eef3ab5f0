"""A shop's connector with returns and goods in the warehouse, as processes that know each other by HTTP only."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.e2e.processes import Caller, calling, kalathi, running, serve
from tests.market import OPERATOR_TOKEN

pytestmark = pytest.mark.anyio


async def _delivered(caller: Caller, shop_id: str) -> str:
    code = await caller.cart(shop_id)

    async def is_ready() -> bool:
        shown = (await caller.operate("GET", f"/marketplace/orders/{code}"))["order"]
        return bool(shown["courier_voucher"])

    async with asyncio.timeout(30):
        while not await is_ready():
            await caller.operate("POST", "/marketplace/clock", {"advance_seconds": 2})
    for word in ("hand_over", "deliver"):
        await caller.operate("POST", f"/marketplace/orders/{code}/{word}")
    return code


async def test_the_connector_reviews_permitted_returns_and_reports_others(tmp_path: Path) -> None:
    token_file, stock = tmp_path / "token", tmp_path / "stock.csv"
    stock.write_text("shop_uid,quantity\nA,10\n", "utf-8")
    async with running(tmp_path / "market", *serve(tmp_path / "market")) as market, calling(market.address) as caller:
        shop_id, token = await caller.shop(None)
        token_file.write_text(token, "utf-8")
        merchant = ["merchant", "--url", market.address, "--token-file", str(token_file), "--stock", str(stock)]
        merchant += ["--print-to", str(tmp_path / "out"), "--data", str(tmp_path / "merchant"), "--port", "0"]
        async with running(tmp_path / "connector", *merchant, "--approve-returns", "faulty, withdrawal") as connector:
            hooks = {
                "webhook_url": connector.address,
                "returns_webhook_url": connector.address,
                "returns_webhook_enabled": True,
            }
            await caller.operate("PATCH", f"/marketplace/shops/{shop_id}", hooks)
            code = await _delivered(caller, shop_id)
            line = (await caller.operate("GET", f"/marketplace/orders/{code}"))["order"]["line_items"][0]["id"]
            body = {"line_items": [{"id": line, "quantity": 1, "reason": "faulty"}]}
            asked = (await caller.operate("POST", f"/marketplace/orders/{code}/returns", body))["return"]
            name = asked["return_code"]

            async def state() -> str:
                shown: str = (await caller.operate("GET", f"/marketplace/returns/{name}"))["return"]["state"]
                return shown

            async with asyncio.timeout(30):
                while await state() != "returning":
                    await asyncio.sleep(0.01)
            assert await connector.terminate() == 0


async def test_a_purchase_order_is_submitted_from_a_csv_on_the_command_line(tmp_path: Path) -> None:
    goods = tmp_path / "goods.csv"
    goods.write_text("product_uid,expected_quantity,storage_conditions\nA,8,2\n", "utf-8")
    async with running(tmp_path / "market", *serve(tmp_path / "market")) as market, calling(market.address) as caller:
        to = ("--url", market.address, "--token", OPERATOR_TOKEN)
        hook = ("--returns-webhook-url", "http://127.0.0.1:1/returns")
        status, out, error = await kalathi("shop", "add", "Shop", "--domain", "shop.example", *hook, *to, "--json")
        assert status == 0, error
        shop = json.loads(out)
        shown = (await caller.operate("GET", f"/marketplace/shops/{shop['id']}"))["shop"]
        assert shown["returns_webhook_enabled"] is True
        listing = {"shop_uid": "A", "product_name": "A", "unit_price": 1, "quantity": 0}
        await caller.operate("PUT", f"/marketplace/shops/{shop['id']}/listings", [listing])
        ask = ["purchase-order", str(goods), "--expected", "2099-12-01", "--url", market.address]
        ask += ["--token", shop["api_token"]]
        status, _, error = await kalathi(*ask, "--supplier", "s1")
        assert (status, error) == (
            1,
            "kalathi: there is no supplier s1. Known: none; POST /fbs/suppliers makes one.\n",
        )
        await caller.merchant(shop["api_token"], "POST", "../fbs/suppliers", {"code": "s1", "name": "S"})
        status, out, error = await kalathi(*ask, "--supplier", "s1")
        assert status == 0, error
        code = out.partition(":")[0]
        assert out == f"{code}: 1 products are announced for 2099-12-01.\n"
        received = await caller.operate("POST", f"/marketplace/warehouse/purchase_orders/{code}/receive")
        assert received["line_items"][0]["actual_quantity"] == 8
        goods.write_text("product_uid,expected_quantity\nZ,0\n", "utf-8")
        status, _, error = await kalathi(*ask, "--supplier", "s1")
        assert (status, "line 2" in error, "Traceback" in error) == (1, True, False)
        goods.write_text("product_uid,expected_quantity\nZ,1\n", "utf-8")
        status, _, error = await kalathi(*ask, "--supplier", "s1", "--json")
        assert (status, "the shop has no product Z" in error, "Traceback" in error) == (1, True, False)
