"""It leaves out orders that are sent in more than ten days."""

from datetime import datetime, timedelta
from typing import Any

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def answer(self, mine: ShopOrder, order: dict[str, Any]) -> None:
        begin, end = (datetime.fromisoformat(order[name]) for name in ("created_at", "dispatch_until"))
        if end - begin < timedelta(days=10):
            super().answer(mine, order)
