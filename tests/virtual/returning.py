"""Delivered orders, and the webhooks of their returns."""

from typing import Any

from tests.market import HttpAnswer, Market, Shop

HOOK = "http://shop/returns"


async def delivered(shop: Shop, **wanted: int) -> str:
    """An order that the customer has got. Gives its code."""
    code = await shop.accepted(wanted or {"A": 2, "B": 1})
    for word in ("hand_over", "deliver"):
        await shop.market.operate("POST", f"/marketplace/orders/{code}/{word}")
    return code


async def request_return(market: Market, code: str, *lines: dict[str, Any], status: int = 201, **more: object) -> Any:
    """A customer sends pieces back; without lines, one piece of the first line, which is faulty."""
    if not lines:
        first = (await market.order(code))["order"]["line_items"][0]["id"]
        lines = ({"id": first, "quantity": 1, "reason": "faulty"},)
    path = f"/marketplace/orders/{code}/returns"
    answer = await market.operate("POST", path, {"line_items": list(lines), **more}, status=status)
    return answer.get("return", answer)


async def operate(market: Market, code: str, word: str, body: object = None, *, status: int = 200) -> Any:
    """What customers and couriers do to a return."""
    answer = await market.operate("POST", f"/marketplace/returns/{code}/{word}", body, status=status)
    return answer.get("return", answer)


async def review(shop: Shop, code: str, **body: object) -> HttpAnswer:
    """The shop's decision."""
    return await shop.call("POST", f"/returns/{code}/review", body)


async def show(shop: Shop, code: str) -> Any:
    """The return as the shop sees it."""
    return (await shop.call("GET", f"/returns/{code}")).json["return"]


async def sent_events(market: Market, url: str = HOOK) -> list[tuple[str, str, set[str]]]:
    """Event type, state and changed fields of each return webhook of a URL, in order."""
    await market.settle()
    return [
        (body["event_type"].removeprefix("merchant_return_"), body["return"]["state"], set(body.get("changes", ())))
        for at, body in market.network.posts
        if at == url and "return" in body
    ]
