"""The proxies of docs/security.md, as the page has them, in front of a real marketplace in production mode. Each is
tested where it is installed."""

import asyncio
import contextlib
import io
import os
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from websockets.asyncio.client import connect

from tests.e2e.processes import running, serve
from tests.market import ACCEPT, LOCATION, OPERATOR_TOKEN

pytestmark = pytest.mark.anyio

_PAGE: Final = Path(__file__).parents[2] / "docs" / "security.md"
# Where systems install servers.
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin:/usr/sbin:/usr/bin:/bin"
_HOST: Final = "market.example"
_OPERATOR: Final = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}


class _Files(NamedTuple):
    """Where a proxy has its files: a folder of its own, the certificate, its key, and both in one file."""

    folder: Path
    certificate: Path
    key: Path
    both: Path


def _nginx(block: str, port: int, files: _Files) -> list[str]:
    text = block.replace("listen 443", f"listen 127.0.0.1:{port}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {files.folder}/{kind};" for kind in kinds)
    path = files.folder / "nginx.conf"
    # Its workers give up the rights of root, and could not read the folder of a test that root runs.
    user = "user root; " if os.geteuid() == 0 else ""
    head = f"{user}daemon off; pid {files.folder}/pid; error_log {files.folder}/error.log; events {{}}"
    path.write_text(f"{head}\nhttp {{ access_log off; {temporary}\n{text}\n}}", "utf-8")
    return ["nginx", "-e", f"{files.folder}/error.log", "-c", str(path)]


def _caddy(block: str, port: int, files: _Files) -> list[str]:
    text = block.replace(f"{_HOST} {{", f"https://{_HOST}:{port} {{\n    bind 127.0.0.1")
    path = files.folder / "Caddyfile"
    options = f"admin off\n    auto_https disable_redirects\n    storage file_system {files.folder}"
    path.write_text(f"{{\n    {options}\n}}\n{text}", "utf-8")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)]


def _haproxy(block: str, port: int, files: _Files) -> list[str]:
    path = files.folder / "haproxy.cfg"
    path.write_text(block.replace("bind :443", f"bind 127.0.0.1:{port}"), "utf-8")
    return ["haproxy", "-f", str(path)]


PROXIES: Final[dict[str, Callable[[str, int, _Files], list[str]]]] = {
    "nginx": _nginx,
    "caddy": _caddy,
    "haproxy": _haproxy,
}


class _Loopback(AbstractResolver):
    """Every name is this machine."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """Return 127.0.0.1."""
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=2, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing to close."""


class Front(NamedTuple):
    """A marketplace behind a proxy."""

    url: str
    tls: ssl.SSLContext

    def session(self, source: str = "127.0.0.2") -> aiohttp.ClientSession:
        """Calls from this address of the machine."""
        connector = aiohttp.TCPConnector(resolver=_Loopback(), ssl=self.tls, local_addr=(source, 0))
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


