"""A repeated new_order sets the order back to the state that the webhook shows."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        mine = self.find(event["order"]["code"])
        super().on_order(kind, event)
        if kind == "new_order" and mine is not None and mine.state == "accepted":
            mine.state = event["order"]["state"]
