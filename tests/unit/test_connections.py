"""What a connection may cost: bytes and seconds of a head, the pace of a body, and how many connections there are."""

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
import uvicorn
from uvicorn.server import ServerState

from kalathi.connections import JsonHandler, LimitedProtocol, Limits, limit_protocol, most_connections

pytestmark = pytest.mark.anyio

LIMITS = Limits(head_bytes=1000, headers=20, connections=3)
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Loop:
    """The event loop with a clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        return self.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = self.is_aborted = False
        self.protocol: LimitedProtocol | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += b"" if self.is_closed else bytes(data)

    def close(self) -> None:
        if self.protocol is not None and not self.is_closed:
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)
        self.is_closed = True

    def abort(self) -> None:
        self.close()
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    @property
    def refused(self) -> tuple[int, str] | None:
        """Status and code of the last answer, if the server itself has given it."""
        head, _, body = self.written.rpartition(b"\r\n\r\n")
        if b"connection: close" not in head:
            return None
        return int(head.rpartition(b"HTTP/1.1 ")[2][:3]), json.loads(body)["errors"][0]["code"]


class Server:
    """Connections of one server. Its application answers when the test says so."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.loop = Loop()
        self.answers = asyncio.Event()
        self._state = ServerState()
        self._protocol = limit_protocol(limits)
        self._config = uvicorn.Config(
            self._answer, lifespan="off", log_config=None, http=self._protocol, ws="none", interface="asgi3"
        )
        self._config.load()

    async def _answer(self, _scope: Any, receive: Any, send: Any) -> None:
        await self.answers.wait()
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    def connect(self) -> tuple[LimitedProtocol, Transport]:
        transport = Transport()
        protocol = self._protocol(self._config, self._state, {}, self.loop)  # type: ignore[arg-type]  # A fake event loop.
        transport.protocol = protocol
        protocol.connection_made(transport)
        return protocol, transport

    async def drain(self) -> None:
        """Let the application go on as far as it can."""
        for _ in range(10):
            await asyncio.sleep(0)


