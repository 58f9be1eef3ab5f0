"""Idempotency-Key (docs/decisions/0013) and the rate limit."""

import asyncio
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.web.limits import RateLimit
from tests.market import CUSTOMER, OPERATOR_TOKEN, HttpAnswer, Market, Shop, hold_commits, open_market, until

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "order-1"}


async def _place(market: Market, shop: Shop, key: str, quantity: int = 1) -> HttpAnswer:
    item = {"shop_id": shop.id, "shop_uid": "A", "quantity": quantity}
    cart = {"customer": CUSTOMER, "items": [item], "payment_method": "card"}
    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}", "Idempotency-Key": key}
    return await market.call("POST", "/marketplace/carts", cart, headers)


async def test_a_repeated_action_gets_the_first_answer_and_happens_once(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        body = {"rejection_reason_other": "Κλειστά"}
        for _ in range(3):
            answer = await shop.call("POST", f"/orders/{code}/reject", body, **KEY)
            assert (answer.status, answer.json) == (200, {"success": True})
        assert [entry["event"] for entry in (await market.order(code))["timeline"]] == ["place", "reject"]
    # It is remembered over a restart.
    async with open_market(tmp_path) as market:
        shop.market = market
        assert (await shop.call("POST", f"/orders/{code}/reject", body, **KEY)).json == {"success": True}
        assert (await shop.call("POST", f"/orders/{code}/reject", body)).status == 422


async def test_a_repeated_cart_places_one_order_with_the_same_answer(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        first, second = await _place(market, shop, "a"), await _place(market, shop, "a")
        assert (first.status, first.body) == (201, second.body)
        assert await shop.stock() == {"A": 9, "B": 10}
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}", "Idempotency-Key": "cancel"}
        path = f"/marketplace/orders/{first.json['orders'][0]['code']}/cancel"
        answers = [await market.call("POST", path, None, headers) for _ in range(2)]
        assert answers[0].json["order"]["state"] == "cancelled"
        assert answers[0].body == answers[1].body


async def test_another_request_under_the_same_key_is_refused_and_does_nothing(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop(quantity=10)
        await _place(market, shop, "a")
        refused = await _place(market, shop, "a", quantity=2)
        assert (refused.status, refused.json["errors"][0]["code"]) == (422, "idempotency_key")
        assert await shop.stock() == {"A": 9, "B": 10}
        one, two = await shop.cart(A=1), await shop.cart(A=1)
        body = {"rejection_reason_other": "Κλειστά"}
        await shop.call("POST", f"/orders/{one}/reject", body, **KEY)
        for code, other in ((two, body), (one, {"rejection_reason_other": "Άλλο"})):
            refused = await shop.call("POST", f"/orders/{code}/reject", other, **KEY)
            assert (refused.status, refused.json["errors"][0]["code"]) == (422, "idempotency_key")
        assert (await shop.show(two))["state"] == "open"


async def test_two_shops_may_use_the_same_key(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        for shop in (await market.shop(), await market.shop("Other")):
            code = await shop.cart(A=1)
            answer = await shop.call("POST", f"/orders/{code}/reject", {"rejection_reason_other": "Κλειστά"}, **KEY)
            assert answer.status == 200


async def test_a_refusal_is_not_remembered(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        assert (await shop.call("POST", f"/orders/{code}/accept", {}, **KEY)).status == 422
        assert (await shop.call("POST", f"/orders/{code}/reject", {"rejection_reason_other": "x"}, **KEY)).status == 200


async def test_concurrent_duplicates_are_409_and_only_one_is_done(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop(quantity=10)
        # The first cart also reserves the next order codes, which later carts then need not wait for.
        assert (await _place(market, shop, "first")).status == 201
        with hold_commits(tmp_path):
            twins = [asyncio.create_task(_place(market, shop, "twin")) for _ in range(4)]
            await until(lambda: sum(twin.done() for twin in twins) == 3)
        answers = await asyncio.gather(*twins)
        statuses = sorted(answer.status for answer in answers)
        assert statuses == [201, 409, 409, 409]
        for answer in answers:
            if answer.status == 409:
                assert (answer.json["errors"][0]["code"], answer.headers["retry-after"]) == ("conflict", "1")
        assert await shop.stock() == {"A": 8, "B": 10}


@pytest.mark.parametrize("key", ["", "x" * 256, "ελιά", "a\nb"])
async def test_an_invalid_idempotency_key_is_refused(tmp_path: Path, key: str) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        code = await shop.cart(A=1)
        raw = key.encode().decode("latin-1")
        answer = await shop.call("POST", f"/orders/{code}/set_as_ready", None, **{"Idempotency-Key": raw})
        assert (answer.status, answer.json["errors"][0]["code"]) == (422, "idempotency_key")


async def test_a_key_expires_after_its_hours(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=Settings(idempotency_hours=1)) as market:
        shop = await market.shop(quantity=10)
        await _place(market, shop, "a")
        await market.advance(3599)
        await _place(market, shop, "a")
        assert (await shop.stock())["A"] == 9
        await market.advance(1)
        await _place(market, shop, "a")
        assert (await shop.stock())["A"] == 8


async def test_an_answer_with_a_token_is_never_repeated(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}", "Idempotency-Key": "token"}
        path = f"/marketplace/shops/{shop.id}/api_token"
        tokens = {(await market.call("POST", path, None, headers)).json["api_token"] for _ in range(2)}
        assert len(tokens) == 2


async def test_a_shop_over_its_rate_limit_gets_429_with_retry_after(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=Settings(rate_limit_per_minute=3), worker=False) as market:
        shop, other = await market.shop(), await market.shop("Other")
        code = await shop.cart(A=1)
        for path in (f"/orders/{code}", "/orders", f"/orders/{code}"):
            assert (await shop.call("GET", path)).status == 200
        limited = await shop.call("POST", f"/orders/{code}/reject", {"rejection_reason_other": "x"})
        assert (limited.status, limited.json["errors"][0]["code"]) == (429, "rate_limited")
        assert 1 <= int(limited.headers["retry-after"]) <= 20
        assert (await other.call("GET", "/orders")).status == 200
        assert (await market.order(code))["order"]["state"] == "open"


def test_the_rate_limit_refills_evenly_up_to_one_minute() -> None:
    now = 0.0
    limit = RateLimit(6, lambda: now)
    for _ in range(6):
        limit.count("shop")
    with pytest.raises(DomainError) as refused:
        limit.count("shop")
    assert (refused.value.code, refused.value.retry_after_seconds) == (ErrorCode.RATE_LIMITED, 10)
    now = 9.99
    with pytest.raises(DomainError):
        limit.count("shop")
    now = 10.0
    limit.count("shop")
    now = 10_000.0
    for _ in range(6):
        limit.count("shop")
    with pytest.raises(DomainError):
        limit.count("shop")


async def test_the_rate_limit_counts_every_call_with_a_token(tmp_path: Path) -> None:
    async with open_market(tmp_path, settings=Settings(rate_limit_per_minute=3), worker=False) as market:
        shop = await market.shop()
        statuses = [(await shop.call("GET", "/orders/NOPE")).status for _ in range(3)]
        statuses += [(await shop.call("GET", "/orders/NOPE")).status, (await shop.call("GET", "/orders")).status]
        assert statuses == [404, 404, 404, 429, 429]
        assert (await shop.call("GET", "/orders", None, Accept="text/html")).status == 429
        assert (await market.call("GET", "/merchants/ecommerce/orders")).status == 401


async def test_a_location_is_added_once_under_one_key(tmp_path: Path) -> None:
    async with open_market(tmp_path, worker=False) as market:
        shop = await market.shop()
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}", "Idempotency-Key": "k"}
        path = f"/marketplace/shops/{shop.id}/locations"
        first, second = [await market.call("POST", path, {"street_name": "Ερμού"}, headers) for _ in range(2)]
        assert (first.status, first.body) == (201, second.body)
        assert len((await market.operate("GET", f"/marketplace/shops/{shop.id}"))["shop"]["locations"]) == 2
