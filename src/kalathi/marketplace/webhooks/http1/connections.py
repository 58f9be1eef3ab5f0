"""Connections that carry one request at a time, and the pool of those that are kept for the next one."""

import asyncio
import time
from collections import OrderedDict
from typing import Final, cast

from kalathi.marketplace.webhooks.http1.responses import AnswerReader

# The time limit for the rest of the answer after the status line. The rest is for the log only.
_REST_SECONDS: Final = 2.0
# Many servers close a connection that was idle for 5 s or more. A request that is sent at that moment gets no answer.
_IDLE_SECONDS: Final = 4.0


class NoAnswerError(ConnectionError):
    """The connection ended before the first byte of an answer."""


class RequestBatch:
    """The requests of one turn of the event loop. The first one is written at once, the others together at the end.

    A receiver that is busy with one request finds the next ones without being woken again. This saves a tenth of a
    delivery here, and two fifths of the receiver's time.
    """

    def __init__(self) -> None:
        """Must be made on a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._has_begun = False
        self._requests: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, request: bytes) -> None:
        """Write the request to its connection, at the end of this turn at the latest."""
        if self._has_begun:
            self._requests.append((transport, request))
            return
        self._has_begun = True
        self._loop.call_soon(self._write_all)
        transport.write(request)

    def _write_all(self) -> None:
        self._has_begun = False
        requests, self._requests = self._requests, []
        for transport, request in requests:
            if not transport.is_closing():
                transport.write(request)


class Connection(asyncio.Protocol):
    """One connection. `exchange` may be called again while `is_open`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._rest: asyncio.TimerHandle | None = None
        self.reader = AnswerReader()
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes, batch: RequestBatch) -> AnswerReader:
        """Send a request with this batch, and return its answer, at least its status line.

        Raises NoAnswerError, ConnectionError. If the caller is cancelled, `reader` keeps the bytes received so far.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise NoAnswerError
        self.reader = reader = AnswerReader()
        self._waiter = self._loop.create_future()
        batch.write(transport, request)
        try:
            await self._waiter
        except BaseException:
            transport.abort()
            raise
        finally:
            self._waiter = None
            if self._rest is not None:
                self._rest.cancel()
                self._rest = None
        if not reader.may_be_kept:
            transport.abort()
        return reader

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it.

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._waiter is None or self._waiter.done():
            self.close()  # Unexpected bytes between two requests.
            return
        reader = self.reader
        reader.feed(data)
        if reader.is_done:
            self._waiter.set_result(None)
        elif reader.status is not None and self._rest is None:
            self._rest = self._loop.call_later(_REST_SECONDS, self._give_up_rest)

    def eof_received(self) -> None:
        """Called by the event loop."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._end(exc)

    def _give_up_rest(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self.reader.end()
            self._waiter.set_result(None)

    def _end(self, error: Exception | None) -> None:
        if self._waiter is None or self._waiter.done():
            return
        self.reader.end()
        if self.reader.has_begun:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(error if isinstance(error, OSError) else NoAnswerError())


class Pool:
    """Open connections that wait for the next request to the same place."""

    def __init__(self, most: int) -> None:
        """`most` connections wait at one time. Must be made on a running event loop."""
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._sweeping: asyncio.TimerHandle | None = None
        # By id of the connection, the longest idle one first. In `_by_place`, the last used one comes last.
        self._idle: OrderedDict[int, tuple[object, Connection]] = OrderedDict()
        self._by_place: dict[object, list[Connection]] = {}

    def take(self, place: object) -> Connection | None:
        """Return an idle connection to this place, or None."""
        kept = self._by_place.get(place)
        oldest = time.monotonic() - _IDLE_SECONDS
        while kept:
            connection = kept.pop()
            del self._idle[id(connection)]
            if not kept:
                del self._by_place[place]
            if connection.is_open and connection.idle_since >= oldest:
                return connection
            connection.close()
        return None

    def keep(self, place: object, connection: Connection) -> None:
        """Keep a connection for the next request. If the pool is full, close the connection that has been idle
        longest."""
        if not connection.is_open:
            return
        connection.idle_since = time.monotonic()
        self._by_place.setdefault(place, []).append(connection)
        self._idle[id(connection)] = (place, connection)
        if len(self._idle) > self._most:
            self._drop_oldest()
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(_IDLE_SECONDS, self._sweep)

    def close(self) -> None:
        """Close all idle connections."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        while self._idle:
            self._drop_oldest()

    def _sweep(self) -> None:
        """Close connections that were idle for too long."""
        oldest = time.monotonic() - _IDLE_SECONDS
        while self._idle and next(iter(self._idle.values()))[1].idle_since <= oldest:
            self._drop_oldest()
        self._sweeping = self._loop.call_later(_IDLE_SECONDS, self._sweep) if self._idle else None

    def _drop_oldest(self) -> None:
        _, (place, connection) = self._idle.popitem(last=False)
        kept = self._by_place[place]
        kept.remove(connection)
        if not kept:
            del self._by_place[place]
        connection.close()
