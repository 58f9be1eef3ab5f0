"""It lowers prices that have the reduced VAT already."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def total_of(self, order: dict[str, Any]) -> float:
        lines = order["line_items"]
        rates = [1.17 / 1.24 if line["island_vat_discount_applied"] else 1.0 for line in lines]
        return sum(float(line["total_price"]) * rate for line, rate in zip(lines, rates, strict=True))
