"""It leaves out orders that are sent in more than ten days."""

from datetime import datetime, timedelta
from typing import Any

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def answer(self, mine: ShopOrder, order: dict[str, Any]) -> None:
        begin, end = order["created_at"], order["dispatch_until"] or order["created_at"]
        if datetime.fromisoformat(end) - datetime.fromisoformat(begin) < timedelta(days=10):
            super().answer(mine, order)
