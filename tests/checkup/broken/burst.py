"""It handles two webhooks at a time, and answers further ones with 503."""

import threading
from typing import Any

from tests.checkup.model_shop import Client, ModelShop, wait_a_while


class Broken(ModelShop):
    def __init__(self, client: Client, stock: dict[str, int]) -> None:
        super().__init__(client, stock)
        self._workers = threading.Semaphore(2)

    def receive(self, event: dict[str, Any]) -> int:
        if not self._workers.acquire(blocking=False):
            return 503
        try:
            wait_a_while(0.005)
            return super().receive(event)
        finally:
            self._workers.release()
