"""It ignores orders without a city."""

from typing import Any

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def answer(self, mine: ShopOrder, order: dict[str, Any]) -> None:
        if order["customer"]["address"]["city"]:
            super().answer(mine, order)
