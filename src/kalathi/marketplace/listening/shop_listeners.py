"""The listeners of one shop that are connected to this process.

The first listener that stands in for the shop's URL *leads*: this process takes the shop's lease
(webhooks/listeners.py) and delivers the shop's webhooks itself, and the leader's answers count as the endpoint's. All
other listeners get copies, which nothing waits for. When the leader disconnects, the next one leads, or the shop's own
URL is used again.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from kalathi.marketplace.kernel.clock import real_millis
from kalathi.marketplace.kernel.due import DueRow
from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.kernel.storage.changes import ChangeSet, StorageError
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.listening.log_tail import LogTail
from kalathi.marketplace.listening.stream import Stream, StreamSender
from kalathi.marketplace.sandbox.fault_rules import FaultRules
from kalathi.marketplace.sandbox.faulty_transport import FaultyTransport
from kalathi.marketplace.webhooks.answer import NO_HEADERS, Answer, SendError
from kalathi.marketplace.webhooks.dispatcher import Transport
from kalathi.marketplace.webhooks.listeners import LEASE_MILLIS, LISTENER_URL, end_lease, take_lease
from kalathi.marketplace.webhooks.log import EventName
from kalathi.marketplace.worker.running import Worker

_log = structlog.get_logger("kalathi.listening")

_POLL_SECONDS: Final = 1.0
# Each read of the log scans the index of the last seconds' events of all shops.
_SHORTEST_PAUSE_SECONDS: Final = 0.1
_RENEW_MILLIS: Final = LEASE_MILLIS // 4


class ShopListeners:
    """The listeners of one shop, from the first to connect until the last has left."""

    def __init__(
        self,
        shop_id: str,
        holder: str,
        database: Database,
        tail: LogTail,
        faults: FaultRules,
        shop_transport: Transport,
        make_worker: Callable[[str, Transport], Worker],
        pause_seconds: Callable[[], float] = lambda: _SHORTEST_PAUSE_SECONDS,
        real: Callable[[], int] = real_millis,
    ) -> None:
        """`holder` names this process. `shop_transport` sends to the shop's own URL the events that no listener wants.
        The log is read again after `pause_seconds`."""
        self._pause_seconds = pause_seconds
        self._shop_id = shop_id
        self._holder = holder
        self._database = database
        self._tail = tail
        self._faults = faults
        self._shop_transport = shop_transport
        self._make_worker = make_worker
        self._real = real
        self._streams: list[Stream] = []
        self._changed = asyncio.Event()
        self._came_or_left = asyncio.Event()
        self._renewed_at = 0
        self._worker: Worker | None = None
        self._working: asyncio.Task[None] | None = None
        self._waiting: list[EventName] = []

    def join(self, stream: Stream) -> None:
        """Add a listener that has connected."""
        self._streams.append(stream)
        self._came_or_left.set()
        self.wake()

    def leave(self, stream: Stream) -> None:
        """Remove a listener that has disconnected."""
        stream.end()
        self._streams.remove(stream)
        self._came_or_left.set()
        self.wake()

    def wake(self) -> None:
        """Read the log now, because there may be new events."""
        self._changed.set()
        if self._worker is not None:
            self._worker.wake()

    async def run(self) -> None:
        """Serve the listeners until the last has left."""
        try:
            while self._streams:
                self._changed.clear()
                try:
                    await self._renew_lease()
                    for stream in list(self._streams):
                        stream.send_role(self._shop_id, answers_count=self._leads(stream))
                    is_all = await self._pass_on()
                except (StorageError, DomainError) as error:
                    _log.warning("listening_interrupted", shop_id=self._shop_id, error=str(error))
                    is_all = True
                if is_all:
                    await self._rest()
        finally:
            with contextlib.suppress(StorageError):
                await self._end_lease()

    async def _rest(self) -> None:
        """Wait for something new. Events of other shops wake this one too, so a pause comes first, which ends only when
        a listener comes or leaves."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._came_or_left.wait(), self._pause_seconds())
        if not self._came_or_left.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _POLL_SECONDS)
        self._came_or_left.clear()

    def prepare_body(self, row: DueRow, event_type: str, body: bytes) -> bytes:
        """Return the bytes to send, to a listener or to the shop's own URL."""
        return self._shop_transport.prepare_body(row, event_type, body)

    async def send(
        self, row: DueRow, event_type: str, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> Answer:
        """Make an attempt: at the leader, else at the shop's own URL."""
        leader = self._leader(event_type)
        if leader is not None:
            transport = FaultyTransport(StreamSender(leader, row, event_type), self._faults)
            return await transport.send(row, event_type, url, body, headers)
        if url == LISTENER_URL:
            return Answer("", None, SendError.NO_URL, b"", 0)
        return await self._shop_transport.send(row, event_type, url, body, headers)

    def _leader(self, event_type: str) -> Stream | None:
        candidates = (one for one in self._streams if not one.is_beside and event_type in one.event_types)
        return next(candidates, None) if self._worker is not None else None

    def _leads(self, stream: Stream) -> bool:
        return any(self._leader(event_type) is stream for event_type in stream.event_types)

    async def _renew_lease(self) -> None:
        """Take, renew or end the lease, and start or stop the worker with it."""
        now = self._real()
        if all(stream.is_beside for stream in self._streams):
            await self._end_lease()
            return
        if self._worker is not None and now < self._renewed_at + _RENEW_MILLIS:
            return
        try:
            has_lease = await self._database.run(lambda view: take_lease(view, self._shop_id, self._holder, now))
        except StorageError:
            if now < self._renewed_at + LEASE_MILLIS - _RENEW_MILLIS:
                return
            has_lease = False
        if not has_lease:
            await self._stop_worker()
            return
        self._renewed_at = now
        if self._worker is None:
            self._worker = self._make_worker(self._shop_id, self)
            self._working = asyncio.create_task(self._worker.run())

    async def _end_lease(self) -> None:
        if self._worker is not None:
            await self._stop_worker()
            await self._database.commit(ChangeSet(end_lease(self._shop_id, self._holder)))

    async def _stop_worker(self) -> None:
        worker, working, self._worker, self._working = self._worker, self._working, None, None
        if worker is not None and working is not None:
            worker.end()
            await working
            await worker.drain()

    async def _pass_on(self) -> bool:
        """Send copies of new events to the listeners that do not lead. Return whether there are no further events."""
        new = await self._tail.read_new()
        # Keep the events until all are processed, because the tail returns each event only once.
        self._waiting = events = [*self._waiting, *new]
        if not events:
            return True
        delivered: set[EventName] = set()
        waiting: list[EventName] = []
        if self._worker is not None:
            led = [event for event in events if self._leader(event.event_type) is not None]
            delivered, waiting = await self._tail.adopt(led)
        wanted = {event: self._copies(event, delivered) for event in events if event not in waiting}
        bodies = await self._tail.bodies(event for event, streams in wanted.items() if streams)
        self._waiting = waiting
        for event, body in bodies.items():
            for stream in wanted[event]:
                stream.copy(event.event_type, event.subject, event.sequence, body)
        return not new

    def _copies(self, event: EventName, delivered: set[EventName]) -> list[Stream]:
        leader = self._leader(event.event_type) if event in delivered else None
        return [stream for stream in self._streams if stream is not leader and event.event_type in stream.event_types]
