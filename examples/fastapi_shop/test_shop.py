"""Tests of the shop with Kalathi's pytest plugin. Each test has a shop of its own on a real marketplace."""

from collections.abc import Iterator

import pytest
from shop import Shop, make_app

from kalathi.merchant import Client
from kalathi.testing import AsyncKalathi, Kalathi


@pytest.fixture
def shop(kalathi: Kalathi) -> Iterator[Shop]:
    """The shop under test, connected to the marketplace. Its webhooks go to its real application."""
    with Client(kalathi.url, kalathi.token) as client:
        shop = Shop(client, {"BOOK-1": 3})
        kalathi.webhooks_to(make_app(shop), "/webhooks")
        kalathi.add_listing("BOOK-1", quantity=10, unit_price=14.90)
        yield shop


def test_an_order_in_stock_is_accepted(kalathi: Kalathi, shop: Shop) -> None:
    order = kalathi.place({"BOOK-1": 2})
    order.wait_for("accepted")
    assert shop.stock == {"BOOK-1": 1}


def test_limited_stock_is_rejected_and_the_rest_is_accepted(kalathi: Kalathi, shop: Shop) -> None:
    order = kalathi.place({"BOOK-1": 5})
    rejected = order.wait_for("rejected")
    # The marketplace makes a new order for the available pieces, and the shop accepts it.
    rest = kalathi.order(rejected["rejection"]["successor"])
    rest.wait_for("accepted")
    assert shop.stock == {"BOOK-1": 0}


def test_a_repeated_webhook_is_answered_once(kalathi: Kalathi, shop: Shop) -> None:
    kalathi.faults.add("webhooks", "duplicate", call="new_order")
    order = kalathi.place({"BOOK-1": 1})
    order.wait_for("accepted")
    kalathi.requests.wait("show", 2, order=order)
    assert len(kalathi.requests.list(call="accept")) == 1


def test_a_cancelled_order_is_not_accepted_later(kalathi: Kalathi, shop: Shop) -> None:
    kalathi.faults.add("webhooks", "drop", call="new_order")
    order = kalathi.place({"BOOK-1": 1})
    order.run("cancel")
    kalathi.faults.clear()
    # The marketplace repeats the lost webhook after a minute.
    kalathi.clock.advance(minutes=2)
    kalathi.requests.wait("show", order=order)
    assert order.state() == "cancelled"
    assert kalathi.requests.list(call="accept") == []


@pytest.mark.anyio
async def test_an_async_test_awaits_the_same_calls(async_kalathi: AsyncKalathi, shop: Shop) -> None:
    order = await async_kalathi.place({"BOOK-1": 1})
    await order.wait_for("accepted")
    (call,) = await async_kalathi.requests.wait("accept", order=order)
    assert call["status"] == 200
