"""It ignores the cancellation of a parcel that is ready."""

from typing import Any

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def update(self, mine: ShopOrder, order: dict[str, Any]) -> None:
        if not mine.is_ready:
            super().update(mine, order)
