"""Sent orders have exactly the fields and types of the contract's table (section 2), in every state."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.market import Market, Shop, open_market

pytestmark = pytest.mark.anyio

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0[23]:00")


def _timestamp(value: object) -> bool:
    return isinstance(value, str) and TIMESTAMP.fullmatch(value) is not None


def _money(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and round(value, 2) == value


def _of(*kinds: type) -> Callable[[object], bool]:
    return lambda value: type(value) in kinds


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


text, whole, flag, anything = _of(str), _of(int), _of(bool), _of(dict, list)
optional_text = _of(str, type(None))

ALWAYS: dict[str, Callable[[object], bool]] = {
    "code": lambda value: re.fullmatch(r"\d{6}-\d{7}", str(value)) is not None,
    "state": text,
    "customer": anything,
    "invoice": flag,
    "invoice_document": text,
    "uploaded_invoice_file": optional_text,
    "comments": text,
    "courier": optional_text,
    "courier_voucher": optional_text,
    "courier_tracking_codes": _texts,
    "line_items": anything,
    "created_at": _timestamp,
    "expires_at": _timestamp,
    "dispatch_until": _timestamp,
    "express": flag,
    "gift_wrap": flag,
    "fulfilled_by_skroutz": flag,
    "store_pickup": flag,
    "fbs_delivery_note": optional_text,
    "fbs_delivery_note_url": optional_text,
    "commission": _money,
    "fees": lambda value: value == {},
    "payment_method": text,
    "paid_by_user": flag,
    "set_as_ready_required": flag,
    "is_ready_for_dispatch": flag,
    "fulfillment_mode": lambda value: value == "core",
}
OPEN = {"accept_options": anything, "reject_options": anything}
ACCEPTED = {
    "pickup_window": lambda value: set(value) == {"from", "to"} and all(map(_timestamp, value.values())),
    "pickup_address": text,
    "number_of_parcels": whole,
}
LINE: dict[str, Callable[[object], bool]] = {
    "id": lambda value: re.fullmatch(r"\w{10}", str(value)) is not None,
    "shop_uid": text,
    "product_name": text,
    "quantity": whole,
    "unit_price": _money,
    "total_price": _money,
    "price_includes_vat": flag,
    "commission": _money,
    "commission_rate": _money,
    "island_vat_discount_applied": flag,
    "serial_numbers": optional_text,
    "vat_ratio": _money,
}
ADDRESS: dict[str, Callable[[object], bool]] = dict.fromkeys(
    ("street_name", "street_number", "floor", "zip", "city", "region", "country_code"), text
) | {"pickup_from_collection_point": flag}
CUSTOMER = {"id": text, "first_name": text, "last_name": text, "address": anything}


def _exactly(value: dict[str, Any], table: dict[str, Callable[[Any], bool]]) -> None:
    assert set(value) == set(table)
    for name, holds in table.items():
        assert holds(value[name]), f"{name}: {value[name]!r}"


def _is_the_contracts(order: dict[str, Any], more: dict[str, Callable[[Any], bool]]) -> None:
    _exactly(order, ALWAYS | more)
    _exactly(order["customer"], CUSTOMER)
    _exactly(order["customer"]["address"], ADDRESS)
    for line in order["line_items"]:
        reason = {"rejection_reason": text} if "rejection_reason" in line else {}
        _exactly(line, LINE | reason)


async def _orders(market: Market, shop: Shop) -> dict[str, Any]:
    shown = {}
    codes = {name: await shop.cart(A=2, B=1) for name in ("open", "accepted", "rejected", "other", "cancelled")}
    await shop.accept(codes["accepted"])
    line = (await shop.show(codes["rejected"]))["line_items"][0]["id"]
    await shop.call("POST", f"/orders/{codes['rejected']}/reject", {"line_items": [{"id": line, "reason_id": 1}]})
    await shop.call("POST", f"/orders/{codes['other']}/reject", {"rejection_reason_other": "closed"})
    await market.operate("POST", f"/marketplace/orders/{codes['cancelled']}/cancel")
    await market.advance(2)
    for name, code in codes.items():
        shown[name] = await shop.show(code)
    return shown


async def test_an_order_has_exactly_the_fields_and_types_of_the_table_in_every_state(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shown = await _orders(market, await market.shop())
    _is_the_contracts(shown["open"], OPEN)
    _is_the_contracts(shown["accepted"], ACCEPTED)
    _is_the_contracts(shown["rejected"], {})
    _is_the_contracts(shown["other"], {"rejection_info": anything})
    _is_the_contracts(shown["cancelled"], {})
    assert shown["accepted"]["courier_tracking_codes"]
    assert shown["rejected"]["line_items"][0]["rejection_reason"] == "no_stock"


async def test_webhooks_show_the_same_object_as_get(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=2)
        await market.settle()
        shown = await shop.show(code)
        [(_, event)] = market.network.posts
    assert event == {"event_type": "new_order", "event_time": shown["created_at"], "order": shown}


async def test_option_labels_have_the_format_that_clients_parse(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        order = await shop.show(await shop.cart(A=1))
    options = order["accept_options"]
    assert options["number_of_parcels"] == [1, 2, 3]
    assert [entry["label"] for entry in options["pickup_location"]] == ["Σταδίου 1, Τ.Κ. 10562, Αθήνα, Αττική"]
    assert [entry["label"] for entry in options["pickup_window"]] == [
        "12:00 - 15:00, Τρί 24/11/26",
        "15:00 - 18:00, Τρί 24/11/26",
        "09:00 - 12:00, Τετ 25/11/26",
        "12:00 - 15:00, Τετ 25/11/26",
        "15:00 - 18:00, Τετ 25/11/26",
        "09:00 - 12:00, Πέμ 26/11/26",
        "12:00 - 15:00, Πέμ 26/11/26",
        "15:00 - 18:00, Πέμ 26/11/26",
    ]
    reasons = order["reject_options"]["line_item_rejection_reasons"]
    assert [(reason["id"], reason["requires_available_quantity"]) for reason in reasons] == [
        (1, False),
        (2, False),
        (4, True),
        (5, False),
        (6, False),
    ]
    assert reasons[3]["label"].startswith("To "), "the first word is two Latin letters"


async def test_money_is_written_digit_for_digit_and_never_as_text_or_binary_float(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        code = await shop.cart(A=3)
        answer = await shop.call("GET", f"/orders/{code}")
    assert b'"unit_price":10.40,' in answer.body
    assert b'"total_price":31.20,' in answer.body
    assert b'"commission":2.60' in answer.body
