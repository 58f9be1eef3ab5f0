"""It takes an update with expires_at for the end of the order."""

from typing import Any

from tests.checkup.model_shop import Client, ModelShop


class Broken(ModelShop):
    def __init__(self, client: Client, stock: dict[str, int]) -> None:
        super().__init__(client, stock)
        self._ended: set[str] = set()

    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        code = event["order"]["code"]
        if "expires_at" in event.get("changes", {}):
            self._ended.add(code)
        if code not in self._ended:
            super().on_order(kind, event)
