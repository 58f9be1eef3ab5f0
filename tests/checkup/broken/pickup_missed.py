"""It expects a new state in every update that moves the pickup of a packed order."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        changes, mine = event.get("changes", {}), self.find(event["order"]["code"])
        if "pickup_window" in changes and mine is not None and mine.tracking_codes:
            changes["state"]["new"]
        super().on_order(kind, event)
