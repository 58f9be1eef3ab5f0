"""Limits of connections: the size and duration of a request's head, the rate of its body, and the number of
connections. Every server of Kalathi applies them before it checks a token.

The server answers a refused request with the error envelope (docs/contract.md#section-1) and closes its connection.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kalathi.contract.errors import ErrorEntry, ErrorEnvelope
from kalathi.system.limits import raise_file_limit

_log = structlog.get_logger("kalathi.server")

# Open files that are reserved for the database, the log and the connections to shops.
_FILES_OF_ITS_OWN: Final = 256
# Child processes inherit the limit, for example a print command. Some close every possible file when they start.
_MOST_FILES: Final = 65_536
_CHECK_SECONDS: Final = 1.0
_LOG_SECONDS: Final = 60.0
_LINES_A_MINUTE: Final = 10


class Limits(msgspec.Struct, frozen=True):
    """The limits of a server's connections."""

    # Limit of the request line and all headers, and of the bytes between two pieces of a body.
    head_bytes: int = 65_536
    headers: int = 200
    # Measured from the first check of a new connection or of an unfinished head.
    head_seconds: float = 10.0
    # The least rate of a body, averaged over `body_seconds`. Time during which the server paused reading is not
    # counted.
    body_bytes_a_second: int = 500
    body_seconds: float = 10.0
    connections: int = 10_000
    # At the limit of connections, the server closes those with a head that has been unfinished for longer than this.
    patience_seconds: float = 1.0


