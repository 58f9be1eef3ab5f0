"""Webhooks through an egress proxy: it gets only checked addresses, and its failures have their own reason."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from kalathi.marketplace.webhooks.answer import SendError
from kalathi.marketplace.webhooks.guard import is_public
from kalathi.marketplace.webhooks.http1.tunnel import parse_proxy
from kalathi.marketplace.webhooks.sending import WebhookSender
from tests.e2e.processes import calling, endpoint, kalathi, running, serve
from tests.e2e.raw_servers import raw_server
from tests.market import until

pytestmark = pytest.mark.anyio


class Proxy:
    """A proxy that knows CONNECT; keeps the heads that it gets."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.answer = b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n"
        self.is_silent = False
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # The other side may hang up at any byte.
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if self.is_silent:
                await reader.read()
            writer.write(self.answer)
            if b" 200 " in self.answer:
                host, _, port = head.split()[1].rpartition(":")
                behind = await asyncio.open_connection(host.strip("[]"), int(port))
                try:
                    await asyncio.gather(_copy(reader, behind[1]), _copy(behind[0], writer))
                finally:
                    behind[1].transport.abort()
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # The other side may hang up at any byte.
        while piece := await reader.read(65_536):
            writer.write(piece)
    writer.close()


@asynccontextmanager
async def _proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    async with raw_server(proxy.serve) as proxy.port:
        yield proxy


@asynccontextmanager
async def _sender(
    proxy_url: str, *, guarded: bool = False, tls: ssl.SSLContext | None = None, seconds: float = 1
) -> AsyncIterator[WebhookSender]:
    sender = WebhookSender(
        user_agent="x",
        timeout_seconds=seconds,
        connections=10,
        allowed=is_public if guarded else None,
        tls=tls,
        proxy=parse_proxy(proxy_url),
    )
    yield sender
    await sender.close()


async def test_the_proxy_gets_a_checked_address_and_its_tunnel_is_reused() -> None:
    async with endpoint() as shop, _proxy() as proxy, _sender(f"http://u:p%40@127.0.0.1:{proxy.port}") as sender:
        url = shop.address.replace("127.0.0.1", "localhost")
        for _ in range(2):
            answer = await sender.post(f"{url}/hook", b"{}")
            assert (answer.status, answer.error) == (200, SendError.NONE)
        assert [request.headers["Host"] for request in shop.requests] == [url.removeprefix("http://")] * 2
        [head] = proxy.heads
        port = shop.address.rsplit(":", 1)[1]
        assert head.splitlines()[0] in {f"CONNECT 127.0.0.1:{port} HTTP/1.1", f"CONNECT [::1]:{port} HTTP/1.1"}
        assert "Proxy-Authorization: Basic dTpwQA==\r\n" in head
        assert "localhost" not in head


async def test_tls_is_the_endpoints_own_through_the_tunnel() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    client = ssl.create_default_context()
    authority.configure_trust(client)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async with raw_server(answer, tls=context) as port, _proxy() as proxy:
        async with _sender(f"http://127.0.0.1:{proxy.port}", tls=client) as sender:
            assert (await sender.post(f"https://localhost:{port}/", b"{}")).status == 200
            assert (await sender.post(f"https://127.0.0.1:{port}/", b"{}")).error is SendError.CERTIFICATE_NAME
        async with _sender(f"http://127.0.0.1:{proxy.port}") as sender:
            assert (await sender.post(f"https://localhost:{port}/", b"{}")).error is SendError.CERTIFICATE


async def test_an_address_that_the_guard_forbids_never_reaches_the_proxy() -> None:
    async with _proxy() as proxy, _sender(f"http://127.0.0.1:{proxy.port}", guarded=True) as sender:
        for url in ("http://127.0.0.1:1/", "http://localhost:1/", "https://10.0.0.1/", "http://[::1]/"):
            assert (await sender.post(url, b"{}")).error is SendError.FORBIDDEN_ADDRESS
        assert proxy.heads == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\n\r\n",
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200",
        b"x" * 100_000,
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_a_proxy_error(answer: bytes) -> None:
    async with endpoint() as shop, _proxy() as proxy, _sender(f"http://127.0.0.1:{proxy.port}") as sender:
        proxy.answer = answer
        if answer == b"HTTP/1.1 200":
            proxy.answer = answer.replace(b" 200", b"  200")
        assert (await sender.post(f"{shop.address}/", b"{}")).error is SendError.PROXY
        assert shop.requests == []


async def test_a_missing_or_silent_proxy_is_not_taken_for_the_endpoint() -> None:
    async with endpoint() as shop, _proxy() as proxy:
        async with _sender("http://127.0.0.1:9") as sender:
            assert (await sender.post(f"{shop.address}/", b"{}")).error is SendError.PROXY
        proxy.is_silent = True
        async with _sender(f"http://127.0.0.1:{proxy.port}") as sender:
            assert (await sender.post(f"{shop.address}/", b"{}")).error is SendError.CONNECT_TIMEOUT
        async with _sender(f"http://127.0.0.1:{proxy.port}", seconds=10) as sender:
            assert (await sender.post(f"{shop.address}/", b"{}")).error is SendError.PROXY


async def test_a_marketplace_sends_through_the_proxy_of_its_setting(tmp_path: Path) -> None:
    async with endpoint() as shop, _proxy() as proxy:
        arguments = serve(tmp_path, "--webhook-proxy", f"http://127.0.0.1:{proxy.port}")
        async with running(tmp_path, *arguments) as market, calling(market.address) as caller:
            shop_id, _ = await caller.shop(f"{shop.address}/hook")
            code = await caller.cart(shop_id)
            await until(lambda: ("new_order", "open") in shop.by_order[code])
        assert len(proxy.heads) == 1
    for wrong in ("socks5://x", "https://proxy", "http://proxy/path", "proxy:3128"):
        status, _, error = await kalathi(
            "serve", "--port", "0", "--data", str(tmp_path / "d"), "--webhook-proxy", wrong
        )
        assert status == 1
        assert "webhook_proxy" in error
        assert len(error.splitlines()) == 1
