"""The request log: every call of the merchants' API with its answer, including refused calls."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kalathi.marketplace.kernel.clock import BusinessClock, real_millis
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.request_log.log import REQUEST_ID, SHOP_ID, RequestIds, RequestLog
from kalathi.marketplace.request_log.model import CallFilter, mask_body, mask_header, mask_query
from tests.market import ACCEPT, Market, Shop, open_market

pytestmark = pytest.mark.anyio


async def logged(market: Market, query: str = "") -> list[dict[str, Any]]:
    """Return the calls of the log that match, newest first."""
    found: list[dict[str, Any]] = (await market.operate("GET", f"/marketplace/requests{query}"))["requests"]
    return found


async def test_a_call_whose_path_has_a_null_character_is_in_the_log(market: Market, shop: Shop) -> None:
    for path in ("/orders/\0", "/orders/a\0b/accept", "/\0"):
        answer = await shop.call("GET", path)
        assert answer.status == 404
        call = (await logged(market))[0]
        assert (call["id"], call["status"], call["error"]) == (answer.headers["request-id"], 404, "not_found")
        assert call["path"] == "/merchants/ecommerce" + path.replace("\0", "%00")
        shown = (await market.operate("GET", f"/marketplace/requests/{call['id']}"))["request"]
        assert shown["id"] == call["id"]


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


MASKED_HEADERS = {
    b"cookie": (b"sid=SUPERSECRET9; theme=dark", b"... (28 characters)"),
    b"authorization": (b"alpha-token-01234567 89", b"... (23 characters)"),
    b"token": (b"short", b"... (5 characters)"),
    b"x-token": (b"b" * 30, b"bbbb... (30 characters)"),
    b"apikey": (b"b" * 30, b"bbbb... (30 characters)"),
    b"x-shop-secret": (b"hidden", b"... (6 characters)"),
    b"x-amz-security-token": (b"hidden", b"... (6 characters)"),
    b"x-forwarded-authorization": (b"Basic aGlkZGVu", b"Basic ... (8 characters)"),
    b"referer": (b"http://u:hidden@h/p?token=hidden", b"http://***@h/p"),
}


@pytest.mark.parametrize("name", MASKED_HEADERS)
def test_headers_with_secrets_are_masked(name: bytes) -> None:
    value, masked = MASKED_HEADERS[name]
    assert mask_header(name, value) == masked


def test_other_headers_stay_as_they_are() -> None:
    for name in (b"accept", b"content-type", b"idempotency-key", b"user-agent", b"x-request-id"):
        assert mask_header(name, b"a value") == b"a value"


def test_secrets_in_queries_and_bodies_are_masked() -> None:
    assert mask_query(b"auth=1&key=2&pass%77ord=3&page=4&api_key=5&flag") == (
        b"auth=...&key=...&pass%77ord=...&page=4&api_key=...&flag"
    )
    assert mask_body(b'{"api_token": "a\\"b", "note": "token"}') == b'{"api_token": "...", "note": "token"}'


async def test_a_call_on_an_order_is_in_its_traffic_even_if_its_shop_is_not_known(market: Market, shop: Shop) -> None:
    other = await market.shop("Other shop")
    code = await shop.place({"A": 1})
    await shop.call("GET", f"/orders/{code}", Authorization="")
    await other.call("GET", f"/orders/{code}")
    await shop.call("DELETE", f"/orders/{code}/accept")
    await shop.call("POST", f"/orders/{code}/acept")
    traffic = (await market.operate("GET", f"/marketplace/traffic?subject={code}"))["traffic"]
    # The clock of this test stands still, so the calls have no order.
    assert sorted(entry["status"] for entry in traffic if entry["kind"] == "call") == [401, 404, 404, 405]


async def test_after_is_a_position_in_the_whole_log(market: Market, shop: Shop) -> None:
    await shop.call("GET", "/orders/261124-0000001")
    last = await shop.call("GET", "/orders")
    await shop.call("GET", "/orders/261124-0000002")
    (call,) = await logged(market, f"?status=4xx&after={last.headers['request-id']}")
    assert call["subject"] == "261124-0000002"


async def test_an_upload_is_logged_with_its_size(market: Market, shop: Shop) -> None:
    code = await shop.accepted()
    headers = {"Content-Type": 'multipart/form-data; boundary="limit"', "Content-Length": "5000"}
    await shop.call("POST", f"/orders/{code}/invoices", b"x" * 5000, **headers)
    (call,) = await logged(market, "?call=invoices")
    assert (call["body"], call["body_bytes"]) == ("(a form with a file)", 5000)


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
    # A process that has ended left calls too.
    await shop.call("GET", "/orders?page=0")
    await logged(market)
    shutil.copy(tmp_path / "requests" / "0.calls", tmp_path / "requests" / "1.calls")
    (tmp_path / "requests" / "1.lock").touch()
    await shop.call("GET", "/orders?page=1")
    await logged(market)
    market.time.millis += 7 * 86_400_000 + 1
    # The same headers as before, which are not in the file any more after the old calls were deleted.
    await shop.call("GET", "/orders?page=2")
    log.drop_old()
    await shop.call("GET", "/orders?page=3")
    calls = await logged(market)
    assert [call["path"][-6:] for call in calls] == ["page=3", "page=2"]
    assert calls[0]["headers"] == calls[1]["headers"] != {}
    files = b"".join(path.read_bytes() for path in (tmp_path / "requests").iterdir())
    assert b"page=0" not in files
    assert b"page=1" not in files


def make_log(folder: Path, **limits: int) -> RequestLog:
    return RequestLog(
        folder,
        megabytes=limits.get("megabytes", 1),
        days=7,
        has_bodies=True,
        clock=BusinessClock(),
        real=real_millis,
        name_call=lambda method, path: path,
        most_calls=limits.get("most_calls", 20_000),
    )


def make_scope(ids: RequestIds, path: str = "/x") -> dict[str, Any]:
    """Return the scope of a GET with headers that a client sends each time."""
    headers = [(b"accept", b"application/json"), (b"authorization", b"Bearer " + b"x" * 40)]
    values = {"method": "GET", "path": path, "query_string": b"", "headers": headers}
    return {**values, REQUEST_ID: ids.make(), SHOP_ID: "shop"}


async def test_the_log_is_bounded_and_the_latest_calls_are_whole(tmp_path: Path) -> None:
    log, ids, answer = make_log(tmp_path, most_calls=20), RequestIds(), b'{"order": 1}'
    for _ in range(95):
        log.record(make_scope(ids), 0, 200, answer)
        await asyncio.sleep(0)  # A turn of the event loop, at whose end the log writes.
    found = await log.read(CallFilter(), 100, 0)
    assert 10 <= found.total <= 20
    numbers = [int(call.id.partition("-")[2], 16) for call in found.calls]
    assert numbers == list(range(95, 95 - found.total, -1))
    assert {call.answer for call in found.calls} == {answer.decode()}
    log.close()


async def test_the_log_is_bounded_in_bytes(tmp_path: Path) -> None:
    log, ids = make_log(tmp_path), RequestIds()
    for number in range(100):
        log.record(make_scope(ids, f"/{number}"), 0, 200, b"%d" % number * 20_000)
        await asyncio.sleep(0)  # As above.
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1_200_000
    assert (await log.read(CallFilter(), 1, 0)).calls[0].path == "/99"
    log.close()


async def test_a_full_disk_costs_no_call_its_answer_and_the_log_goes_on(tmp_path: Path) -> None:
    log, ids = make_log(tmp_path / "file"), RequestIds()
    (tmp_path / "file").write_bytes(b"")  # The log's folder cannot be made.
    log.record(make_scope(ids), 0, 200, b"1")
    assert (await log.read(CallFilter(), 100, 0)).total == 0
    (tmp_path / "file").unlink()
    log.record(make_scope(ids), 0, 200, b"1")
    (call,) = (await log.read(CallFilter(), 100, 0)).calls
    assert call.headers["authorization"] == "Bearer xxxx... (40 characters)"
    log.close()


async def test_an_injected_answer_is_logged_with_its_shop(market: Market, shop: Shop) -> None:
    rule = {"on": "api", "kind": "error", "status": 503}
    await market.operate("PUT", f"/marketplace/shops/{shop.id}/faults", {"rules": [rule]})
    assert (await shop.call("GET", "/orders")).status == 503
    (call,) = await logged(market, f"?shop_id={shop.id}")
    assert (call["status"], call["no_shop"], call["error"]) == (503, "", "unavailable")
