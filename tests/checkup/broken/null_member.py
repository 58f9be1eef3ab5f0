"""It expects a text wherever a member is present."""

from typing import Any

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def add(self, order: dict[str, Any]) -> ShopOrder:
        for line in order["line_items"]:
            line.get("ean", "").strip()
        return super().add(order)
