"""Returns in a whole marketplace: what they do to their order, and that no piece comes back twice."""

import asyncio
from typing import Any

import pytest

from tests.market import OPERATOR_TOKEN, Market, Shop
from tests.virtual.returning import HOOK, delivered, operate, request_return, review, show

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shop(market: Market) -> Shop:
    return await market.shop(returns_webhook_url=HOOK, returns_webhook_enabled=True)


async def _lines(market: Market, code: str) -> list[str]:
    return [line["id"] for line in (await market.order(code))["order"]["line_items"]]


async def _told_of_order(market: Market, code: str) -> list[dict[str, Any]]:
    await market.settle()
    return [body for _, body in market.network.posts if body.get("order", {}).get("code") == code]


async def test_an_order_keeps_its_state_until_its_return_is_complete(market: Market, shop: Shop) -> None:
    code = await delivered(shop)
    before = await shop.show(code)
    events = len(await _told_of_order(market, code))
    returned = (await request_return(market, code))["return_code"]
    assert await shop.show(code) == before
    await review(shop, returned, option="approve")
    shown = await shop.show(code)
    assert shown == before | {"returns": [{"return_uuid": shown["returns"][0]["return_uuid"], "tracking_ids": []}]}
    await operate(market, returned, "hand_over", {"tracking_ids": ["T1", "T2", "T1"]})
    await operate(market, returned, "arrive")
    assert (await shop.show(code))["state"] == "delivered"
    assert len(await _told_of_order(market, code)) == events, "the contract lists no event for any of this"
    await operate(market, returned, "inspect")
    shown = await shop.show(code)
    assert shown["state"] == "partially_returned"
    assert [line.get("return_reason") for line in shown["line_items"]] == ["faulty", None]
    assert shown["returns"][0]["tracking_ids"] == ["T1", "T2"]
    assert shown["returns"][0]["return_uuid"] != returned
    [event] = (await _told_of_order(market, code))[events:]
    assert event["changes"] == {"state": {"old": "delivered", "new": "partially_returned"}}
    assert event["order"] == shown


async def test_several_returns_bring_every_piece_back_and_end_the_order_as_returned(market: Market, shop: Shop) -> None:
    code = await delivered(shop)
    first, second = await _lines(market, code)
    parts = [(first, 1, "faulty"), (second, 1, "withdrawal"), (first, 1, "delivery_issues")]
    states = []
    for line, quantity, reason in parts:
        asked = await request_return(market, code, {"id": line, "quantity": quantity, "reason": reason})
        if asked["state"] == "pending_merchant_review":
            await review(shop, asked["return_code"], option="approve")
        await operate(market, asked["return_code"], "take_back")
        states.append((await shop.show(code))["state"])
    assert states == ["partially_returned", "partially_returned", "returned"]
    shown = await shop.show(code)
    assert [line.get("return_reason") for line in shown["line_items"]] == ["faulty", "withdrawal"]
    assert len(shown["returns"]) == 3
    refusal = await request_return(market, code, {"id": first, "quantity": 1}, status=422)
    assert refusal["errors"][0] == {"code": "order_status", "messages": ["Order already returned."]}


async def test_only_pieces_of_a_partial_delivery_can_be_returned(market: Market, shop: Shop) -> None:
    code = await shop.accepted({"A": 2, "B": 1})
    first, second = await _lines(market, code)
    await market.operate("POST", f"/marketplace/orders/{code}/hand_over")
    body = {"line_items": [{"id": first, "quantity": 1}]}
    await market.operate("POST", f"/marketplace/orders/{code}/deliver", body)
    for line, quantity in ((second, 1), (first, 2)):
        refusal = await request_return(market, code, {"id": line, "quantity": quantity, "reason": "faulty"}, status=422)
        assert f"{first} (1)" in refusal["errors"][0]["messages"][0]
    asked = await request_return(market, code, {"id": first, "quantity": 1, "reason": "withdrawal"})
    await operate(market, asked["return_code"], "take_back")
    assert (await shop.show(code))["state"] == "returned"


