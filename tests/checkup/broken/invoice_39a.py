"""It takes VAT off every line of an order by article 39α."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def total_of(self, order: dict[str, Any]) -> float:
        rate = 1.24 if order["invoice_document"] == "invoice_39a" else 1.0
        return super().total_of(order) / rate
