"""All listeners that are connected to this process."""

import asyncio
from collections.abc import Callable
from typing import Final

from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.ids import secret_token
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.listening.log_tail import LogTail
from kalathi.marketplace.listening.shop_listeners import ShopListeners
from kalathi.marketplace.listening.stream import Stream
from kalathi.marketplace.sandbox.fault_rules import FaultRules
from kalathi.marketplace.webhooks.dispatcher import Transport
from kalathi.marketplace.worker.running import Worker

_MOST_STREAMS: Final = 64
_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0


class Listeners:
    """The streams of this process, by shop. At the end call `close`, then `stop`."""

    def __init__(
        self,
        database: Database,
        clock: BusinessClock,
        faults: FaultRules,
        shop_transport: Transport,
        make_worker: Callable[[str, Transport], Worker],
    ) -> None:
        """`make_worker` creates the worker that delivers one shop's webhooks over a transport."""
        self._database = database
        self._clock = clock
        self._faults = faults
        self._shop_transport = shop_transport
        self._make_worker = make_worker
        self._holder = secret_token()
        self._by_shop: dict[str, ShopListeners] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._streams: dict[Stream, str] = {}
        self._is_closed = False
        for table in ("webhook_events", "openings"):
            database.subscribe(table, self.wake)

    def wake(self) -> None:
        """Wake the listeners of all shops, because there may be new events or a new business time."""
        for shop in self._by_shop.values():
            shop.wake()

    def check_room(self) -> None:
        """Raises RATE_LIMITED if too many listeners are connected, UNAVAILABLE at the end of the process."""
        if self._is_closed:
            raise DomainError(ErrorCode.UNAVAILABLE, "The marketplace is stopping. Try again.")
        if len(self._streams) >= _MOST_STREAMS:
            sentence = f"There are {_MOST_STREAMS} listeners already. End one of them first."
            raise DomainError(ErrorCode.RATE_LIMITED, sentence, retry_after_seconds=30)

    def join(self, shop_id: str, stream: Stream) -> None:
        """Add a listener of this shop. It receives its role as soon as that is known."""
        self._streams[stream] = shop_id
        shop = self._by_shop.get(shop_id)
        if shop is None:
            shop = self._by_shop[shop_id] = ShopListeners(
                shop_id,
                self._holder,
                self._database,
                LogTail(self._database, self._clock, shop_id),
                self._faults,
                self._shop_transport,
                self._make_worker,
                self._pause_seconds,
            )
        shop.join(stream)
        if shop_id not in self._running:
            self._running[shop_id] = asyncio.create_task(self._run(shop_id))

    def leave(self, stream: Stream) -> None:
        """Remove a listener that has disconnected."""
        self._by_shop[self._streams.pop(stream)].leave(stream)

    def close(self) -> None:
        """End all streams, because the process is stopping."""
        self._is_closed = True
        for stream in self._streams:
            stream.end()

    async def stop(self) -> None:
        """Remove all listeners, and end the leases. Call it after `close`."""
        for stream in list(self._streams):
            self.leave(stream)
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _pause_seconds(self) -> float:
        """Return the pause between two reads of the log for one shop, in seconds. Up to ten shops together read it ten
        times a second; with more shops, each reads it once a second."""
        return min(_PAUSE_SECONDS * len(self._by_shop), _LONGEST_PAUSE_SECONDS)

    async def _run(self, shop_id: str) -> None:
        shop = self._by_shop[shop_id]
        while True:
            await shop.run()
            # A listener may have joined while the lease of those before it ended.
            if shop_id not in self._streams.values():
                del self._by_shop[shop_id], self._running[shop_id]
                return
