"""A small shop: it takes the marketplace's webhooks, counts its stock, and accepts or rejects orders.

    MARKETPLACE_URL=http://127.0.0.1:8090 MARKETPLACE_TOKEN=... uvicorn shop:app --port 8000

`test_shop.py` tests it against a marketplace of its own: `pytest examples/fastapi_shop`. A real shop keeps its stock in
a database and answers a webhook before it does the work; `kalathi merchant` does both (docs/connect-your-shop.md).
"""

import os
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from kalathi.contract.orders import LineItem, Order
from kalathi.contract.requests import RejectedLine
from kalathi.contract.words import LIMITED_STOCK_REASON_ID, NO_STOCK_REASON_ID
from kalathi.merchant import Client, MarketplaceError


class Shop:
    """The stock, and the client with which the shop answers orders."""

    def __init__(self, client: Client, stock: Mapping[str, int]) -> None:
        """`stock` has the pieces by `shop_uid`."""
        self.stock = dict(stock)
        self._client = client

    def answer(self, code: str) -> None:
        """Accept or reject an order. It is read again first, because a webhook can be old, repeated or forged."""
        order = self._client.order(code)
        options = order.accept_options
        if order.state != "open" or not options:
            return
        missing = [line for line in order.line_items if self._available(line) < line.quantity]
        if missing:
            self._client.reject_lines(code, [self._reject(line) for line in missing])
            return
        # The pieces are taken first, so that another order cannot get them while the marketplace answers.
        self._move(order, -1)
        window = options.pickup_window[0].id if options.pickup_window else None
        try:
            self._client.accept(code, options.pickup_location[0].id, window)
        except MarketplaceError:
            self._move(order, +1)
            raise

    def _available(self, line: LineItem) -> int:
        return self.stock.get(line.shop_uid, 0)

    def _reject(self, line: LineItem) -> RejectedLine:
        available = self._available(line)
        if available:
            return RejectedLine(id=line.id, reason_id=LIMITED_STOCK_REASON_ID, available_quantity=available)
        return RejectedLine(id=line.id, reason_id=NO_STOCK_REASON_ID)

    def _move(self, order: Order, direction: int) -> None:
        for line in order.line_items:
            self.stock[line.shop_uid] += direction * line.quantity


def make_app(shop: Shop) -> FastAPI:
    """Return the shop's web application."""
    app = FastAPI()

    @app.post("/webhooks")
    def receive(event: dict[str, Any]) -> dict[str, bool]:
        """Take a webhook. The shop has nothing to do for other events than new orders."""
        if event.get("event_type") == "new_order":
            shop.answer(event["order"]["code"])
        return {"received": True}

    return app


if "MARKETPLACE_TOKEN" in os.environ:
    app = make_app(Shop(Client(os.environ["MARKETPLACE_URL"], os.environ["MARKETPLACE_TOKEN"]), {"BOOK-1": 3}))
