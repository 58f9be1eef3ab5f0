"""Unusual receivers: odd answers, connections that end without notice, TLS failures."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
import trustme

from kalathi.marketplace.webhooks.answer import SendError
from kalathi.marketplace.webhooks.sending import WebhookSender
from tests.e2e.raw_servers import raw_server
from tests.unit.test_answers import ODD

pytestmark = pytest.mark.anyio

Then = Literal["close", "stall", "wait"]
NO_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
async def sender() -> AsyncIterator[WebhookSender]:
    opened = WebhookSender(user_agent="Skroutz OrderNotifier v1", timeout_seconds=0.5, connections=10)
    yield opened
    await opened.close()


class Receiver:
    """Answers as configured; counts connections and requests."""

    def __init__(self, answers: Sequence[bytes], then: Then) -> None:
        self.answers = answers
        self.then = then
        self.port = 0
        self.connections = 0
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = self.answers[min(self.connections, len(self.answers) - 1)]
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # The sender may hang up at any byte.
            while True:
                await reader.readuntil(b"{}")
                self.requests += 1
                writer.write(answer)
                await writer.drain()
                if self.then == "stall":
                    await asyncio.Event().wait()
                if self.then != "wait":
                    break
        writer.close()


@asynccontextmanager
async def receiver(*answers: bytes, then: Then = "close", tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver that answers its connections with these bytes in turn, and then closes, stalls or waits for the next
    request. The last bytes are for all later connections."""
    opened = Receiver(answers, then)
    async with raw_server(opened.serve, tls=tls) as opened.port:
        yield opened


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("odd", ODD)
async def test_the_status_alone_decides_the_outcome(sender: WebhookSender, odd: str, status: int) -> None:
    async with receiver(b"HTTP/1.1 %d X\r\n%b" % (status, ODD[odd])) as there:
        answer = await sender.post(there.url, b"{}")
    assert (answer.status, answer.error, there.requests) == (status, SendError.NONE, 1)
    assert answer.delivered is (status == 200)


@pytest.mark.parametrize(
    "rest", [b"", b"X: 1\r\n", b"Content-Length: 5\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n5\r\nok", b"\r\n"]
)
async def test_a_200_whose_rest_stalls_is_delivered(sender: WebhookSender, rest: bytes) -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\n" + rest, then="stall") as there:
        answer = await sender.post(there.url, b"{}")
        assert (answer.delivered, answer.status) == (True, 200)
    assert answer.duration_millis < 3000


async def test_the_rest_of_an_answer_has_a_shorter_time_limit() -> None:
    patient = WebhookSender(user_agent="x", timeout_seconds=60, connections=10)
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", then="stall") as there:
        answer = await patient.post(there.url, b"{}")
    await patient.close()
    assert (answer.delivered, answer.body) == (True, b"ok")
    assert 1900 < answer.duration_millis < 10_000


async def test_a_connection_is_reused_for_the_next_webhook(sender: WebhookSender) -> None:
    async with receiver(NO_BODY, then="wait") as there:
        for _ in range(5):
            assert (await sender.post(there.url, b"{}")).delivered
        assert (there.connections, there.requests) == (1, 5)
        answers = await asyncio.gather(*(sender.post(there.url, b"{}") for _ in range(3)))
        assert all(answer.delivered for answer in answers)
        assert (there.connections, there.requests) == (3, 8)
        await sender.close()


@pytest.mark.parametrize("odd", ["a surplus body", "two lengths", "a folded header", "length and chunks"])
async def test_a_connection_with_an_odd_answer_is_not_reused(sender: WebhookSender, odd: str) -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\n" + ODD[odd], then="wait") as there:
        for _ in range(2):
            assert (await sender.post(there.url, b"{}")).delivered
        assert (there.connections, there.requests) == (2, 2)
        await sender.close()


async def test_bytes_between_two_webhooks_are_not_read_as_an_answer(sender: WebhookSender) -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    hung_up: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hung_up.append(asyncio.Event())
        event = hung_up[-1]
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # The sender may hang up at any byte.
            await reader.readuntil(b"{}")
            writer.write(NO_BODY)
            await writer.drain()
            await answered.wait()
            writer.write(late)
            await reader.readuntil(b"{}")
        event.set()
        writer.close()

    answered = asyncio.Event()
    async with raw_server(serve) as port:
        url = f"http://127.0.0.1:{port}/"
        assert (await sender.post(url, b"{}")).delivered
        answered.set()
        async with asyncio.timeout(2):  # Sooner than an idle connection is closed anyway.
            await hung_up[0].wait()
        assert (await sender.post(url, b"{}")).status == 200
        assert len(hung_up) == 2
        await sender.close()


