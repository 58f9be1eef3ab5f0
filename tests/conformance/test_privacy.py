"""Personal data: found, exported and removed, in every table and file, on every database."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kalathi.marketplace.app import open_marketplace
from kalathi.marketplace.kernel.actors import CLOCK
from kalathi.marketplace.kernel.clock import from_millis, to_millis
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.marketplace.privacy.anonymising import forget_customers
from kalathi.marketplace.privacy.scrubbing import scrub_body
from kalathi.marketplace.privacy.shop_data import export_shop
from tests.market import LOCATION, OPERATOR_TOKEN, FakeNetwork, FakeTime, Market, Shop

pytestmark = pytest.mark.anyio

# Texts that no other test data has.
_NAME = "Zebrapoulou"
_PERSONAL = (_NAME, "Ξενοφώντεια", "Kryptonstr", "6900112233", "Ντελικατέσσερις", "ring-the-zither", "broken-zygote")
_COMPANY = {
    "company": "Ντελικατέσσερις ΑΕ",
    "profession": "Εμπόριο",
    "vat_number": "094014201",
    "doy": "ΔΟΥ",
    "address": {**LOCATION, "street_name": "Kryptonstr"},
}
_CUSTOMER = {
    "first_name": "Ξενοφώντεια",
    "last_name": _NAME,
    "phone": "6900112233",
    "mobile": "6900112233",
    "address": {**LOCATION, "street_name": "Kryptonstr", "floor": "9", "country_code": "GR"},
}


@asynccontextmanager
async def _open(database_url: str, folder: Path) -> AsyncIterator[Market]:
    settings = Settings(data=folder, database=database_url, operator_token=OPERATOR_TOKEN)
    network, time = FakeNetwork(), FakeTime()
    marketplace = await open_marketplace(settings, "http://market", real=time, sender=network)
    marketplace.start()
    try:
        yield Market(marketplace, network, time)
    finally:
        await marketplace.stop()


async def _live(market: Market, shop: Shop) -> str:
    """An order with everything: webhooks, voucher, invoice, note, return with comments, remembered answers, calls."""
    code = await shop.accepted(
        customer=_CUSTOMER, comments="ring-the-zither", invoice_details=_COMPANY, payment_method="card"
    )
    await shop.call("GET", f"/orders/{code}")
    await shop.call("GET", "/orders?state=accepted")
    path = f"/marketplace/orders/{code}"
    await market.call("POST", f"{path}/hand_over", None, _key("1"))
    await market.call("POST", f"{path}/deliver", None, _key("2"))
    line = (await shop.show(code))["line_items"][0]["id"]
    body = {"line_items": [{"id": line, "quantity": 1, "reason": "faulty", "comment": "broken-zygote"}]}
    returned = (await market.operate("POST", f"{path}/returns", body, status=201))["return"]["return_code"]
    await market.settle()
    await shop.call("GET", "/returns")
    await shop.call("POST", f"/returns/{returned}/review", {"option": "not_faulty", "comment": "Δεν ισχύει"})
    await market.settle()
    return code


def _key(number: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {OPERATOR_TOKEN}", "Idempotency-Key": number}


async def _dump(market: Market) -> str:
    """Every value of every table, and every byte of the files beside the database."""

    def query(view: View) -> str:
        parts = []
        for table in METADATA.tables:
            for row in view.all(f"SELECT * FROM {table}", {}):
                parts += [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in row]
        return "\n".join(parts)

    return await market.marketplace.database.read(query)


def _files(folder: Path) -> str:
    return "\n".join(
        path.read_bytes().decode("utf-8", "replace") for path in sorted(folder.rglob("*")) if path.is_file()
    )


async def test_an_anonymised_customer_is_nowhere_in_database_and_files(database_url: str, tmp_path: Path) -> None:
    async with _open(database_url, tmp_path) as market:
        shop = await market.shop(returns_webhook_url="http://shop/returns", returns_webhook_enabled=True)
        code = await _live(market, shop)
        other = await shop.accepted()
        before = await _dump(market)
        assert all(text in before for text in _PERSONAL), [text for text in _PERSONAL if text not in before]
        totals = (await market.order(code))["order"]["line_items"][0]["total_price"]
        body = {"codes": [code, other, "261124-0000000"]}
        answer = await market.operate("POST", "/marketplace/customers/anonymise", body)
        assert answer["anonymised"] == [code]
        assert [entry["code"] for entry in answer["refused"]] == [other, "261124-0000000"]
        after = await _dump(market)
        assert not [text for text in _PERSONAL if text in after]
        assert "zebrapoulou" not in after
        # The account keeps its amounts, and the other order its customer.
        assert (await market.order(code))["order"]["line_items"][0]["total_price"] == totals
        assert "Παπαδοπούλου" in after
        answer = await market.operate("GET", f"/marketplace/customers?q={_NAME}")
        assert answer["orders"] == []
        # Pages and calls still show the order.
        assert (await shop.call("GET", f"/orders/{code}")).status == 200
    if database_url.startswith("sqlite"):
        rest = _files(tmp_path)
        assert not [text for text in (*_PERSONAL, "zebrapoulou") if text in rest]
        assert "Παπαδοπούλου" in rest


async def test_all_data_of_a_customer_is_found_by_name_without_accents(database_url: str, tmp_path: Path) -> None:
    async with _open(database_url, tmp_path) as market:
        shop = await market.shop(returns_webhook_url="http://shop/returns", returns_webhook_enabled=True)
        code = await _live(market, shop)
        await (await market.shop("Other")).cart(A=1)
        for text in (_NAME.lower(), "%CE%BE%CE%B5%CE%BD%CE%BF%CF%86%CF%89%CE%BD%CF%84"):
            [found] = (await market.operate("GET", f"/marketplace/customers?q={text}"))["orders"]
            assert (found["code"], found["comments"], found["can_be_anonymised"]) == (code, "ring-the-zither", True)
            assert found["customer"]["address"]["street_name"] == "Kryptonstr"
            assert found["invoice_details"]["company"] == _COMPANY["company"]
            assert found["returns"][0]["comments"] == ["broken-zygote"]
        refused = await market.call("GET", "/marketplace/customers?q=", None, _key("9"))
        assert refused.status == 422


async def test_customers_of_finished_orders_are_forgotten_after_the_days(database_url: str, tmp_path: Path) -> None:
    async with _open(database_url, tmp_path) as market:
        shop = await market.shop(returns_webhook_url="http://shop/returns", returns_webhook_enabled=True)
        code = await _live(market, shop)
        open_code = await shop.cart(A=1)
        now = from_millis(market.time.millis)
        marketplace = market.marketplace
        ending = asyncio.Event()

        async def forget(before_millis: int) -> int:
            return await forget_customers(
                marketplace.database, marketplace.request_log, before_millis, CLOCK, now, ending
            )

        assert await forget(to_millis(now) - 86_400_000) == 0
        assert await forget(to_millis(now) + 1000) == 1
        assert await forget(to_millis(now) + 1000) == 0
        dump = await _dump(market)
        assert _NAME not in dump
        # An order under way keeps its customer until it is finished.
        assert (await market.order(open_code))["order"]["customer"]["last_name"] == "Παπαδοπούλου"
        assert (await market.order(code))["order"]["customer"]["last_name"] == ""


async def test_more_orders_of_one_moment_than_a_batch_are_all_forgotten(database_url: str, tmp_path: Path) -> None:
    async with _open(database_url, tmp_path) as market:
        shop = await market.shop()
        for _ in range(101):
            code = await shop.cart(A=1)
            await market.operate("POST", f"/marketplace/orders/{code}/cancel")
        before = market.time.millis + 1
        marketplace = market.marketplace
        count = await forget_customers(
            marketplace.database, None, before, CLOCK, from_millis(market.time.millis), asyncio.Event()
        )
        assert count == 101
        rows = await marketplace.database.read(lambda view: view.all("SELECT created_at FROM order_words", {}))
        assert len({at for (at,) in rows}) == 1


async def test_a_suspended_shop_gets_no_orders_and_a_closed_one_has_no_access(
    database_url: str, tmp_path: Path
) -> None:
    async with _open(database_url, tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        path = f"/marketplace/shops/{shop.id}"
        await market.operate("PATCH", path, {"status": "suspended"})
        cart = {"customer": _CUSTOMER, "items": [{"shop_id": shop.id, "shop_uid": "A", "quantity": 1}]}
        cart["payment_method"] = "card"
        refused = await market.call("POST", "/marketplace/carts", cart, _key("a"))
        assert (refused.status, "takes no orders" in refused.json["errors"][0]["messages"][0]) == (422, True)
        await shop.accept(code)
        await market.operate("PATCH", path, {"status": "closed"})
        assert (await shop.call("GET", f"/orders/{code}")).status == 401
        sent = len(market.network.posts)
        await market.operate("POST", f"/marketplace/orders/{code}/cancel")
        await market.settle()
        assert len(market.network.posts) == sent
        await market.operate("PATCH", path, {"status": "active"})
        assert (await shop.call("GET", f"/orders/{code}")).status == 401
        shop.token = (await market.operate("POST", f"{path}/api_token"))["api_token"]
        assert (await shop.call("GET", f"/orders/{code}")).status == 200


async def test_a_closed_shop_is_exported_and_erased_and_others_stay(database_url: str, tmp_path: Path) -> None:
    async with _open(database_url, tmp_path) as market:
        shop = await market.shop(returns_webhook_url="http://shop/returns", returns_webhook_enabled=True)
        code = await _live(market, shop)
        stays = await market.shop("Other")
        other = await stays.accepted()
        path = f"/marketplace/shops/{shop.id}"
        refused = await market.call("DELETE", path, None, _key("b"))
        assert (refused.status, refused.json["errors"][0]["code"]) == (409, "conflict")
        database = market.marketplace.database
        lines: list[dict[str, Any]] = [json.loads(line) async for line in export_shop(database, shop.id)]
        tables = {line["table"] for line in lines}
        assert tables >= {"shops", "orders", "returns", "timeline", "webhook_events", "vouchers", "listings"}
        [order] = [line for line in lines if line["table"] == "orders"]
        assert (order["code"], order["document"]["customer"]["last_name"]) == (code, _NAME)
        assert not any(shop.token in json.dumps(line) for line in lines)
        assert tables.isdisjoint({"api_tokens", "signing_secrets"})
        await market.operate("PATCH", path, {"status": "closed"})
        assert await market.operate("DELETE", path) == {"erased": shop.id}
        dump = await _dump(market)
        assert not [text for text in (*_PERSONAL, code) if text in dump]
        # Not even the action itself leaves a row.
        places = [name for name, table in METADATA.tables.items() if "shop_id" in table.columns]
        left = {name: await _count(market, name, shop.id) for name in places}
        assert {name: count for name, count in left.items() if count} == {}
        assert (await market.call("GET", path, None, _key("c"))).status == 404
        assert (await stays.call("GET", f"/orders/{other}")).status == 200


async def _count(market: Market, table: str, shop_id: str) -> int:
    rows = await market.marketplace.database.read(
        lambda view: view.all(f"SELECT count(*) FROM {table} WHERE shop_id = :shop_id", {"shop_id": shop_id})
    )
    return int(rows[0][0])


def test_bodies_keep_amounts_and_lose_texts() -> None:
    body = (
        b'{"order":{"code":"1","customer":{"first_name":"A","address":{"floor":null,"pickup_from_collection_point":false}},'
        b'"comments":"x","line_items":[{"unit_price":10.40,"user_photos":["p"]}]},"changes":{"comments":["a","b"]}}'
    )
    assert scrub_body(body) == (
        b'{"order":{"code":"1","customer":{"first_name":"","address":{"floor":null,"pickup_from_collection_point":false}},'
        b'"comments":"","line_items":[{"unit_price":10.40,"user_photos":[]}]},"changes":{"comments":[]}}'
    )
    assert scrub_body(b"not JSON") == b""
