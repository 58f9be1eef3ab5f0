"""It does not rely on webhooks: it polls the list of orders, and takes over the changed ones."""

import threading
from typing import Any

from tests.checkup.model_shop import Client, ModelShop

_PAUSE_SECONDS = 0.03


class PollingShop(ModelShop):
    """The model shop with a loop instead of handlers. Returns still come by webhook, because they have no list."""

    def __init__(self, client: Client, stock: dict[str, int]) -> None:
        super().__init__(client, stock)
        self._seen: dict[str, dict[str, Any]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def on_order(self, kind: str, event: dict[str, Any]) -> None:
        """Leave the order to the loop."""

    def _poll(self) -> None:
        while not self._ended.wait(_PAUSE_SECONDS):
            answer = self.client.call("GET", "/orders?per=50")
            for order in answer.content.get("orders", []):
                self._take_over(order)

    def stop(self) -> None:
        super().stop()
        self._ended.set()
        self._thread.join()

    def _take_over(self, order: dict[str, Any]) -> None:
        if self._seen.get(order["code"]) == order:
            return
        try:
            self.take(order["code"])
        except ConnectionError:
            return  # The next round tries again.
        self._seen[order["code"]] = order
