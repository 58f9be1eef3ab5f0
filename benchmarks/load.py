"""Generate load: each keep-alive connection sends a request, waits for the answer, and sends the next request.

The client sends raw bytes with asyncio protocols on uvloop, in a separate process from the server, so that it uses only
a fraction of the server's CPU time.
"""

import asyncio
import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, cast

import uvloop


class Load(NamedTuple):
    """The result of a load."""

    answers: int
    seconds: float
    failures: int
    median_millis: float

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds


class _Caller(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], ends_at: float, ended: "asyncio.Future[None]") -> None:
        self._requests = requests
        self._ends_at = ends_at
        self._ended = ended
        self._buffer = b""
        self._sent_at = 0.0
        self.seconds: list[float] = []
        self.failures = 0

    @property
    def answers(self) -> int:
        return len(self.seconds)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, of the same shape
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        at = head.index(b"content-length:") + 15
        line_end = head.find(b"\r\n", at)
        length = int(head[at : line_end if line_end > 0 else None])
        if len(self._buffer) < head_end + 4 + length:
            return
        self.seconds.append(time.perf_counter() - self._sent_at)
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self.failures += 1
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _next(self) -> None:
        request = next(self._requests, None)
        self._sent_at = time.perf_counter()
        if request is None or self._sent_at > self._ends_at:
            self._transport.close()
        else:
            self._transport.write(request)


async def _run(host: str, port: int, requests: Iterator[bytes], callers: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    protocols = []
    endings = []
    for _ in range(callers):
        ended: asyncio.Future[None] = loop.create_future()
        _, protocol = await loop.create_connection(
            partial(_Caller, requests, started + seconds, ended),
            host,
            port,
        )
        protocols.append(protocol)
        endings.append(ended)
    await asyncio.gather(*endings)
    taken = time.perf_counter() - started
    waits = [second for protocol in protocols for second in protocol.seconds]
    failures = sum(protocol.failures for protocol in protocols)
    return Load(len(waits), taken, failures, statistics.median(waits) * 1000 if waits else 0.0)


def run_load(address: str, requests: Iterator[bytes], *, callers: int = 32, seconds: float = 60.0) -> Load:
    """Send the requests until there are no more or the time is over."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(host, int(port), requests, callers, seconds))