async def test_a_connection_closed_without_notice_costs_no_attempt(sender: WebhookSender) -> None:
    async with receiver(NO_BODY) as there:
        for _ in range(60):
            assert (await sender.post(there.url, b"{}")).delivered
        assert (there.connections, there.requests) == (60, 60)


async def test_a_lost_reused_connection_is_replaced_once_a_new_one_never() -> None:
    sender = WebhookSender(user_agent="x", timeout_seconds=5, connections=10)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(1)
        await reader.readuntil(b"{}")
        if len(asked) == 1:
            writer.write(NO_BODY)
            await reader.readuntil(b"{}")  # The second request arrives, and the connection ends without a byte.
        writer.close()

    asked: list[int] = []
    async with raw_server(serve) as port:
        url = f"http://127.0.0.1:{port}/"
        assert (await sender.post(url, b"{}")).delivered
        answer = await sender.post(url, b"{}")
        assert (answer.status, answer.error, len(asked)) == (None, SendError.RESET, 2)
        await sender.close()


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"", SendError.RESET),
        (b"220 mail.example ESMTP\r\n", SendError.UNREADABLE_ANSWER),
        (b"HTTP/1.1 ", SendError.UNREADABLE_ANSWER),
        (b"\x15\x03\x01\x00\x02\x02\x16", SendError.TLS_EXPECTED),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000, SendError.UNREADABLE_ANSWER),
    ],
)
async def test_an_invalid_answer_has_its_own_error(sender: WebhookSender, answer: bytes, word: SendError) -> None:
    async with receiver(answer) as there:
        outcome = await sender.post(there.url, b"{}")
    assert (outcome.status, outcome.error, there.requests) == (None, word, 1)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


def _context(authority: trustme.CA, name: str, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **options).configure_cert(context)
    return context


def _secure_sender(authority: trustme.CA | None) -> WebhookSender:
    trusted = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(trusted)
    return WebhookSender(user_agent="x", timeout_seconds=5, connections=10, tls=trusted)


async def test_a_webhook_over_tls_names_the_host_and_keeps_the_connection(authority: trustme.CA) -> None:
    sender = _secure_sender(authority)
    for name in ("localhost", "127.0.0.1"):
        async with receiver(NO_BODY, then="wait", tls=_context(authority, name)) as there:
            for _ in range(2):
                answer = await sender.post(f"https://{name}:{there.port}/", b"{}")
                assert (answer.delivered, answer.error) == (True, SendError.NONE)
            assert there.connections == 1
            await sender.close()
        sender = _secure_sender(authority)
    await sender.close()


async def test_each_tls_failure_has_its_own_error(authority: trustme.CA) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    # What a server of TLS 1.1 answers to a client that begins with 1.2: a fatal alert, protocol_version.
    too_old = b"\x15\x03\x01\x00\x02\x02\x46"
    cases: list[tuple[trustme.CA | None, ssl.SSLContext | bytes, SendError]] = [
        (None, _context(authority, "localhost"), SendError.CERTIFICATE),
        (authority, _context(authority, "other.example"), SendError.CERTIFICATE_NAME),
        (authority, _context(authority, "localhost", not_after=past), SendError.CERTIFICATE_EXPIRED),
        (authority, too_old, SendError.TLS_VERSION),
        (authority, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", SendError.NOT_TLS),
    ]
    for trusted, server, word in cases:
        sender = _secure_sender(trusted)
        async with talking(server) as port:
            answer = await sender.post(f"https://localhost:{port}/", b"{}")
        await sender.close()
        assert (answer.status, answer.error) == (None, word)


@asynccontextmanager
async def talking(server: ssl.SSLContext | bytes) -> AsyncIterator[int]:
    """A TLS server, or one that answers every request with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):  # The sender may have hung up.
            await reader.read(100)
            writer.write(server if isinstance(server, bytes) else b"")
            await writer.drain()
        writer.close()

    tls = None if isinstance(server, bytes) else server
    async with raw_server(serve, tls=tls) as port:
        yield port
