"""It stores the first tracking code."""

from typing import Any

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def tracking_codes_of(self, mine: ShopOrder, order: dict[str, Any]) -> list[str]:
        return list(order["courier_tracking_codes"][:1])