def _config_of(name: str) -> str:
    [block] = re.findall(rf"```{name}\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)
    return str(block)


@asynccontextmanager
async def _behind(name: str, folder: Path) -> AsyncIterator[Front]:
    authority = trustme.CA()
    issued = authority.issue_cert(_HOST)
    files = _Files(folder / name, folder / "market.pem", folder / "market.key", folder / "market-both.pem")
    files.folder.mkdir()
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files.key.write_bytes(issued.private_key_pem.bytes())
    files.both.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    port = _free_port()
    url = f"https://{_HOST}:{port}"
    flags = ["--mode", "production", "--public-url", url, "--ip-ranges", "203.0.113.0/28"]
    flags += ["--trusted-proxies", "127.0.0.1"]
    async with running(folder / "market", *serve(folder / "market", *flags)) as market:
        text = _config_of(name).replace("127.0.0.1:8090", market.address.removeprefix("http://"))
        for documented in (files.both, files.certificate, files.key):
            text = text.replace(f"/etc/ssl/{documented.name}", str(documented))
        assert "/etc/ssl" not in text
        log = (folder / "proxy.log").open("wb")
        process = await asyncio.create_subprocess_exec(
            *PROXIES[name](text, port, files),
            stdout=log,
            stderr=log,
            env={"PATH": _PATH, "HOME": str(files.folder), "XDG_CONFIG_HOME": str(files.folder)},
        )
        front = Front(url, tls)
        try:
            await _until_ready(front, process, folder / "proxy.log")
            yield front
        finally:
            with contextlib.suppress(ProcessLookupError):  # It may have ended by itself.
                process.terminate()
            await process.wait()
            log.close()


async def _until_ready(front: Front, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(20), front.session() as session:
        while True:
            assert process.returncode is None, log.read_text("utf-8")
            with contextlib.suppress(aiohttp.ClientError):  # The proxy does not listen yet.
                async with session.get(f"{front.url}/healthz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)


@pytest.fixture(params=PROXIES)
async def front(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Front]:
    if shutil.which(request.param, path=_PATH) is None:
        pytest.skip(f"{request.param} is not installed")
    async with _behind(request.param, tmp_path) as behind:
        yield behind


async def _add_shop(session: aiohttp.ClientSession, front: Front) -> tuple[str, str]:
    new = {"name": "Shop", "domain": "shop.example", "locations": [LOCATION]}
    async with session.post(f"{front.url}/marketplace/shops", json=new, headers=_OPERATOR) as answer:
        found = await answer.json()
    return found["shop"]["id"], found["api_token"]


async def test_a_documented_proxy_passes_every_required_call(front: Front) -> None:
    async with front.session() as session:
        shop_id, token = await _add_shop(session, front)
        shop = {"Authorization": f"Bearer {token}", "Accept": ACCEPT}
        async with session.get(f"{front.url}/merchants/ecommerce/orders", headers=shop) as answer:
            assert answer.status == 200
        # An invoice of nearly 7 MB is read whole, and refused with the right reason.
        form = aiohttp.FormData()
        form.add_field("invoice_file", io.BytesIO(b"%PDF-1.7" + bytes(7_300_000)), filename="a.pdf")
        url = f"{front.url}/merchants/ecommerce/orders/DEMO-ACCEPTED/invoices"
        async with session.post(url, data=form, headers=shop) as answer:
            assert answer.status == 200, await answer.text()
        async with session.get(f"{front.url}/metrics", headers=_OPERATOR) as answer:
            assert answer.status == 404
        listen = f"{front.url.replace('https', 'wss')}/marketplace/shops/{shop_id}/listen?beside=true"
        async with connect(listen, host="127.0.0.1", ssl=front.tls, additional_headers=_OPERATOR) as websocket:
            await websocket.ping()


async def test_behind_a_documented_proxy_sign_in_and_updates_work(front: Front) -> None:
    async with front.session() as session:
        _, token = await _add_shop(session, front)
        async with session.get(f"{front.url}/", allow_redirects=False) as answer:
            assert answer.status == 303, "the operator's pages are closed"
        await _sign_in(session, front, token)
        async with session.get(f"{front.url}/shop/orders") as answer:
            assert answer.url.path == "/shop/orders"
        async with session.get(f"{front.url}/shop/orders/live") as answer:
            assert answer.status == 200
            async with asyncio.timeout(5):
                assert (await answer.content.readline()).startswith(b"retry")


async def _sign_in(session: aiohttp.ClientSession, front: Front, token: str) -> None:
    async with session.get(f"{front.url}/sign-in") as answer:
        found = re.search(r'name="form_token" value="([^"]+)"', await answer.text())
    assert found is not None
    form = {"form_token": found[1], "token": token}
    browser: dict[str, Any] = {"Origin": front.url, "Sec-Fetch-Site": "same-origin"}
    async with session.post(f"{front.url}/sign-in", data=form, headers=browser, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["location"]) == (303, "/shop/orders")
    elsewhere = {"Origin": "https://evil.example"}
    async with session.post(f"{front.url}/sign-in", data=form, headers=elsewhere) as answer:
        assert answer.status == 403


async def test_behind_a_documented_proxy_callers_are_throttled_by_their_own_address(front: Front) -> None:
    async def status(session: aiohttp.ClientSession, number: int) -> int:
        forged = {"X-Forwarded-For": f"203.0.113.{number}", "Authorization": "Bearer wrong"}
        async with session.get(f"{front.url}/marketplace/shops", headers=forged) as answer:
            return answer.status

    async with front.session("127.0.0.2") as guesser, front.session("127.0.0.3") as other:
        statuses = [await status(guesser, number) for number in range(60)]
        assert 28 <= statuses.count(401) <= 34
        assert statuses[-1] == 429
        assert await status(other, 1) == 401
