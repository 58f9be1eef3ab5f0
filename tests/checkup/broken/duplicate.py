"""Its check for duplicates sees an order only once a background job has stored it."""

import time
from typing import Any

from tests.checkup.model_shop import Client, ModelShop


class Broken(ModelShop):
    def __init__(self, client: Client, stock: dict[str, int]) -> None:
        super().__init__(client, stock)
        self._handled_at: dict[str, float] = {}

    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        code = event["order"]["code"]
        if kind == "new_order" and time.monotonic() - self._handled_at.get(code, 0.0) < 0.03:
            self.orders.append(self.orders[-1])
        super().on_order(kind, event)
        if kind == "new_order":
            self._handled_at.setdefault(code, time.monotonic())
