"""It does not rely on webhooks: it reads the list of orders again and again, and takes over what changed."""

import threading
from typing import Any

from tests.checkup.model_shop import Client, ModelShop, wait_a_while

_PAUSE_SECONDS = 0.1


class PollingShop(ModelShop):
    """The model shop with a loop instead of handlers. Returns still come by webhook, because they have no list."""

    def __init__(self, client: Client, stock: dict[str, int]) -> None:
        super().__init__(client, stock)
        self._seen: dict[str, dict[str, Any]] = {}
        threading.Thread(target=self._poll, daemon=True).start()

    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        """Leave the order to the loop."""

    def _poll(self) -> None:
        while True:
            answer = self.client.call("GET", "/orders?per=50")
            for order in answer.content.get("orders", []):
                self._take_over(order)
            wait_a_while(_PAUSE_SECONDS)

    def _take_over(self, order: dict[str, Any]) -> None:
        if self._seen.get(order["code"]) == order:
            return
        try:
            self.take(order["code"])
        except ConnectionError:
            return  # The next round tries again.
        self._seen[order["code"]] = order
