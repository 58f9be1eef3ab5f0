"""A body as it was received: nothing is made up, and nothing is left out (docs/contract.md#section-11)."""

import json
from pathlib import Path
from typing import Any

import pytest

from kalathi.contract.orders import OrderBody, OrderList
from kalathi.contract.reading import read
from kalathi.contract.received import read_received
from kalathi.merchant.handing_over import FunctionRecipient, order_body
from tests.unit.test_connector import Shop

pytestmark = pytest.mark.anyio


def test_readable_members_are_normalised_and_others_kept_unchanged() -> None:
    line = {"id": 7, "shop_uid": 405753, "quantity": "2", "total_price": "35,98", "unit_price": 17.99, "new": [1]}
    lines = [line, "lost", {"quantity": 1}]
    order = {"code": 1, "state": "new", "line_items": lines, "courier_tracking_codes": "ABC"}
    found = read_received(read(json.dumps({"order": order, "more": None}).encode(), OrderBody))
    assert found == {
        "more": None,
        "order": {
            "code": "1",
            "state": "new",
            "line_items": [line | {"id": "7", "shop_uid": "405753", "quantity": 2}, "lost", {"quantity": 1}],
            "courier_tracking_codes": ["ABC"],
        },
    }


def test_a_number_that_json_cannot_hold_as_a_float_stays_a_text() -> None:
    body = b'{"order": {"code": "o1", "state": "open", "line_items": [], "commission": 1e999, "new": [-1e999, 1.5]}}'
    order = read_received(read(body, OrderBody))["order"]
    assert json.loads(order_body(order), parse_constant=_refuse)["order"]["new"] == ["-1E+999", 1.5]


def _refuse(constant: str) -> None:
    raise AssertionError(constant)


def test_unreadable_entries_of_a_list_keep_their_places() -> None:
    order: dict[str, Any] = {"state": "open", "line_items": []}
    listed = [{"no": "code"}, {"code": "o1"} | order, None, {"code": 2} | order]
    meta = {"pagination": {"total_results": 4, "total_pages": 1, "page": 1, "per": 25}}
    reading = read(json.dumps({"orders": listed, "meta": meta}).encode(), OrderList)
    assert [entry.code for entry in reading.value.orders] == ["o1", "2"]
    entries = read_received(reading)["orders"]
    assert entries == [{"no": "code"}, {"code": "o1"} | order, None, {"code": "2"} | order]


async def test_an_order_with_an_unreadable_line_is_handed_over_and_reported(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path)
    told: list[dict[str, Any]] = []
    shop.restart(recipient=FunctionRecipient(told.append))
    line = {"shop_uid": "A", "quantity": 1, "total_price": None}
    order = {"code": "o1", "state": "accepted", "line_items": [line, {"id": "x", "shop_uid": "A", "quantity": 1}]}
    shop.order("o1", 1)
    shop.market.spoiled["http://market/merchants/ecommerce/orders/o1"] = json.dumps({"order": order}).encode()
    shop.receive(shop.market.orders["o1"])
    await shop.work()
    assert [content["order"] for content in told] == [order]
    [(_, note)] = shop.inbox.aside()
    assert note == (
        "Order o1: line_items[0] cannot be read: check the order on the marketplace's pages,"
        " and lower the stock of the unreadable lines yourself"
    )
    shop.inbox.close()
