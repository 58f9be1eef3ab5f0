"""`wait=SECONDS`: an answer comes as soon as the state is reached, or when the time is over."""

import asyncio
import time

import pytest

from kalathi.marketplace.web.waiting import Waits, run_until_left
from tests.market import Market, Shop

pytestmark = pytest.mark.anyio


async def test_a_call_waits_until_an_order_is_accepted(market: Market, shop: Shop) -> None:
    code = await shop.place({"A": 1})
    waiting = asyncio.create_task(market.operate("GET", f"/marketplace/orders/{code}?state=accepted,rejected&wait=30"))
    await asyncio.sleep(0.05)  # Let the call begin to wait. A failure to wait shows in `done`.
    assert not waiting.done()
    await shop.accept(code)
    assert (await asyncio.wait_for(waiting, 10))["order"]["state"] == "accepted"


async def test_a_call_waits_for_the_second_order_of_a_shop(market: Market, shop: Shop) -> None:
    other = await market.shop("Other shop")
    await shop.place({"A": 1})
    path = f"/marketplace/orders?shop_id={shop.id}&state=open&count=2&wait=30"
    waiting = asyncio.create_task(market.operate("GET", path))
    await other.place({"A": 1})
    await asyncio.sleep(0.05)  # Let the call see the other shop's order.
    assert not waiting.done()
    await shop.place({"A": 1})
    found = await asyncio.wait_for(waiting, 10)
    assert [order["shop_id"] for order in found["orders"]] == [shop.id, shop.id]


async def test_a_call_waits_until_two_deliveries_have_ended(market: Market, shop: Shop) -> None:
    code = await shop.place({"A": 1})
    waiting = asyncio.create_task(
        market.operate("GET", f"/marketplace/deliveries?subject={code}&state=ended&count=2&wait=30")
    )
    await shop.accept(code)
    await market.advance(5)
    found = await asyncio.wait_for(waiting, 10)
    assert len(found["deliveries"]) >= 2
    assert {entry["state"] for entry in found["deliveries"]} == {"delivered"}


async def test_a_call_waits_until_the_shop_calls_accept(market: Market, shop: Shop) -> None:
    code = await shop.place({"A": 1})
    path = f"/marketplace/requests?subject={code}&call=accept&status=2xx&wait=30"
    waiting = asyncio.create_task(market.operate("GET", path))
    await shop.show(code)
    await shop.accept(code, pickup_window=7)
    await asyncio.sleep(0.05)  # Let the call see both answers.
    assert not waiting.done()
    begun = time.monotonic()
    await shop.accept(code)
    (call,) = (await asyncio.wait_for(waiting, 10))["requests"]
    assert (call["call"], call["status"]) == ("accept", 200)
    # The call was woken. Without this it would read again after half a second.
    assert time.monotonic() - begun < 0.4


async def test_a_call_waits_until_a_return_is_reviewed(market: Market, shop: Shop) -> None:
    code = await shop.accepted({"A": 1})
    for word in ("hand_over", "deliver"):
        await market.operate("POST", f"/marketplace/orders/{code}/{word}")
    line = (await shop.show(code))["line_items"][0]["id"]
    body = {"line_items": [{"id": line, "quantity": 1, "reason": "faulty"}]}
    waiting = asyncio.create_task(market.operate("GET", f"/marketplace/returns?shop_id={shop.id}&wait=30"))
    answer = await market.operate("POST", f"/marketplace/orders/{code}/returns", body, status=201)
    (found,) = (await asyncio.wait_for(waiting, 10))["returns"]
    assert found["code"] == answer["return"]["return_code"]
    path = f"/marketplace/returns/{found['code']}?state={found['state']}&wait=30"
    assert (await market.operate("GET", path))["return"]["state"] == found["state"]


async def test_when_the_time_is_over_the_answer_is_as_without_waiting(market: Market, shop: Shop) -> None:
    code = await shop.place({"A": 1})
    shown = await market.operate("GET", f"/marketplace/orders/{code}?state=accepted&wait=0.05")
    assert shown["order"]["state"] == "open"
    listed = await market.operate("GET", "/marketplace/orders?count=2&wait=0.05")
    assert listed["meta"]["pagination"]["total_results"] == 1


async def test_a_call_does_not_wait_for_a_state_that_is_reached_already(market: Market, shop: Shop) -> None:
    code = await shop.place({"A": 1})
    begun = time.monotonic()
    await market.operate("GET", f"/marketplace/orders/{code}?state=open&wait=30")
    await market.operate("GET", "/readyz?wait=30")
    assert time.monotonic() - begun < 10


async def test_a_process_that_ends_answers_its_waiting_calls(market: Market, shop: Shop) -> None:
    waiting = asyncio.create_task(market.operate("GET", "/marketplace/requests?call=accept&wait=60"))
    await asyncio.sleep(0.05)  # Let the call begin to wait.
    market.marketplace.hang_up()
    assert (await asyncio.wait_for(waiting, 10))["requests"] == []


async def test_a_call_ends_when_its_caller_leaves() -> None:
    left, ended = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, str]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def wait() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 1

    running = asyncio.create_task(run_until_left(receive, wait()))
    left.set()
    assert await asyncio.wait_for(running, 10) is None
    await asyncio.wait_for(ended.wait(), 10)

    async def answer() -> int:
        return 2

    left.clear()
    assert await run_until_left(receive, answer()) == 2


async def test_one_call_too_many_is_answered_at_once(market: Market) -> None:
    waits = Waits(market.marketplace.database, most=1)

    async def read() -> int:
        return 0

    first = asyncio.create_task(waits.wait_until(read, bool, 30))
    await asyncio.sleep(0.05)  # Let it begin to wait.
    assert await asyncio.wait_for(waits.wait_until(read, bool, 30), 10) == 0
    assert not first.done()
    waits.close()
    assert await asyncio.wait_for(first, 10) == 0


WRONG = (
    "orders?wait=-1",
    "orders?wait=61",
    "orders?wait=soon",
    "orders?wait=1&count=0",
    "deliveries?count=many",
    "orders/261124-0000000?state=on_its_way",
)


@pytest.mark.parametrize("path", WRONG)
async def test_a_wrong_parameter_of_waiting_is_refused(market: Market, path: str) -> None:
    answer = await market.operate("GET", f"/marketplace/{path}", status=422)
    assert answer["errors"][0]["code"] == "invalid_parameter"
