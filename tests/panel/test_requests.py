"""The pages of the request log, and the calls and webhooks on the page of an order."""

import asyncio
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from kalathi.marketplace.kernel.settings import Settings
from tests.market import OPERATOR_TOKEN, Market, Shop, open_market
from tests.panel.visitor import Visitor

pytestmark = pytest.mark.anyio


async def sign_in(market: Market) -> Visitor:
    visitor = Visitor(market)
    await visitor.sign_in(OPERATOR_TOKEN)
    return visitor


async def test_a_refused_call_is_on_the_page_with_its_body_answer_and_a_curl_command(
    market: Market, shop: Shop
) -> None:
    code = await shop.place({"A": 1})
    answer = await shop.accept(code, pickup_window=7)
    visitor = await sign_in(market)
    listed = await visitor.get("/operator/requests?status=4xx")
    assert f'<a href="/operator/orders/{code}">' in listed.html
    assert "POST accept" in listed.html
    assert "invalid_parameter" in listed.html
    found = re.search(r'href="(/operator/requests/([^"]+))"', listed.html)
    assert found is not None
    assert found[2] == answer.headers["request-id"]
    shown = await visitor.get(found[1])
    assert re.search(r'<p class="lines">[^<]*pickup_window: 7 is not valid', shown.html)
    assert f"curl -i -X POST \\\n  http://market/merchants/ecommerce/orders/{code}/accept" in shown.html
    assert "$TOKEN" in shown.html
    assert shop.token not in shown.html


async def test_the_curl_command_of_a_call_with_a_long_body_says_that_the_body_is_cut_off(
    market: Market, shop: Shop
) -> None:
    visitor = await sign_in(market)
    for length, is_cut in ((200_000, True), (1_000, False)):
        code = await shop.place({"A": 1})
        answer = await shop.call("POST", f"/orders/{code}/reject", {"rejection_reason_other": "ά" * (length // 2)})
        page = await visitor.get(f"/operator/requests/{answer.headers['request-id']}")
        assert ("# The body was cut off.\ncurl -i -X POST" in page.html) is is_cut


async def test_calls_without_a_shop_say_why(market: Market, shop: Shop) -> None:
    await shop.call("GET", "/orders", Authorization="Bearer of-another-marketplace-and-long-enough")
    visitor = await sign_in(market)
    assert "Unknown token" in (await visitor.get("/operator/requests")).html


async def test_an_order_has_its_calls_and_webhooks_in_one_timeline(market: Market, shop: Shop) -> None:
    code = await shop.place({"A": 1})
    await market.advance(1)
    window = (await shop.show(code))["accept_options"]["pickup_window"][0]["id"]
    await asyncio.sleep(0)  # The log writes at the end of a turn of the event loop.
    market.time.millis += 500
    body = {"pickup_location": shop.location_id, "pickup_window": window, "number_of_parcels": 1}
    await shop.call("POST", f"/orders/{code}/accept", body)
    await asyncio.sleep(0)  # As above.
    await market.advance(2)
    visitor = await sign_in(market)
    page = (await visitor.get(f"/operator/orders/{code}")).html
    section = page[page.index('id="traffic"') :]
    rows = re.findall(
        r"<td[^>]*>(Call of the shop|Webhook)</td>\s*<th scope=\"row\"><a[^>]*>(?:<code>)?([^<]+)", section
    )
    # The clock of this test stands still, so accept and its webhook have the same millisecond.
    assert rows[:2] == [("Webhook", "New order"), ("Call of the shop", "GET show")]
    assert set(rows[2:4]) == {("Call of the shop", "POST accept"), ("Webhook", "Order updated")}
    traffic = (await market.operate("GET", f"/marketplace/traffic?subject={code}"))["traffic"]
    named = [(entry["kind"], entry["name"]) for entry in traffic]
    assert named[:2] == [("webhook", "new_order"), ("call", "show")]
    assert ("call", "accept") in named
    of_shop = (await market.operate("GET", f"/marketplace/traffic?shop_id={shop.id}"))["traffic"]
    assert of_shop == traffic
    await market.operate("GET", "/marketplace/traffic?subject=261124-0000000", status=422)


async def test_hostile_bodies_are_shown_as_text(market: Market, shop: Shop) -> None:
    for body in (
        b"<script>alert(1)</script>",
        b"[" * 50_000,
        b'{"a": "<img src=x onerror=alert(1)>"}',
        b"\xff\x00\x1b",
    ):
        answer = await shop.call("POST", "/orders/261124-0000000/accept", body, **{"Content-Length": str(len(body))})
        visitor = await sign_in(market)
        page = await visitor.get(f"/operator/requests/{answer.headers['request-id']}")
        assert page.status == 200
        assert "<script>alert" not in page.html
        assert "<img" not in page.html.replace("basket.svg", "").partition("<main")[2]


async def test_without_a_log_the_page_says_how_to_switch_it_on(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=replace(Settings(), request_log="off")) as market:
        visitor = await sign_in(market)
        page = await visitor.get("/operator/requests")
        assert "--request-log on" in page.html
        assert 'href="/operator/requests"' not in (await visitor.get("/")).html
        assert (await visitor.get("/operator/requests/x")).status == 404
