"""Both clients over real HTTP: redirects, `.netrc`, proxies, and what is handed over, on servers of this machine."""

import asyncio
import base64
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kalathi.contract.signatures import secret_text, verify
from kalathi.merchant import AsyncClient, Client, RedirectedError, UnreachableError
from kalathi.merchant.client.network import AsyncNetwork, Network
from kalathi.merchant.client.redirects import MOST_STEPS
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.handing_over import HandoverError, HttpRecipient
from kalathi.merchant.sources import SourceRangesError, fetch_ranges
from kalathi.merchant.stock import HttpStock
from tests.unit.test_client import CALLS, READS

TOKEN = {"Authorization": "Bearer secret"}
STATUSES = (301, 302, 303, 307, 308)


class Received(NamedTuple):
    """A request that has arrived."""

    method: str
    path: str
    authorization: str | None
    body: bytes
    headers: dict[str, str]


class Site:
    """A local server that redirects as configured, answers everything else with 200, and records requests."""

    def __init__(self) -> None:
        self.heard: list[Received] = []
        self.redirect: Callable[[str, str], tuple[int, str | None] | None] = lambda method, path: None
        self.content = b'{"success": true}'
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                authorization = self.headers.get("Authorization")
                headers = {name.lower(): value for name, value in self.headers.items()}
                site.heard.append(Received(self.command, self.path, authorization, body, headers))
                redirect = site.redirect(self.command, self.path)
                content = b"moved" if redirect else site.content
                self.send_response(redirect[0] if redirect else 200)
                if redirect and redirect[1] is not None:
                    self.send_header("Location", redirect[1])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = answer  # noqa: N815  (the names that the server looks for)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    opened = Site()
    yield opened
    opened.close()


@pytest.fixture
def other() -> Iterator[Site]:
    opened = Site()
    yield opened
    opened.close()


def _send_sync(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, uses_proxy: bool = False
) -> HttpAnswer:
    network = Network(10.0, uses_proxy=uses_proxy)
    try:
        return network.send(method, url, headers, body)
    finally:
        network.close()


def _send_async(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, uses_proxy: bool = False
) -> HttpAnswer:
    async def send() -> HttpAnswer:
        network = AsyncNetwork(10.0, uses_proxy=uses_proxy)
        try:
            return await network.send(method, url, headers, body)
        finally:
            await network.close()

    return asyncio.run(send())


Send = Callable[[str, str, Mapping[str, str], bytes | None], HttpAnswer]
both = pytest.mark.parametrize("send", [_send_sync, _send_async], ids=["sync", "async"])


