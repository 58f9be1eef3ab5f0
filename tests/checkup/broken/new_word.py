"""It knows two payment methods."""

from typing import Any

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def add(self, order: dict[str, Any]) -> ShopOrder:
        {"card": 1, "cash_on_delivery": 2}[order["payment_method"]]
        return super().add(order)
