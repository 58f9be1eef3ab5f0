"""It trusts the state in the webhook, and takes a refused accept for success."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        order = event["order"]
        mine = self.find(order["code"])
        is_handled = mine is not None and mine.held
        super().on_order(kind, event)
        mine = self.find(order["code"])
        if kind == "new_order" and not is_handled and mine is not None and mine.state == "cancelled":
            self.hold(mine, order)
            mine.state = "accepted"