@both
@pytest.mark.parametrize("to_another", [False, True], ids=["same", "other"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize("status", STATUSES)
def test_only_redirects_that_keep_method_and_secrets_are_followed(
    site: Site, other: Site, send: Send, status: int, method: str, to_another: bool
) -> None:
    target = other if to_another else site
    site.redirect = lambda _, path: (status, f"{target.url}/new?page=2") if path == "/old" else None
    body = None if method == "GET" else b"\x00body"
    follows = method == "GET" or status in {307, 308}
    for headers in ({}, TOKEN):
        site.heard.clear()
        other.heard.clear()
        if follows and not (to_another and headers):
            assert send(method, site.url + "/old", headers, body).status == 200
            arrived = (*site.heard, *other.heard)
            assert [(heard.method, heard.path) for heard in arrived] == [(method, "/old"), (method, "/new?page=2")]
            assert {heard.body for heard in arrived} == {body or b""}
            assert {heard.authorization for heard in arrived} == {headers.get("Authorization")}
        else:
            with pytest.raises(RedirectedError) as refused:
                send(method, site.url + "/old", headers, body)
            told = str(refused.value)
            assert f"{site.url}/old redirects to {target.url}/new ({status})" in told
            assert "page" not in told
            assert not refused.value.may_pass
            assert [heard.path for heard in site.heard] == ["/old"]
            assert other.heard == []


@both
def test_invalid_and_endless_redirects_raise_redirected_error(site: Site, send: Send) -> None:
    for location in (None, "", "http://[broken", "http://a:99999/"):
        site.redirect = lambda _, __, where=location: (302, where)  # type: ignore[misc]
        with pytest.raises(RedirectedError, match="names no address that can be read"):
            send("GET", site.url + "/x", {}, None)
    site.heard.clear()
    site.redirect = lambda _, path: (302, "/y" if path == "/x" else "/x")
    with pytest.raises(RedirectedError, match=f"{site.url}/x redirects more than 5 times"):
        send("GET", site.url + "/x", {}, None)
    assert len(site.heard) == 1 + MOST_STEPS
    site.redirect = lambda _, path: (302, f"/{int(path[1:]) + 1}") if path < "/5" else None
    assert send("GET", site.url + "/0", TOKEN, None).status == 200
    assert [heard.path for heard in site.heard][-1] == "/5"
    assert site.heard[-1].authorization == "Bearer secret"


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@both
@pytest.mark.parametrize("variable", ["HOME", "NETRC"])
def test_a_netrc_neither_adds_nor_replaces_a_header(site: Site, send: Send, tmp_path: Path, variable: str) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\ndefault login someone password else\n", "utf-8")
    netrc.chmod(0o600)
    site.redirect = lambda _, path: (307, "/new") if path == "/old" else None
    with _environment(**{variable: str(tmp_path if variable == "HOME" else netrc)}):
        for headers in ({}, TOKEN):
            site.heard.clear()
            send("GET", site.url + "/old", headers, None)
            send("POST", site.url + "/old", headers, b"{}")
            assert [heard.authorization for heard in site.heard] == [headers.get("Authorization")] * 4


def test_an_environments_proxy_is_used_on_request_and_never_locally(site: Site, other: Site) -> None:
    # In processes of their own: the HTTP library reads the environment once.
    for kind in ("sync", "async"):
        script = (
            "import pytest\n"
            "from kalathi.merchant import UnreachableError\n"
            f"from tests.e2e.test_transport import _send_{kind} as send\n"
            "assert send('GET', 'http://market.invalid/x', {}, None, uses_proxy=True).status == 200\n"
            f"assert send('GET', '{other.url}/y', {{}}, None, uses_proxy=True).status == 200\n"
            f"assert send('GET', '{other.url.replace('127.0.0.1', 'localhost')}/y', {{}}, None).status == 200\n"
            "with pytest.raises(UnreachableError):\n"
            "    send('GET', 'http://market.invalid/x', {}, None)\n"
        )
        variables = {**os.environ, "http_proxy": site.url, "no_proxy": ""}
        subprocess.run([sys.executable, "-c", script], env=variables, cwd=Path(__file__).parents[2], check=True)
    assert [heard.path for heard in site.heard] == ["http://market.invalid/x"] * 2
    assert [heard.path for heard in other.heard] == ["/y"] * 4


@both
def test_a_password_in_the_address_is_sent_as_before(site: Site, send: Send) -> None:
    site.redirect = lambda _, path: (302, "/new") if path == "/old" else None
    send("GET", site.url.replace("//", "//shop:pass@") + "/old", {}, None)
    basic = "Basic " + base64.b64encode(b"shop:pass").decode()
    assert [heard.authorization for heard in site.heard] == [basic, basic]


def _call_sync(url: str, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    with Client(url, "secret") as client:
        return getattr(client, name)(*arguments, **named)


def _call_async(url: str, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    async def call() -> Any:
        async with AsyncClient(url, "secret") as client:
            return await getattr(client, name)(*arguments, **named)

    return asyncio.run(call())


Call = Callable[[str, str, tuple[Any, ...], dict[str, Any]], Any]
both_clients = pytest.mark.parametrize("call", [_call_sync, _call_async], ids=["sync", "async"])


@both_clients
def test_every_call_reports_a_moved_marketplace_without_sending_a_token(site: Site, other: Site, call: Call) -> None:
    site.redirect = lambda _, path: (301, other.url + path)
    asked = [(name, arguments, named) for name, arguments, named, *_ in (*CALLS, *READS)]
    asked += [("upload_invoice", ("o1", b"%PDF"), {}), ("upload_credit_invoice", ("o1", b"%PDF"), {}),
              ("orders", (), {"state": "open"}), ("order_codes", (), {}), ("return_requests", (), {})]  # fmt: skip
    for name, arguments, named in asked:
        with pytest.raises(RedirectedError) as refused:
            call(site.url + "/", name, arguments, named)
        assert str(refused.value) == (
            f"the marketplace's address {site.url} redirects to {other.url} (301): give that address with --url"
        ), name
        assert refused.value.new_base_url == other.url
        assert refused.value.is_marketplace
    assert len(site.heard) == len(asked), "a redirect is not tried again"
    assert other.heard == []


@both_clients
def test_a_redirect_to_a_page_names_that_page(site: Site, other: Site, call: Call) -> None:
    site.redirect = lambda _, __: (302, f"{other.url}/login?back=hidden")
    with pytest.raises(RedirectedError, match=f"orders/o1 redirects to {other.url}/login ") as refused:
        call(site.url, "order", ("o1",), {})
    assert refused.value.new_base_url == ""
    assert refused.value.is_marketplace
    assert "secrets are not sent there" in str(refused.value)


@both_clients
def test_a_308_within_the_marketplace_repeats_the_post_with_its_token(site: Site, call: Call) -> None:
    site.redirect = lambda _, path: (308, "/api" + path) if path.startswith("/merchants") else None
    assert call(site.url, "accept", ("o1", "loc", 7), {}) is None
    old, new = site.heard
    assert (new.method, new.path) == ("POST", "/api/merchants/ecommerce/orders/o1/accept")
    assert (new.body, new.authorization) == (old.body, "Bearer secret")


@both_clients
def test_a_link_is_followed_to_another_server(site: Site, other: Site, call: Call) -> None:
    site.redirect = lambda _, __: (302, f"{other.url}/v.pdf")
    other.content = b"%PDF"
    assert call(site.url, "download", (f"{site.url}/voucher",), {}) == b"%PDF"
    other.redirect = lambda _, __: (302, "javascript:x")
    with pytest.raises(RedirectedError, match="names no address") as refused:
        call(site.url, "download", (f"{site.url}/voucher",), {})
    assert not refused.value.is_marketplace


@pytest.mark.anyio
async def test_a_hand_over_follows_redirects_only_as_a_post(site: Site, other: Site) -> None:
    network = AsyncNetwork(10.0)
    try:
        recipient = HttpRecipient(network, f"{site.url}/hook?key=hidden")
        for status in (301, 302, 303):
            site.redirect = lambda _, path, given=status: (given, "/thanks") if "hook" in path else None  # type: ignore[misc]
            with pytest.raises(HandoverError) as refused:
                await recipient.receive("o1", b"{}")
            assert f"{site.url}/hook redirects to {site.url}/thanks ({status}), and a POST" in str(refused.value)
            assert "hidden" not in str(refused.value)
        assert {heard.method for heard in site.heard} == {"POST"}
        site.redirect = lambda _, __: (307, f"{other.url}/hook")
        await recipient.receive("o1", b'{"code": "o1"}')
        assert [(heard.method, heard.body) for heard in other.heard] == [("POST", b'{"code": "o1"}')]
        with pytest.raises(HandoverError, match=f"redirects to {other.url}/hook "):
            await HttpRecipient(network, f"{site.url}/hook", {"X-Key": "hidden"}).receive("o1", b"{}")
        assert len(other.heard) == 1
    finally:
        await network.close()


@pytest.mark.anyio
async def test_a_repeated_hand_over_keeps_its_headers_and_message_id(
    site: Site,
) -> None:
    secret = secret_text(b"0" * 32)
    now = [1_790_000_000.0]
    network = AsyncNetwork(10.0)
    headers = {"Authorization": "Bearer hidden", "Content-Type": "application/vnd.shop+json"}
    recipient = HttpRecipient(network, site.url, headers, secret=secret, clock=lambda: now[0])
    try:
        for body in (b"first", b"first", b"second"):
            await recipient.receive("o1", body)
            now[0] += 3600
    finally:
        await network.close()
    ids = [verify([secret], heard.headers, heard.body, 1_790_000_000 + 3600 * n) for n, heard in enumerate(site.heard)]
    assert ids[0] == ids[1] != ids[2]
    assert {heard.authorization for heard in site.heard} == {"Bearer hidden"}
    assert {heard.headers["content-type"] for heard in site.heard} == {"application/vnd.shop+json"}
    assert "hidden" not in repr(recipient)
    with pytest.raises(ValueError, match="whsec_") as refused:
        HttpRecipient(network, site.url, secret="hidden%")
    assert "hidden" not in str(refused.value)


@pytest.mark.anyio
async def test_stock_and_range_reads_follow_redirects(site: Site, other: Site, tmp_path: Path) -> None:
    network = AsyncNetwork(10.0)
    site.redirect = lambda _, path: (302, other.url + path)
    try:
        other.content = b'{"A": 5}'
        assert (await HttpStock(network, f"{site.url}/stock").read()).pieces == {"A": 5}
        other.content = b'{"ipv4": ["192.0.2.0/24"], "ipv6": []}'
        assert "192.0.2.7" in await fetch_ranges(network, site.url, tmp_path / "ranges.json")
        site.redirect = lambda _, __: (302, "")
        with pytest.raises(RedirectedError):
            await fetch_ranges(network, site.url, tmp_path / "ranges.json")
        site.redirect = lambda _, __: (304, "/x")
        with pytest.raises(SourceRangesError, match="has answered 304"):
            await fetch_ranges(network, f"{site.url}/?key=hidden", tmp_path / "ranges.json")
    finally:
        await network.close()


@both
def test_an_invalid_address_raises_unreachable_error(send: Send) -> None:
    for url in ("http://[::1", "nonsense", "http://a:port/"):
        with pytest.raises(UnreachableError):
            send("GET", url, {}, None)


def test_a_hand_over_that_times_out_names_the_setting() -> None:
    async def hand_over() -> None:
        release = asyncio.Event()

        async def wait(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.close()

        server = await asyncio.start_server(wait, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        network = AsyncNetwork(0.2, setting="--hand-over-seconds")
        with pytest.raises(UnreachableError, match=r"^no whole answer within 0.2 s \(--hand-over-seconds\)$"):
            await HttpRecipient(network, f"http://127.0.0.1:{port}/").receive("o1", b"{}")
        await network.close()
        release.set()
        server.close()
        await server.wait_closed()

    asyncio.run(hand_over())
