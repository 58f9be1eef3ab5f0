"""It notes a webhook as handled before the work is done."""

import json
from typing import Any

from tests.checkup.model_shop import Client, ModelShop


class Broken(ModelShop):
    def __init__(self, client: Client, stock: dict[str, int]) -> None:
        super().__init__(client, stock)
        self._seen: set[str] = set()

    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        name = json.dumps(event, sort_keys=True)
        if name not in self._seen:
            self._seen.add(name)
            super().on_order(kind, event)
