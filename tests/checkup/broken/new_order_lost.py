"""It ignores updates of orders that it does not know."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "new_order" or self.find(event["order"]["code"]) is not None:
            super().on_order(kind, event)
