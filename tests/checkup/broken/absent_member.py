"""It expects every member."""

from typing import Any

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def add(self, order: dict[str, Any]) -> ShopOrder:
        order["fulfillment_mode"]
        return super().add(order)
