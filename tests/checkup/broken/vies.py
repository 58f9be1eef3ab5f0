"""It adds VAT to the prices of an order to an EU company."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def total_of(self, order: dict[str, Any]) -> float:
        rate = 1.24 if order["invoice_document"] == "invoice_vies" else 1.0
        return super().total_of(order) * rate
