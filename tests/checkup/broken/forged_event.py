"""It makes an order from the webhook alone, without its token."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        super().on_order(kind, event)
        if self.find(event["order"]["code"]) is None:
            self.add(event["order"])