@pytest.mark.parametrize("ending", ["reject", "expire", "cancel", "send_part", "turn_down"])
async def test_a_failed_return_can_be_requested_again(market: Market, shop: Shop, ending: str) -> None:
    code = await delivered(shop, B=1)
    [line] = await _lines(market, code)
    reason = "missing_part" if ending == "send_part" else "faulty"
    returned = (await request_return(market, code, {"id": line, "quantity": 1, "reason": reason}))["return_code"]
    await request_return(market, code, {"id": line, "quantity": 1, "reason": "faulty"}, status=422)
    match ending:
        case "reject":
            await review(shop, returned, option="not_faulty", comment="It works.")
        case "expire":
            await market.advance(72 * 3600)
        case "cancel":
            await operate(market, returned, "cancel")
        case "send_part":
            await review(shop, returned, option="send_missing_part")
        case "turn_down":
            await review(shop, returned, option="approve")
            await operate(market, returned, "arrive")
            await operate(market, returned, "inspect", {"accepted": False})
    states = {"reject": "rejected", "expire": "expired", "turn_down": "rejected"}
    assert (await show(shop, returned))["state"] == states.get(ending, "cancelled")
    assert (await shop.show(code))["state"] == "delivered"
    again = await request_return(market, code, {"id": line, "quantity": 1, "reason": "faulty"})
    assert again["return_code"] != returned


