"""What one connection may cost a server: bytes and seconds of a request's head, the pace of its body, and how many
connections there are. Every server of Kalathi has these limits, before anybody has shown a token.

A refused request gets the error envelope (contract, section 1), and its connection is closed.
"""

import asyncio
import logging
import resource
import time
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kalathi.contract.errors import ErrorEntry, ErrorEnvelope

_log = structlog.get_logger("kalathi.server")

# Files that a server needs for itself: its database, its log, and the connections to shops.
_FILES_OF_ITS_OWN: Final = 256
# Programs that a server starts, such as a print command, inherit the limit, and some close every file up to it.
_MOST_FILES: Final = 65_536
_LOOK_SECONDS: Final = 1.0
_LOG_SECONDS: Final = 60.0
_LINES_A_MINUTE: Final = 10


class Limits(msgspec.Struct, frozen=True):
    """The limits of a server's connections."""

    # The request line and all headers, and what comes between two pieces of a body.
    head_bytes: int = 65_536
    headers: int = 200
    # From the first look at a head, or at a connection from which nothing comes, to the head's end.
    head_seconds: float = 10.0
    # A body must bring this many bytes a second, looked at over so many seconds. A reader that is not asked for more,
    # because the server is still busy with what it has, is not slow.
    body_bytes_a_second: int = 500
    body_seconds: float = 10.0
    connections: int = 10_000
    # If there are too many connections, those that have sent half a head for so long make room.
    patience_seconds: float = 1.0


class Refusal(Enum):
    """Why the server itself refuses a request: the status, the code of the envelope, and the sentence."""

    MALFORMED = (HTTPStatus.BAD_REQUEST, "unreadable_body", "The request is not valid HTTP.")
    HEAD_TOO_LARGE = (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head_too_large",
        "The request line and the headers are too large.",
    )
    TOO_SLOW = (HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The request came too slowly.")

    def answer(self) -> bytes:
        """Return the whole answer."""
        status, code, sentence = self.value
        body = msgspec.json.encode(ErrorEnvelope(errors=[ErrorEntry(code=code, messages=[sentence])]))
        return (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body


class _Phase(Enum):
    HEAD = auto()
    BODY = auto()
    # Between two requests, where uvicorn closes after five seconds.
    IDLE = auto()


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol within limits. `limited` makes the class of a server."""

    limits: Limits
    room: "Room"
    _phase: _Phase
    # The first look at the present phase, by the loop's clock.
    _since: float | None
    _body_bytes: int

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or close it if there are too many."""
        super().connection_made(transport)
        self._begin(_Phase.HEAD)
        self._has_progress = False
        self._has_bytes = False
        self._quiet_bytes = 0
        if len(self.connections) > self.limits.connections and not self.room.make(self.connections, self.loop.time()):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on, and count what is neither a whole head nor a piece of a body: such bytes would be kept."""
        self._has_progress = False
        self._has_bytes = True
        self._quiet_bytes += len(data)
        super().data_received(data)
        if self._has_progress:
            self._quiet_bytes = 0
            return
        if self._phase is _Phase.IDLE:
            # The first bytes of the next head, or empty lines in front of it.
            self._begin(_Phase.HEAD)
        if self._quiet_bytes > self.limits.head_bytes and not self.transport.is_closing():
            self.refuse(Refusal.HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """The parser has a whole head. Raises ValueError if it is too large, with which the parser stops."""
        # Of a large piece only a part is the head.
        is_large = self._quiet_bytes > self.limits.head_bytes and self._head_bytes() > self.limits.head_bytes
        if is_large or len(self.headers) > self.limits.headers:
            self.refuse(Refusal.HEAD_TOO_LARGE)
            raise ValueError
        self._has_progress = True
        self._begin(_Phase.BODY)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """The parser has a piece of a body."""
        self._has_progress = True
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The parser has seen the last byte of a request."""
        self._has_progress = True
        self._phase = _Phase.IDLE
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for what is not HTTP, and after an exception in a callback of the parser."""
        if not self.transport.is_closing():
            self.refuse(Refusal.MALFORMED)

    def refuse(self, refusal: Refusal) -> None:
        """Answer, unless nothing was asked or the answer to an earlier request is still to come, and close."""
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
        # There is none before the first request, which its annotation does not say.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def look(self, now: float) -> None:
        """Refuse what has been slow for too long. `now` is of the loop's clock, in seconds. The first look at a head or
        a body begins its time: to ask the clock for each of them made a request 2 µs longer."""
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
        """Whether it has waited for the rest of a head for longer than the server's patience."""
        since = now if self._since is None else self._since
        return self._phase is _Phase.HEAD and now - since > self.limits.patience_seconds

    def _begin(self, phase: _Phase) -> None:
        self._phase = phase
        self._since = None
        self._body_bytes = 0


class Room:
    """Makes room when there are too many connections, and says so in the log once a minute."""

    def __init__(self) -> None:
        self._looked_at = self._told_at = float("-inf")
        self._refused = 0

    def make(self, connections: set[Any], now: float) -> bool:
        """Close connections that have sent half a head for a while. Return whether there were any."""
        self._refused += 1
        if now - self._told_at >= _LOG_SECONDS:
            _log.warning("too_many_connections", connections=len(connections), since_last_line=self._refused)
            self._told_at, self._refused = now, 0
        if now - self._looked_at < _LOOK_SECONDS / 4:
            return False
        self._looked_at = now
        slow = [one for one in connections if isinstance(one, LimitedProtocol) and one.has_half_a_head(now)]
        for one in slow:
            one.transport.abort()
        return bool(slow)


def limited(limits: Limits) -> type[LimitedProtocol]:
    """Return the protocol of a server with these limits."""
    return type("ServerProtocol", (LimitedProtocol,), {"limits": limits, "room": Room()})


async def look_after(connections: set[Any]) -> None:
    """Look at all connections once a second, until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = loop.time()
        for connection in list(connections):
            if isinstance(connection, LimitedProtocol):
                connection.look(now)


def most_connections() -> int:
    """Raise the process's soft limit of open files to the hard one, and return how many connections that leaves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(files - _FILES_OF_ITS_OWN, files // 2)


class JsonHandler(logging.Handler):
    """Writes the lines of libraries as ours, a few of each logger a minute: strangers cause many of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        super().__init__(logging.WARNING)
        self._clock = clock
        self._minute = 0
        self._lines: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it."""
        minute = int(self._clock() // _LOG_SECONDS)
        if minute != self._minute:
            left_out = {name: count - _LINES_A_MINUTE for name, count in self._lines.items() if count > _LINES_A_MINUTE}
            self._minute, self._lines = minute, {}
            for name, count in left_out.items():
                _log.warning("lines_left_out", logger=name, count=count)
        count = self._lines[record.name] = self._lines.get(record.name, 0) + 1
        if count <= _LINES_A_MINUTE:
            exc_info = {"exc_info": record.exc_info} if record.exc_info else {}
            _log.warning("server", logger=record.name, message=record.getMessage(), **exc_info)