HUGE: dict[str, tuple[bytes, bytes]] = {
    "url": (b"GET /", b"a" * 100),
    "name": (b"GET / HTTP/1.1\r\nx", b"a" * 100),
    "value": (b"GET / HTTP/1.1\r\nx: ", b"a" * 100),
    "headers": (b"GET / HTTP/1.1\r\n", b"x: 1\r\n" * 2),
    "blank lines": (b"", b"\r\n" * 50),
    "trailer": (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx: ", b"a" * 100),
    "chunk extension": (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;", b"a" * 100),
}


@pytest.mark.parametrize("kind", HUGE)
async def test_bytes_that_never_become_a_request_are_refused_at_the_limit(kind: str) -> None:
    protocol, transport = Server().connect()
    begin, more = HUGE[kind]
    protocol.data_received(begin)
    sent = 0
    while not transport.is_closed:
        protocol.data_received(more)
        sent += len(more)
        assert sent < 1200, "it goes on"
    assert sent > 800, "within the limit it is read"
    assert transport.refused == (431, "head_too_large")


async def test_every_refusal_of_a_connection_has_an_id_of_its_own() -> None:
    ids = set()
    for begin in (b"no http\r\n\r\n", b"no http\r\n\r\n", b"GET /" + b"a" * 2000):
        protocol, transport = Server().connect()
        protocol.data_received(begin)
        assert transport.refused is not None
        [found] = re.findall(rb"^request-id: ([0-9a-f]+)\r$", transport.written, re.MULTILINE)
        ids.add(found)
    assert len(ids) == 3


@pytest.mark.parametrize("kind", ["url", "name", "value", "headers"])
async def test_a_whole_head_that_is_too_large_is_refused_even_if_it_comes_in_one_piece(kind: str) -> None:
    begin, more = HUGE[kind]
    end = b" HTTP/1.1\r\n\r\n" if kind == "url" else b": 1\r\n\r\n" if kind == "name" else b"\r\n\r\n"
    for repeated, is_refused in ((5, False), (11, True)):
        protocol, transport = Server().connect()
        protocol.data_received(begin + more * repeated + end)
        assert (transport.refused == (431, "head_too_large")) is is_refused, repeated


async def test_bodies_of_many_requests_do_not_count_as_a_head() -> None:
    server = Server()
    server.answers.set()
    protocol, transport = server.connect()
    for number in range(50):
        protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n" + b"b" * 450)
        protocol.data_received(b"b" * 450)
        await server.drain()
        assert transport.written.count(b"HTTP/1.1 204") == number + 1
    protocol.data_received(GET[:10])
    assert not transport.is_closed


async def test_a_large_body_in_one_piece_with_its_head_is_accepted() -> None:
    protocol, transport = Server().connect()
    protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n" + b"b" * 5000)
    assert not transport.is_closed


async def test_an_incomplete_head_is_refused_after_the_time_limit() -> None:
    server = Server()
    protocol, transport = server.connect()
    protocol.data_received(GET[:20])
    protocol.check_rate(0.0)
    protocol.check_rate(10.0)
    assert not transport.is_closed
    protocol.data_received(GET[20:22])
    protocol.check_rate(10.1)
    assert transport.refused == (408, "request_timeout"), "more bytes win no time"


async def test_a_silent_connection_is_closed_without_an_answer() -> None:
    protocol, transport = Server().connect()
    protocol.check_rate(0.0)
    protocol.check_rate(10.1)
    assert (transport.is_aborted, transport.written) == (True, b"")


async def test_the_head_time_limit_does_not_run_while_an_answer_is_pending() -> None:
    server = Server()
    protocol, transport = server.connect()
    protocol.data_received(GET)
    protocol.data_received(GET[:10])
    for second in (0.0, 50.0, 100.0):
        protocol.check_rate(second)
    assert not transport.is_closed, "the application is at fault, not the caller"
    server.answers.set()
    await server.drain()
    assert transport.written.startswith(b"HTTP/1.1 204")
    protocol.check_rate(100.0)
    assert transport.refused == (408, "request_timeout")


async def test_a_body_must_keep_its_pace_unless_the_server_does_not_read() -> None:
    server = Server(Limits(body_bytes_a_second=10, body_seconds=10))
    protocol, transport = server.connect()
    protocol.data_received(b"POST / HTTP/1.1\r\ncontent-length: 900000\r\n\r\n")
    for second in range(1, 40):
        protocol.data_received(b"b" * 11)
        protocol.check_rate(float(second))
    assert not transport.is_closed
    protocol.data_received(b"b" * 200_000)
    assert protocol.flow.read_paused
    for later in (50.0, 60.0, 70.0):
        protocol.check_rate(later)
    assert not transport.is_closed
    server.answers.set()
    await server.drain()
    assert not protocol.flow.read_paused
    protocol.data_received(b"b" * 50)
    protocol.check_rate(71.0)
    protocol.check_rate(80.0)
    assert not transport.is_closed
    protocol.check_rate(81.0)
    assert transport.refused == (408, "request_timeout")


async def test_a_fast_start_does_not_excuse_a_slow_body() -> None:
    protocol, transport = Server(Limits(body_bytes_a_second=10, body_seconds=10)).connect()
    protocol.data_received(b"POST / HTTP/1.1\r\ncontent-length: 9000\r\n\r\n" + b"b" * 5000)
    for second in (0.0, 10.0, 11.0):
        protocol.check_rate(second)
        assert not transport.is_closed
    protocol.check_rate(21.0)
    assert transport.refused == (408, "request_timeout")


async def test_an_invalid_head_or_body_is_refused() -> None:
    for content in (b"\x16\x03\x01\x02\x00", b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnot a size\r\n"):
        protocol, transport = Server().connect()
        protocol.data_received(content)
        assert transport.refused == (400, "unreadable_body")


async def test_no_refusal_is_sent_while_an_earlier_answer_is_pending() -> None:
    server = Server()
    protocol, transport = server.connect()
    protocol.data_received(GET + b"NOT HTTP\r\n\r\n")
    assert (transport.is_aborted, transport.written) == (True, b"")


async def test_at_the_limit_incomplete_requests_are_dropped_and_logged_once() -> None:
    server = Server()
    with structlog.testing.capture_logs() as lines:
        server.answers.set()
        kept, kept_transport = server.connect()
        kept.data_received(GET)
        await server.drain()
        half = [server.connect() for _ in range(2)]
        for protocol, _ in half:
            protocol.check_rate(0.0)
        _, too_many = server.connect()
        assert too_many.is_aborted, "no other connection has waited for long"
        server.loop.seconds = 2.0
        _, next_one = server.connect()
        assert not next_one.is_aborted
        assert all(transport.is_aborted for _, transport in half)
        assert not kept_transport.is_closed
    assert [line["event"] for line in lines] == ["too_many_connections"]


def test_the_limit_of_connections_is_positive() -> None:
    assert most_connections() > 0


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    named = logging.getLogger("tests.of.a.library")
    yield named
    named.handlers = []


def test_log_lines_of_a_library_are_converted_and_rate_limited(logger: logging.Logger) -> None:
    seconds = [0.0]
    logger.handlers, logger.propagate = [JsonHandler(lambda: seconds[0])], False
    with structlog.testing.capture_logs() as lines:
        for number in range(1000):
            logger.warning("Invalid %s", number)
        seconds[0] = 61.0
        logger.warning("later")
        logger.info("nothing")
    assert [line.get("message") for line in lines[:2]] == ["Invalid 0", "Invalid 1"]
    assert lines[-2] == {"event": "log_lines_dropped", "log_level": "warning", "logger": logger.name, "count": 990}
    assert len(lines) == 12
