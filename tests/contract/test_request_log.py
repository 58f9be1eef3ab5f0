"""The request log: every call of the merchants' API with its answer, refused ones too."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.settings import Settings
from tests.market import ACCEPT, Market, Shop, open_market

pytestmark = pytest.mark.anyio


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    async with open_market(tmp_path) as opened:
        yield opened


@pytest.fixture
async def shop(market: Market) -> Shop:
    return await market.shop()


async def logged(market: Market, query: str = "") -> list[dict[str, Any]]:
    """Return the calls of the log that match, newest first."""
    found: list[dict[str, Any]] = (await market.operate("GET", f"/marketplace/requests{query}"))["requests"]
    return found


async def test_a_refused_accept_is_in_the_log_with_its_body_and_its_error(market: Market, shop: Shop) -> None:
    code = await shop.place({"A": 1})
    body = {"pickup_location": "nowhere", "pickup_window": 1, "number_of_parcels": 1}
    answer = await shop.call("POST", f"/orders/{code}/accept", body)
    assert answer.status == 422
    (call,) = await logged(market)
    assert call["id"] == answer.headers["request-id"]
    assert (call["method"], call["call"], call["subject"]) == ("POST", "accept", code)
    assert call["path"] == f"/merchants/ecommerce/orders/{code}/accept"
    assert (call["status"], call["error"]) == (422, "invalid_parameter")
    assert json.loads(call["body"]) == body
    assert call["body_bytes"] == len(call["body"])
    assert call["answer"].encode() == answer.body
    assert (call["shop_id"], call["no_shop"]) == (shop.id, "")
    assert call["at"].startswith("2026-11-24T10:00:00+02:00")


REFUSALS = {
    "no token": ({"Authorization": ""}, 401, "no_token"),
    "unknown token": ({"Authorization": "Bearer of-another-marketplace-and-long-enough"}, 401, "unknown_token"),
    "not a bearer token": ({"Authorization": "Basic c2hvcDpzZWNyZXQ="}, 401, "no_token"),
    "another Accept": ({"Accept": "application/json"}, 406, ""),
    "another order": ({}, 404, ""),
    "another method": ({}, 405, "not_checked"),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_every_refusal_is_logged_and_says_why_no_shop_is_known(market: Market, shop: Shop, kind: str) -> None:
    headers, status, no_shop = REFUSALS[kind]
    code = "261124-0000000" if kind == "another order" else await shop.place({"A": 1})
    method = "PUT" if kind == "another method" else "POST"
    sent = {"Content-Length": "19"} | headers
    answer = await shop.call(method, f"/orders/{code}/accept", {"pickup_window": 1}, **sent)
    assert answer.status == status
    (call,) = await logged(market, "?call=accept")
    assert (call["status"], call["no_shop"]) == (status, no_shop)
    assert call["shop_id"] == ("" if no_shop else shop.id)
    assert call["error"] == answer.json["errors"][0]["code"]
    # The call was refused before its body was read. The log has the body, because its sender looks for the fault.
    assert call["body"] == '{"pickup_window":1}'


async def test_no_secret_is_in_the_log(market: Market, shop: Shop, tmp_path: Path) -> None:
    secrets = {
        "Authorization": f"Bearer {shop.token}",
        "Cookie": "session=cookie-of-a-browser",
        "X-Api-Key": "key-of-a-gateway-that-is-long-enough",
        "Proxy-Authorization": "Basic cHJveHk6c2VjcmV0",
    }
    await shop.call("GET", "/orders?access_token=token-in-a-query&page=1", **secrets)
    (call,) = await logged(market)
    assert call["headers"]["authorization"] == f"Bearer {shop.token[:4]}... ({len(shop.token)} characters)"
    assert call["path"] == "/merchants/ecommerce/orders?access_token=...&page=1"
    files = b"".join(path.read_bytes() for path in (tmp_path / "requests").iterdir())
    for secret in (shop.token, "cookie-of-a-browser", "way-that-is-long", "cHJveHk6c2VjcmV0", "token-in-a-query"):
        assert secret.encode() not in files
        assert secret not in json.dumps(call)


async def test_the_log_is_filtered_and_paged(market: Market, shop: Shop) -> None:
    other = await market.shop("Other shop")
    code = await shop.place({"A": 1})
    await shop.show(code)
    await shop.call("GET", "/orders/261124-0000001")
    await other.call("GET", "/orders")
    await shop.accept(code)
    assert [call["call"] for call in await logged(market)] == ["accept", "show", "list", "show", "show"]
    assert [call["call"] for call in await logged(market, f"?shop_id={other.id}")] == ["list"]
    assert [call["call"] for call in await logged(market, f"?subject={code}")] == ["accept", "show", "show"]
    assert [call["status"] for call in await logged(market, "?status=4xx")] == [404]
    assert [call["status"] for call in await logged(market, "?status=404&error=order_error")] == [404]
    assert [call["method"] for call in await logged(market, "?method=post")] == ["POST"]
    newest = await logged(market, "?per=2")
    assert [call["call"] for call in newest] == ["accept", "show"]
    assert [call["call"] for call in await logged(market, f"?after={newest[1]['id']}")] == ["accept"]
    assert [call["call"] for call in await logged(market, "?per=2&page=3")] == ["show"]
    shown = await market.operate("GET", f"/marketplace/requests/{newest[0]['id']}")
    assert shown["request"] == newest[0]
    assert await logged(market, "?since=2026-11-24T10:00:01%2B02:00") == []
    for wrong in ("status=1000", "call=no_such_call", "since=noon", "wait=1e9", "count=0"):
        await market.operate("GET", f"/marketplace/requests?{wrong}", status=422)
    await market.operate("GET", "/marketplace/requests/no-such-call", status=404)


async def test_repeated_headers_and_answers_are_whole_in_every_call(market: Market, shop: Shop) -> None:
    code = await shop.place({"A": 1})
    answers = [(await shop.call("GET", f"/orders/{code}")).body.decode() for _ in range(5)]
    different = await shop.call("GET", f"/orders/{code}", **{"User-Agent": "another"})
    calls = await logged(market)
    assert [call["answer"] for call in calls] == [different.body.decode(), *answers]
    assert [call["headers"].get("user-agent", "") for call in calls] == ["another", "", "", "", "", ""]


async def test_every_answer_has_a_request_id_of_its_own(market: Market, shop: Shop) -> None:
    answers = [
        await market.call("GET", path)
        for path in ("/merchants/ecommerce/orders", "//merchants/ecommerce/orders/1", "/healthz", "/sign-in", "/x", "/")
    ]
    answers.append(await market.call("GET", "/marketplace/shops"))
    ids = [answer.headers["request-id"] for answer in answers]
    assert len(set(ids)) == len(ids) == 7
    assert not any("\n" in one for one in ids)


async def test_the_log_survives_a_restart_and_goes_on(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        await shop.call("GET", "/orders")
    async with open_market(tmp_path) as market:
        await market.call(
            "GET", "/merchants/ecommerce/returns", headers={"Authorization": f"Bearer {shop.token}", "Accept": ACCEPT}
        )
        assert [call["call"] for call in await logged(market)] == ["list_returns", "list"]


async def test_the_log_of_production_is_off_and_has_no_bodies(tmp_path: Path) -> None:
    production = replace(Settings(), mode="production", public_url="https://market.example")
    async with open_market(tmp_path / "off", settings=production) as market:
        await market.call("GET", "/merchants/ecommerce/orders")
        await market.operate("GET", "/marketplace/requests", status=404)
        assert not (tmp_path / "off" / "requests").exists()
    async with open_market(tmp_path / "on", settings=replace(production, request_log="on")) as market:
        shop = await market.shop(url=None)
        await shop.call("POST", "/orders/261124-0000000/accept", {"pickup_window": 1})
        (call,) = await logged(market)
        assert (call["status"], call["error"], call["body"], call["answer"]) == (404, "order_error", "", "")
        assert call["answer_bytes"] > 0


async def test_calls_older_than_the_retention_are_deleted(market: Market, shop: Shop, tmp_path: Path) -> None:
    log = market.marketplace.request_log
    assert log is not None
    await shop.call("GET", "/orders?page=1")
    (old,) = await logged(market)
    log.drop_before(to_millis(datetime.fromisoformat(old["real_at"])) + 1)
    await shop.call("GET", "/orders?page=2")
    assert [call["path"][-6:] for call in await logged(market)] == ["page=2"]
    assert b"page=1" not in b"".join(path.read_bytes() for path in (tmp_path / "requests").iterdir())