async def test_of_concurrent_returns_only_one_gets_the_last_piece(market: Market, shop: Shop) -> None:
    code = await delivered(shop, B=1)
    [line] = await _lines(market, code)
    path, body = f"/marketplace/orders/{code}/returns", {"line_items": [{"id": line, "quantity": 1}]}
    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    answers = await asyncio.gather(*(market.call("POST", path, body, headers) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201] + [422] * 7
    listed = await shop.call("GET", f"/returns?order_code={code}")
    assert listed.json["meta"]["pagination"]["total_results"] == 1


async def test_of_concurrent_reviews_only_one_succeeds(market: Market, shop: Shop) -> None:
    returned = (await request_return(market, await delivered(shop)))["return_code"]
    answers = await asyncio.gather(
        *(review(shop, returned, option="approve") for _ in range(4)),
        *(review(shop, returned, option="not_faulty", comment="no") for _ in range(4)),
    )
    assert sorted(answer.status for answer in answers) == [200] + [422] * 7
    codes = {answer.json["errors"][0]["code"] for answer in answers if answer.status == 422}
    assert codes == {"return_status"}


async def test_a_review_at_its_deadline_is_too_late(market: Market, shop: Shop) -> None:
    returned = (await request_return(market, await delivered(shop)))["return_code"]
    await market.advance(72 * 3600 - 5)
    assert (await show(shop, returned))["state"] == "pending_merchant_review"
    await market.advance(5)
    assert (await show(shop, returned))["state"] == "expired"
    answer = await review(shop, returned, option="approve")
    assert (answer.status, answer.json["errors"][0]["code"]) == (422, "return_status")
    assert market.network.posts[-1][1]["changes"] == {"state": {"old": "pending_merchant_review", "new": "expired"}}


async def test_a_withdrawal_within_the_policy_travels_back_without_a_review(market: Market, shop: Shop) -> None:
    code = await delivered(shop)
    [line, _] = await _lines(market, code)
    body = {"id": line, "quantity": 1, "reason": "withdrawal"}
    asked = await request_return(market, code, body)
    assert asked["state"] == "returning"
    assert asked["courier"] == "Skroutz Last Mile"
    assert asked["returning_address"]["street_name"] == "Σταδίου"
    assert "review_options" not in asked
    assert len((await shop.show(code))["returns"]) == 1
    await market.advance(14 * 86_400 + 1)
    late = await request_return(market, code, body)
    assert [option["option"] for option in late["review_options"]] == ["approve", "out_of_policy_withdrawal"]


async def test_a_virtual_return_is_reviewed_and_ended_without_a_shipment(market: Market, shop: Shop) -> None:
    code = await delivered(shop)
    asked = await request_return(market, code, virtual=True)
    await review(shop, asked["return_code"], option="approve")
    shown = await show(shop, asked["return_code"])
    assert shown.keys() & {"courier", "returning_address", "courier_tracking_ids"} == set()
    assert "returns" not in await shop.show(code)
    refusal = await operate(market, asked["return_code"], "hand_over", status=422)
    assert refusal["errors"][0]["messages"] == ["A virtual return has no shipment."]
    await operate(market, asked["return_code"], "take_back")
    shown = await shop.show(code)
    assert shown["state"] == "partially_returned"
    assert "returns" not in shown


async def test_returns_are_listed_by_state_and_order_newest_first(market: Market, shop: Shop) -> None:
    other = await market.shop("Other", url=None)
    code, another = await delivered(shop), await delivered(shop)
    codes = []
    for order in (code, another, code):
        codes.append((await request_return(market, order))["return_code"])
        await market.advance(1)
    await request_return(market, await delivered(other))
    await review(shop, codes[0], option="approve")

    async def listed(query: str) -> list[str]:
        answer = await shop.call("GET", f"/returns{query}")
        assert answer.status == 200, answer
        return [entry["return_code"] for entry in answer.json["returns"]]

    assert await listed("") == codes[::-1]
    assert await listed("?state=pending_merchant_review") == [codes[2], codes[1]]
    assert await listed(f"?order_code={code}") == [codes[2], codes[0]]
    assert await listed(f"?state=returning&order_code={another}") == []
    assert await listed("?per=1&page=2") == [codes[1]]
    wrong = await shop.call("GET", "/returns?state=lost")
    assert (wrong.status, wrong.json["errors"][0]["code"]) == (422, "invalid_parameter")
    everything = await market.operate("GET", "/marketplace/returns")
    assert everything["meta"]["pagination"]["total_results"] == 4
    assert len((await market.operate("GET", f"/marketplace/returns?shop_id={other.id}"))["returns"]) == 1


async def test_the_operator_sees_a_returns_decision_and_timeline(market: Market, shop: Shop) -> None:
    code = (await request_return(market, await delivered(shop)))["return_code"]
    detail = await market.operate("GET", f"/marketplace/returns/{code}")
    assert detail["review_until"] == "2026-11-27T10:00:02+02:00"
    await review(shop, code, option="contact_manufacturer", comment=" Ask them. ")
    detail = await market.operate("GET", f"/marketplace/returns/{code}")
    assert detail["decision"] == {
        "option": "contact_manufacturer",
        "comment": "Ask them.",
        "proposed_part_url": None,
    }
    assert [(entry["event"], entry["state"]) for entry in detail["timeline"]] == [
        ("request", "pending_merchant_review"),
        ("refuse", "rejected"),
    ]


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        ((), "Order is not accepted yet."),
        (("accept",), "Order already accepted."),
        (("accept", "hand_over"), "Order already dispatched."),
        (("cancel",), "Order already cancelled."),
    ],
)
async def test_only_a_delivered_order_can_be_returned(
    market: Market, shop: Shop, moves: tuple[str, ...], message: str
) -> None:
    code = await shop.cart(A=1)
    for move in moves:
        if move == "accept":
            await shop.accept(code)
            await market.advance(2)
        else:
            await market.operate("POST", f"/marketplace/orders/{code}/{move}")
    refusal = await request_return(market, code, status=422)
    assert refusal["errors"] == [{"code": "order_status", "messages": [message]}]


@pytest.mark.parametrize(
    "line",
    [
        {"id": "unknown", "quantity": 1},
        {"quantity": 0},
        {"quantity": 3},
        {"reason": "bored"},
        {"photos": ["ftp://x/y"]},
        {"photos": ["nonsense"]},
        {"photos": ["http://[::1"]},
        {"photos": ["http://x/\0"]},
        {"photos": ["https://x/y"] * 11},
        {"comment": 7},
    ],
)
async def test_a_customers_bad_request_changes_nothing(market: Market, shop: Shop, line: dict[str, Any]) -> None:
    code = await delivered(shop)
    first, _ = await _lines(market, code)
    await market.settle()
    before = await market.order(code)
    refusal = await request_return(market, code, {"id": first, "quantity": 1, "reason": "faulty"} | line, status=422)
    assert refusal["errors"][0]["code"] == "invalid_parameter"
    twice = await request_return(market, code, {"id": first, "quantity": 1}, {"id": first, "quantity": 1}, status=422)
    assert twice["errors"][0]["messages"] == ["line_items: name each line once."]
    assert await market.order(code) == before
    assert (await shop.call("GET", "/returns")).json["returns"] == []
