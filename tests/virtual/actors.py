"""What shops, customers, support and couriers do to an order, as they would: by the calls that they have, with options
that are on offer, and now and then with others."""

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from tests.market import OPERATOR_TOKEN, HttpAnswer, Market, Shop


class Known(NamedTuple):
    """An order: its shop, and its state as the shop last saw it."""

    shop: Shop
    shown: dict[str, Any]

    @property
    def code(self) -> str:
        """The order's code."""
        return str(self.shown["code"])


Actor = Callable[[Market, Known, random.Random], Awaitable[HttpAnswer]]


def _operator(word: str) -> Actor:
    async def act(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
        return await _operate(market, known, word, None)

    return act


async def _operate(market: Market, known: Known, word: str, body: object) -> HttpAnswer:
    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    return await market.call("POST", f"/marketplace/orders/{known.code}/{word}", body, headers)


def _shop(word: str) -> Actor:
    async def act(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
        return await known.shop.call("POST", f"/orders/{known.code}/{word}", {})

    return act


async def _accept(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    options = known.shown.get("accept_options") or {"pickup_location": [{"id": 1}], "pickup_window": []}
    body: dict[str, object] = {"pickup_location": chance.choice(options["pickup_location"])["id"]}
    if options["pickup_window"]:
        body["pickup_window"] = chance.choice(options["pickup_window"])["id"]
    body["number_of_parcels"] = chance.choice((1, 1, "2", 3, 4))
    return await known.shop.call("POST", f"/orders/{known.code}/accept", body)


async def _reject(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    """By text, or by lines: of those in limited supply there is one piece left."""
    if chance.random() < 0.3:
        body: dict[str, object] = {"rejection_reason_other": "Κλειστά"}
    else:
        lines = known.shown["line_items"]
        named = chance.sample(lines, chance.randint(1, len(lines)))
        body = {"line_items": [_rejected(line, chance.choice((1, 2, 4, 4, 5, 6))) for line in named]}
    return await known.shop.call("POST", f"/orders/{known.code}/reject", body)


def _rejected(line: dict[str, Any], reason: int) -> dict[str, object]:
    available = {"available_quantity": min(1, line["quantity"] - 1)} if reason == 4 else {}
    return {"id": line["id"], "reason_id": reason, **available}


async def _move_options(known: Known) -> dict[str, Any]:
    answer = await known.shop.call("GET", f"/orders/{known.code}?action_options=1")
    order: dict[str, Any] = answer.json["order"]
    return order


async def _reschedule(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    days = (await _move_options(known))["reschedule_options"] or [{"date": "2026-01-01"}]
    body = {"reschedule_date": chance.choice(days)["date"]}
    return await known.shop.call("POST", f"/orders/{known.code}/reschedule_pickup", body)


async def _relocate(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    places = (await _move_options(known))["relocate_options"] or [{"id": "none"}]
    body = {"pickup_location": chance.choice(places)["id"]}
    return await known.shop.call("POST", f"/orders/{known.code}/relocate_pickup", body)


async def _download(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    url = known.shown["courier_voucher"] or "http://market/vouchers/none/none.pdf"
    return await market.call("GET", url.removeprefix("http://market"))


async def _track(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    details = [{"courier": chance.choice(("acs", "gls", "pigeon")), "tracking_code": str(chance.randrange(10**9))}]
    return await known.shop.call("POST", f"/orders/{known.code}/tracking_details", {"tracking_details": details})


async def _upload(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    content = chance.choice((b"%PDF-1.4", b"\x89PNG\r\n\x1a\n", b"<html>"))
    return await known.shop.upload(known.code, "invoices", "invoice_file", content)


async def _support_moves(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    """To a window that any order is offered now; support sees them in its own page."""
    now = (await market.operate("GET", "/marketplace/clock"))["now"]
    first = int(now[2:10].replace("-", "")) * 10 + 1
    return await _operate(market, known, "reschedule", {"pickup_window": first + chance.choice((0, 1, 2, 10, 11))})


async def _support_rejects(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    return await _operate(market, known, "reject", {"reason": "Ύποπτη παραγγελία"})


async def _extend(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    return await _operate(market, known, "extend", {"hours": chance.choice((1, 24, 72))})


async def _deliver_partly(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    line = known.shown["line_items"][0]
    return await _operate(market, known, "deliver", {"line_items": [{"id": line["id"], "quantity": 1}]})


async def _change_parcels(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    return await _operate(market, known, "change_parcels", {"number_of_parcels": chance.randint(1, 3)})


async def _change_courier(market: Market, known: Known, chance: random.Random) -> HttpAnswer:
    courier = chance.choice(["ACS", "Elta", "Skroutz Last Mile"])
    return await _operate(market, known, "change_courier", {"courier": courier})


ACTORS: Final[dict[str, Actor]] = {
    "accept": _accept,
    "reject": _reject,
    "reschedule_pickup": _reschedule,
    "relocate_pickup": _relocate,
    "set_as_ready": _shop("set_as_ready"),
    "set_as_not_ready": _shop("set_as_not_ready"),
    "request_voucher": _shop("request_voucher"),
    "tracking_details": _track,
    "invoices": _upload,
    "download": _download,
    "cancel": _operator("cancel"),
    "extend": _extend,
    "support_rejects": _support_rejects,
    "support_moves": _support_moves,
    "hand_over": _operator("hand_over"),
    "collect": _operator("collect"),
    "deliver": _operator("deliver"),
    "deliver_partly": _deliver_partly,
    "fail_delivery": _operator("fail_delivery"),
    "bring_back": _operator("bring_back"),
    "change_parcels": _change_parcels,
    "change_courier": _change_courier,
    "miss_pickup": _operator("miss_pickup"),
    "replace": _operator("replace"),
}
