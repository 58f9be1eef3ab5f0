"""The kept answers of GET of an order: every change is seen at the next call."""

import pytest

from tests.market import Market, Shop

pytestmark = pytest.mark.anyio


async def _warm(shop: Shop, code: str) -> None:
    """Have the answer kept."""
    for _ in range(2):
        await shop.show(code)


async def test_a_change_of_the_order_is_shown_by_the_next_call(market: Market, shop: Shop) -> None:
    code = await shop.cart(A=1)
    await _warm(shop, code)
    assert (await shop.show(code))["state"] == "open"
    assert (await shop.accept(code)).status == 200
    assert (await shop.show(code))["state"] == "accepted"


async def test_a_replaced_token_is_refused_by_the_next_call(market: Market, shop: Shop) -> None:
    code = await shop.cart(A=1)
    await _warm(shop, code)
    answer = await market.operate("POST", f"/marketplace/shops/{shop.id}/api_token")
    assert (await shop.call("GET", f"/orders/{code}")).status == 401
    shop.token = answer["api_token"]
    assert (await shop.show(code))["state"] == "open"


async def test_a_change_of_the_shop_is_shown_by_the_next_call(market: Market, shop: Shop) -> None:
    code = await shop.cart(A=1)
    await _warm(shop, code)
    before = (await shop.show(code))["accept_options"]["pickup_location"]
    location = {"street_name": "Νέα οδός", "street_number": "9", "city": "Πάτρα"}
    await market.operate("POST", f"/marketplace/shops/{shop.id}/locations", location, status=201)
    after = (await shop.show(code))["accept_options"]["pickup_location"]
    assert len(after) == len(before) + 1
    assert "Νέα οδός" in after[-1]["label"]


async def test_pickup_windows_that_have_begun_are_no_longer_offered(market: Market, shop: Shop) -> None:
    code = await shop.cart(A=1)
    await _warm(shop, code)
    before = (await shop.show(code))["accept_options"]["pickup_window"]
    await market.advance(3 * 3600)
    after = (await shop.show(code))["accept_options"]["pickup_window"]
    assert before[0] not in after


async def test_another_shop_does_not_get_a_kept_answer(market: Market, shop: Shop) -> None:
    code = await shop.cart(A=1)
    await _warm(shop, code)
    other = await market.shop()
    assert (await other.call("GET", f"/orders/{code}")).status == 404


async def test_a_kept_answer_needs_the_header_accept(market: Market, shop: Shop) -> None:
    code = await shop.cart(A=1)
    await _warm(shop, code)
    assert (await shop.call("GET", f"/orders/{code}", accept="text/plain")).status == 406


async def test_options_of_an_action_are_not_kept(market: Market, shop: Shop) -> None:
    code = await shop.accepted()
    await _warm(shop, code)
    answer = await shop.call("GET", f"/orders/{code}?action_options=1")
    assert answer.json["order"]["reschedule_options"]
    assert "reschedule_options" not in (await shop.show(code))
