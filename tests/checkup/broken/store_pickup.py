"""It cannot handle an order without pickup windows."""

from typing import Any

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def answer(self, mine: ShopOrder, order: dict[str, Any]) -> None:
        order["accept_options"]["pickup_window"][0]
        super().answer(mine, order)
