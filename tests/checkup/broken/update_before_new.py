"""It makes an order for every new_order, also if an update brought the order before."""

from typing import Any

from tests.checkup.model_shop import Client, ModelShop


class Broken(ModelShop):
    def __init__(self, client: Client, stock: dict[str, int]) -> None:
        super().__init__(client, stock)
        self._announced: set[str] = set()

    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        code = event["order"]["code"]
        mine = self.find(code)
        if kind == "new_order" and code not in self._announced and mine is not None and mine.state != "cancelled":
            self.orders.append(mine)
        if kind == "new_order":
            self._announced.add(code)
        super().on_order(kind, event)
