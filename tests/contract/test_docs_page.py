"""The page of the API: examples for every call, and a form that tries it in a sandbox."""

import asyncio
import html
import re
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest

from kalathi.marketplace.api.examples import load_examples
from kalathi.marketplace.api.route import Access
from kalathi.marketplace.api.routes import ROUTES
from kalathi.marketplace.kernel.settings import Settings
from tests.market import OPERATOR_TOKEN, HttpAnswer, Market, open_market

pytestmark = pytest.mark.anyio

_KIND = {"Content-Type": "application/x-www-form-urlencoded"}


async def _try(market: Market, method: str, path: str, **fields: str) -> tuple[HttpAnswer, str]:
    body = urlencode({"method": method, "path": path, **fields}).encode()
    answer = await market.call("POST", "/docs/try", body, _KIND)
    return answer, html.unescape(answer.body.decode())


def test_every_json_call_has_a_recorded_example() -> None:
    examples = load_examples((route.method, route.path) for route in ROUTES)
    missing = {
        f"{route.method} {route.path}"
        for route in ROUTES
        if (route.method, route.path) not in examples
        and route.access in {Access.MERCHANT, Access.PRODUCTS, Access.OPERATOR}
        and route.answer is not bytes
    }
    assert missing == set()
    accept = examples["POST", "/merchants/ecommerce/orders/{code}/accept"]
    assert msgspec.json.decode(accept.body)["number_of_parcels"] >= 1


async def test_the_page_shows_fields_examples_and_statuses_of_a_call(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        text = (await market.call("GET", "/docs")).body.decode()
        [call] = re.findall(
            r'<details id="post-merchants-ecommerce-orders-code-accept">.*?Try it in this sandbox', text, re.DOTALL
        )
        for part in ("number_of_parcels", "pickup_location", "Example", "Answer", "Statuses", "401"):
            assert part in call, part
        targets = set(re.findall(r'href="#([^"]+)"', text))
        assert targets <= set(re.findall(r'id="([^"]+)"', text))


async def test_a_call_is_tried_with_the_token_of_the_form(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        path = "/merchants/ecommerce/orders/{code}"
        answer, text = await _try(market, "GET", path, part_code=code, token=shop.token)
        assert (answer.status, "200" in text, code in text) == (200, True, True)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert shop.token not in text
        options = (await shop.show(code))["accept_options"]
        body = {
            "pickup_location": options["pickup_location"][0]["id"],
            "pickup_window": options["pickup_window"][0]["id"],
            "number_of_parcels": 1,
        }
        sent = msgspec.json.encode(body).decode()
        _, text = await _try(market, "POST", f"{path}/accept", part_code=code, token=shop.token, body=sent)
        assert '"success": true' in text
        assert (await shop.show(code))["state"] == "accepted"
        _, text = await _try(market, "GET", "/marketplace/orders", token=OPERATOR_TOKEN, query="per=1&state=accepted")
        assert code in text


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"method": "GET", "path": "/metrics/../x"}, 404),
        ({"method": "TRACE", "path": "/marketplace/orders"}, 404),
        ({"method": "GET", "path": "/docs/try"}, 404),
        ({}, 404),
    ],
)
async def test_only_calls_of_the_table_are_tried(tmp_path: Path, fields: dict[str, str], status: int) -> None:
    async with open_market(tmp_path, worker=False) as market:
        answer = await market.call("POST", "/docs/try", urlencode(fields).encode(), _KIND)
        assert answer.status == status


async def test_hostile_fields_are_texts_and_reach_no_other_call(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        path = "/merchants/ecommerce/orders/{code}"
        for part in ("../../marketplace/shops", "<script>x</script>", "a?b#c", "x/accept", "%2e%2e", "\r\nX: y"):
            answer, text = await _try(market, "GET", path, part_code=part, token=shop.token)
            assert answer.status == 200
            assert "<script>x" not in answer.body.decode()
            assert '"shops"' not in text
        _, text = await _try(market, "GET", path, part_code="1", token="x\r\nY: z")
        assert "401" in text
        assert (await market.call("GET", "/docs/try")).status == 405
        # A visitor's own cookies and headers do not reach the tried call.
        body = urlencode({"method": "GET", "path": "/marketplace/shops"}).encode()
        headers = {**_KIND, "Authorization": f"Bearer {OPERATOR_TOKEN}"}
        assert "401" in (await market.call("POST", "/docs/try", body, headers)).body.decode()


async def test_guessed_tokens_count_against_the_address(tmp_path: Path) -> None:
    settings = msgspec.convert({"wrong_tokens_per_minute": 3}, Settings)
    async with open_market(tmp_path, settings=settings) as market:
        statuses = []
        for _ in range(5):
            _, text = await _try(market, "GET", "/merchants/ecommerce/orders/{code}", part_code="1", token="x")
            statuses.append(re.search(r'class="status">(\d+)', text).group(1))  # type: ignore[union-attr]  # Every page has one.
        assert statuses == ["401", "401", "401", "429", "429"]


async def test_production_has_no_trial(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=msgspec.convert({"mode": "production"}, Settings)) as market:
        page = (await market.call("GET", "/docs")).body.decode()
        assert "Try it" not in page
        answer = await market.call("POST", "/docs/try", b"method=GET&path=/marketplace/shops", _KIND)
        assert answer.status == 404


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/healthz", {"query": "wait=1"}),
        ("/marketplace/requests", {"query": "wait=1", "token": OPERATOR_TOKEN}),
        ("/marketplace/shops/{shop_id}/export", {"token": OPERATOR_TOKEN}),
    ],
)
async def test_a_tried_call_ends_and_others_go_on(tmp_path: Path, path: str, fields: dict[str, str]) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        async with asyncio.timeout(20):
            answer, _ = await _try(market, "GET", path, part_shop_id=shop.id, **fields)
        assert answer.status == 200
        assert (await market.call("GET", "/healthz")).status == 200
