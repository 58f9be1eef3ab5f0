"""It expects a new state in every update that moves the pickup."""

from typing import Any

from tests.checkup.model_shop import ModelShop


class Broken(ModelShop):
    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        changes = event.get("changes", {})
        if "pickup_window" in changes:
            changes["state"]["new"]
        super().on_order(kind, event)
