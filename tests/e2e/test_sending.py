"""Webhooks over real HTTP: what counts as success, redirects, time limits, hostile endpoints."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from kalathi.marketplace.webhooks.answer import SendError
from kalathi.marketplace.webhooks.guard import is_public
from kalathi.marketplace.webhooks.sending import WebhookSender
from tests.e2e.processes import Endpoint, endpoint
from tests.e2e.raw_servers import raw_server

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shop() -> AsyncIterator[Endpoint]:
    async with endpoint() as opened:
        yield opened


@pytest.fixture
async def sender() -> AsyncIterator[WebhookSender]:
    opened = WebhookSender(user_agent="Skroutz OrderNotifier v1", timeout_seconds=0.5, connections=10)
    yield opened
    await opened.close()


def _redirect(status: int, location: str) -> Any:
    return lambda _request: web.Response(status=status, headers={"Location": location})


async def test_a_delivery_is_the_contracts_post_with_the_very_bytes(shop: Endpoint, sender: WebhookSender) -> None:
    body = '{"order": "Ω"}'.encode()
    answer = await sender.post(f"{shop.address}/hook?secret=1", body)
    [request] = shop.requests
    assert answer.delivered
    assert shop.bodies == [body]
    assert (request.method, request.path_qs) == ("POST", "/hook?secret=1")
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert request.headers["User-Agent"] == "Skroutz OrderNotifier v1"
    assert "Authorization" not in request.headers


async def test_with_https_only_no_webhook_is_sent_over_http(shop: Endpoint) -> None:
    strict = WebhookSender(user_agent="x", timeout_seconds=2, connections=10, https_only=True)
    answer = await strict.post(f"{shop.address}/hook", b"{}")
    await strict.close()
    assert (answer.delivered, answer.error) == (False, SendError.INVALID_URL)
    assert shop.requests == []


async def test_a_url_goes_out_as_the_shop_wrote_it(shop: Endpoint, sender: WebhookSender) -> None:
    await sender.post(f"{shop.address}/hook/a%3Db?secret=a%2Fb", b"{}")
    [request] = shop.requests
    assert request.raw_path == "/hook/a%3Db?secret=a%2Fb"


@pytest.mark.parametrize("status", [201, 202, 204, 304, 400, 403, 404, 500, 503])
async def test_only_200_is_success(shop: Endpoint, sender: WebhookSender, status: int) -> None:
    shop.answers["/"] = lambda _request: web.Response(status=status)
    answer = await sender.post(shop.address + "/", b"{}")
    assert (answer.delivered, answer.status, answer.error) == (False, status, SendError.NONE)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_keeps_the_post_and_its_bytes(shop: Endpoint, sender: WebhookSender, status: int) -> None:
    async with endpoint() as other:
        shop.answers["/"] = _redirect(status, f"{other.address}/there")
        answer = await sender.post(shop.address + "/", b'{"a": 1}')
        assert answer.delivered
        assert answer.url == f"{other.address}/there"
        assert [(request.method, request.path) for request in other.requests] == [("POST", "/there")]
        assert other.bodies == [b'{"a": 1}']


async def test_three_redirects_are_followed_and_a_fourth_is_not(shop: Endpoint, sender: WebhookSender) -> None:
    for number in range(3):
        shop.answers[f"/{number}"] = _redirect(302, f"/{number + 1}")
    assert (await sender.post(f"{shop.address}/0", b"{}")).delivered
    shop.answers["/3"] = _redirect(302, "/4")
    assert (await sender.post(f"{shop.address}/0", b"{}")).error is SendError.TOO_MANY_REDIRECTS
    shop.answers["/loop"] = _redirect(302, "/loop")
    assert (await sender.post(f"{shop.address}/loop", b"{}")).error is SendError.TOO_MANY_REDIRECTS


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "http://", "http://[::1"])
async def test_an_invalid_redirect_fails(shop: Endpoint, sender: WebhookSender, location: str) -> None:
    shop.answers["/"] = _redirect(302, location)
    answer = await sender.post(shop.address + "/", b"{}")
    assert not answer.delivered
    assert answer.url.isascii(), "what is recorded can be written down"


async def test_a_redirect_to_undecodable_bytes_fails_with_a_storable_url(sender: WebhookSender) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        address = f"http://127.0.0.1:{port}/".encode()
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: " + address + b"\xff\xfe\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with raw_server(answer) as port:
        outcome = await sender.post(f"http://127.0.0.1:{port}/", b"{}")
    assert (outcome.status, outcome.error) == (302, SendError.INVALID_URL)
    assert outcome.url.encode() == f"http://127.0.0.1:{port}/".encode()


async def test_one_time_limit_covers_an_endpoint_and_its_redirects(shop: Endpoint, sender: WebhookSender) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)  # Each redirect takes a part of the limit.
        return web.Response(status=302, headers={"Location": "/slow"})

    shop.answers["/slow"] = slow
    answer = await sender.post(f"{shop.address}/slow", b"{}")
    assert (answer.status, answer.error) == (None, SendError.TIMEOUT)
    assert 450 <= answer.duration_millis < 2000


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("120", 120), ("999999999999", 86_400), ("Wed, 01 Jan 2020 00:00:00 GMT", 0), ("soon", 0), ("-5", 0), ("٣", 0)],
)
async def test_retry_after_in_seconds_is_reported(
    shop: Endpoint, sender: WebhookSender, asked: str, seconds: int
) -> None:
    shop.answers["/"] = lambda _request: web.Response(status=503, headers={"Retry-After": asked})
    assert (await sender.post(shop.address + "/", b"{}")).retry_after_seconds == seconds


async def test_a_retry_after_date_is_read_in_seconds(shop: Endpoint, sender: WebhookSender) -> None:
    until = formatdate(time.time() + 300, usegmt=True)
    shop.answers["/"] = lambda _request: web.Response(status=429, headers={"Retry-After": until})
    assert 290 < (await sender.post(shop.address + "/", b"{}")).retry_after_seconds <= 300


async def test_an_endpoint_that_drips_its_answer_costs_no_more_than_the_time_limit(sender: WebhookSender) -> None:
    hung_up = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        with contextlib.suppress(ConnectionError):  # The sender hangs up, which is the point.
            for byte in b"HTTP/1.1 200 " + b"x" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        hung_up.set()

    async with raw_server(drip) as port:
        outcome = await sender.post(f"http://127.0.0.1:{port}/", b"{}")
        await hung_up.wait()
    assert (outcome.status, outcome.error) == (None, SendError.TIMEOUT)
    assert outcome.duration_millis < 2000


async def test_user_name_and_password_of_the_url_are_sent(shop: Endpoint, sender: WebhookSender) -> None:
    await sender.post(shop.address.replace("//", "//me:s%C3%A9cret@") + "/", b"{}")
    [request] = shop.requests
    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == "me:sécret".encode()


async def test_only_the_beginning_of_an_endless_answer_is_read(shop: Endpoint, sender: WebhookSender) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        with pytest.raises((ConnectionError, asyncio.CancelledError)):
            while True:
                await response.write(b"x" * 100_000)
        return response

    shop.answers["/"] = endless
    answer = await sender.post(shop.address + "/", b"{}")
    assert answer.status == 500
    assert 0 < len(answer.body) <= 500


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/", {SendError.REFUSED}),
        # A machine without a name server says that it has got no answer.
        ("http://no-such-host.invalid/", {SendError.NO_SUCH_NAME, SendError.NAME_SERVER}),
        ("http://", {SendError.INVALID_URL}),
        ("nonsense", {SendError.INVALID_URL}),
        ("", {SendError.INVALID_URL}),
    ],
)
async def test_a_failed_connection_is_an_outcome_and_no_exception(
    sender: WebhookSender, url: str, words: set[SendError]
) -> None:
    answer = await sender.post(url, b"{}")
    assert answer.status is None
    assert answer.error in words


async def test_no_webhook_goes_to_an_address_that_is_not_public(shop: Endpoint) -> None:
    guarded = WebhookSender(user_agent="x", timeout_seconds=2, connections=10, allowed=is_public)
    port = shop.address.rpartition(":")[2]
    try:
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "127.1", "0"):
            answer = await guarded.post(f"http://{host}:{port}/", b"{}")
            assert not answer.delivered
            assert answer.error in {SendError.FORBIDDEN_ADDRESS, SendError.INVALID_URL}, host
    finally:
        await guarded.close()
    assert shop.requests == []


@pytest.mark.parametrize("there", ["http://127.0.0.2:{port}/", "http://localhost:{port}/"])
async def test_a_redirect_to_a_forbidden_address_is_not_followed(shop: Endpoint, there: str) -> None:
    # The first address that is asked about is the endpoint's own; whatever comes after it is forbidden.
    asked: list[str] = []

    def only_the_first(address: str) -> bool:
        asked.append(address)
        return len(asked) == 1

    first = WebhookSender(user_agent="x", timeout_seconds=2, connections=10, allowed=only_the_first)
    port = shop.address.rpartition(":")[2]
    shop.answers["/go"] = _redirect(302, there.format(port=port))
    try:
        answer = await first.post(f"{shop.address}/go", b"{}")
        assert (answer.delivered, answer.error) == (False, SendError.FORBIDDEN_ADDRESS)
    finally:
        await first.close()
    assert [request.path for request in shop.requests] == ["/go"]