class Refusal(Enum):
    """A reason to refuse a request: its status, and the code and the message of the envelope."""

    MALFORMED = (HTTPStatus.BAD_REQUEST, "unreadable_body", "The request is not valid HTTP.")
    HEAD_TOO_LARGE = (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head_too_large",
        "The request line and the headers are too large.",
    )
    TOO_SLOW = (HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The request came too slowly.")

    def answer(self) -> bytes:
        """Return the answer with its headers. Its `Request-Id` is in no log, because the request has no path yet."""
        status, code, sentence = self.value
        body = msgspec.json.encode(ErrorEnvelope(errors=[ErrorEntry(code=code, messages=[sentence])]))
        return (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"request-id: {secrets.token_hex(8)}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body


class _Phase(Enum):
    HEAD = auto()
    BODY = auto()
    # Between two requests. uvicorn closes an idle connection after five seconds.
    IDLE = auto()


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits. `limited` creates the class for one server."""

    limits: Limits
    room: "Room"
    _phase: _Phase
    # The time of the first check in the present phase, in seconds of the loop's clock.
    _since: float | None
    _body_bytes: int

    # The base class narrows asyncio's signature in the same way.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # The server is for streams only.
        """Accept the connection, or close it if there are too many."""
        super().connection_made(transport)
        self._begin(_Phase.HEAD)
        self._has_progress = False
        self._has_bytes = False
        self._quiet_bytes = 0
        if len(self.connections) > self.limits.connections and not self.room.make(self.connections, self.loop.time()):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse the bytes. Count those that complete no head and belong to no body, because the parser stores them."""
        self._has_progress = False
        self._has_bytes = True
        self._quiet_bytes += len(data)
        super().data_received(data)
        if self._has_progress:
            self._quiet_bytes = 0
            return
        if self._phase is _Phase.IDLE:
            # The next head begins, or empty lines precede it.
            self._begin(_Phase.HEAD)
        if self._quiet_bytes > self.limits.head_bytes and not self.transport.is_closing():
            self.refuse(Refusal.HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Start the request. Raises ValueError for a head that is too large; this stops the parser."""
        # The received bytes may include a part of the body, so measure the head itself.
        is_large = self._quiet_bytes > self.limits.head_bytes and self._head_bytes() > self.limits.head_bytes
        if is_large or len(self.headers) > self.limits.headers:
            self.refuse(Refusal.HEAD_TOO_LARGE)
            raise ValueError
        self._has_progress = True
        self._begin(_Phase.BODY)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body to the application."""
        self._has_progress = True
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._has_progress = True
        self._phase = _Phase.IDLE
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse malformed HTTP. uvicorn also calls this after an exception in a callback of the parser."""
        if not self.transport.is_closing():
            self.refuse(Refusal.MALFORMED)

    def refuse(self, refusal: Refusal) -> None:
        """Answer with the refusal and close the connection. It is closed without an answer if no request has begun, or
        if the answer to an earlier request is pending."""
        if self._has_bytes and (
            self._is_answered() or (self._phase is _Phase.BODY and not self.cycle.response_started)
        ):
            self.transport.write(refusal.answer())
            self.transport.close()
        else:
            self.transport.abort()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _is_answered(self) -> bool:
        # uvicorn's annotation omits None, the value before the first request.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def check_rate(self, now: float) -> None:
        """Refuse a request that is too slow. `now` is in seconds of the loop's clock. The first check of a head or body
        starts its time; reading the clock for each request cost 2 µs."""
        if self._phase is _Phase.IDLE or self.transport.is_closing():
            return
        if self._since is None:
            self._since = now
            return
        seconds = now - self._since
        if self._phase is _Phase.HEAD:
            if seconds > self.limits.head_seconds and self._is_answered():
                self.refuse(Refusal.TOO_SLOW)
        elif self.flow.read_paused:
            self._begin(_Phase.BODY)
        elif seconds >= self.limits.body_seconds:
            if self._body_bytes < seconds * self.limits.body_bytes_a_second:
                self.refuse(Refusal.TOO_SLOW)
            else:
                self._begin(_Phase.BODY)

    def has_half_a_head(self, now: float) -> bool:
        """Whether its head has been unfinished for longer than `patience_seconds`."""
        since = now if self._since is None else self._since
        return self._phase is _Phase.HEAD and now - since > self.limits.patience_seconds

    def _begin(self, phase: _Phase) -> None:
        self._phase = phase
        self._since = None
        self._body_bytes = 0


class Room:
    """Close connections with an unfinished head when the server is at its limit. Log this at most once a minute."""

    def __init__(self) -> None:
        self._checked_at = self._logged_at = float("-inf")
        self._refused = 0

    def make(self, connections: set[Any], now: float) -> bool:
        """Close connections with an unfinished head, to free their places. Return whether there were any."""
        self._refused += 1
        if now - self._logged_at >= _LOG_SECONDS:
            _log.warning("too_many_connections", connections=len(connections), since_last_line=self._refused)
            self._logged_at, self._refused = now, 0
        if now - self._checked_at < _CHECK_SECONDS / 4:
            return False
        self._checked_at = now
        slow = [each for each in connections if isinstance(each, LimitedProtocol) and each.has_half_a_head(now)]
        for connection in slow:
            connection.transport.abort()
        return bool(slow)


def limit_protocol(limits: Limits) -> type[LimitedProtocol]:
    """Return the protocol of a server with these limits."""
    return type("ServerProtocol", (LimitedProtocol,), {"limits": limits, "room": Room()})


async def watch_rates(connections: set[Any]) -> None:
    """Check all connections once a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        now = loop.time()
        for connection in list(connections):
            if isinstance(connection, LimitedProtocol):
                connection.check_rate(now)


def most_connections() -> int:
    """Raise the process's soft limit of open files to the hard one, and return how many connections that leaves."""
    files = raise_file_limit(_MOST_FILES)
    return max(files - _FILES_OF_ITS_OWN, files // 2)


class JsonHandler(logging.Handler):
    """Write log lines of libraries as JSON, at most ten a minute for each logger, because any caller can cause them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        super().__init__(logging.WARNING)
        self._clock = clock
        self._minute = 0
        self._lines: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it above the limit."""
        minute = int(self._clock() // _LOG_SECONDS)
        if minute != self._minute:
            left_out = {name: count - _LINES_A_MINUTE for name, count in self._lines.items() if count > _LINES_A_MINUTE}
            self._minute, self._lines = minute, {}
            for name, count in left_out.items():
                _log.warning("log_lines_dropped", logger=name, count=count)
        count = self._lines[record.name] = self._lines.get(record.name, 0) + 1
        if count <= _LINES_A_MINUTE:
            exc_info = {"exc_info": record.exc_info} if record.exc_info else {}
            _log.warning("server", logger=record.name, message=record.getMessage(), **exc_info)
