"""It answers each webhook at once, and does the work in the background, again until it succeeds."""

import queue
import threading
from typing import Any

from tests.checkup.model_shop import Client, ModelShop

_PAUSES = (0.05, 0.1, 0.2, 0.4)


class QueueingShop(ModelShop):
    """A queue in front of the model shop, with two workers."""

    def __init__(self, client: Client, stock: dict[str, int]) -> None:
        super().__init__(client, stock)
        self._queue: queue.Queue[tuple[dict[str, Any], int] | None] = queue.Queue()
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(2)]
        for worker in self._workers:
            worker.start()

    def receive(self, event: dict[str, Any]) -> int:
        self._queue.put((event, 0))
        return 200

    def _work(self) -> None:
        while (taken := self._queue.get()) is not None:
            event, tries = taken
            try:
                super().receive(event)
            except Exception:  # noqa: BLE001  (whatever it was, the work is done again)
                pause = _PAUSES[min(tries, len(_PAUSES) - 1)]
                threading.Timer(pause, self._queue.put, [(event, tries + 1)]).start()

    def stop(self) -> None:
        super().stop()
        for _ in self._workers:
            self._queue.put(None)
        for worker in self._workers:
            worker.join()
