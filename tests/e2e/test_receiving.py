"""A connector behind proxies, over real HTTP: from the marketplace through X-Forwarded-For to the inbox."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from kalathi.contract.signatures import secret_text, sign_headers
from tests.e2e.processes import Caller, Process, calling, running, serve, served

pytestmark = pytest.mark.anyio

EVENT = b'{"event_type": "new_order", "order": {}}'
SECRET = secret_text(b"k" * 32)


class Proxy:
    """Passes every call on to `target` and keeps the statuses. `forwarded` gives its lines of X-Forwarded-For. If a
    caller has written the header, the proxy keeps that line and adds `stranger`."""

    stranger = "8.8.8.8:443, 10.1.1.1"

    def __init__(self) -> None:
        self.address = ""
        self.target = ""
        self.forwarded: Callable[[str], list[str]] = lambda peer: [f"{peer}:51234"]
        self.statuses: list[int] = []

    async def handle(self, request: web.Request) -> web.Response:
        headers = [("Content-Type", "application/json")]
        written = request.headers.get("X-Forwarded-For")
        lines = self.forwarded(request.remote or "") if written is None else [written, self.stranger]
        headers += [("X-Forwarded-For", line) for line in lines]
        url = URL(self.target + request.raw_path, encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, data=await request.read(), headers=headers) as answer,
        ):
            self.statuses.append(answer.status)
            return web.Response(status=answer.status)


@asynccontextmanager
async def _proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    async with served(proxy.handle) as proxy.address:
        yield proxy


def _connector(folder: Path, url: str, token: str, *more: str) -> tuple[str, ...]:
    folder.mkdir()
    (folder / "token").write_bytes(b"\xef\xbb\xbf" + token.encode() + b"\r\n")
    (folder / "stock.csv").write_text("shop_uid,quantity\nA,50\n", "utf-8")
    usual = ("--url", url, "--token-file", str(folder / "token"), "--stock", str(folder / "stock.csv"))
    return ("merchant", *usual, "--print-to", str(folder / "out"), "--data", str(folder), "--port", "0", *more)


async def _state(caller: Caller, token: str, code: str, state: str) -> None:
    async with asyncio.timeout(20):
        while (await caller.merchant(token, "GET", code))[1]["order"]["state"] != state:
            await asyncio.sleep(0.05)


async def _post(url: str, body: bytes = EVENT, headers: dict[str, str] | None = None, method: str = "POST") -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, URL(url, encoded=True), data=body, headers=headers) as answer,
    ):
        return answer.status


async def test_a_webhook_passes_proxies_to_a_path_with_a_secret_query(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "market", *serve(tmp_path / "market")) as market,
        calling(market.address) as caller,
        _proxy() as proxy,
    ):
        shop_id, token = await caller.shop(f"{proxy.address}/hook/?key=s3cret&from=market")
        for name, trusted, forwarded in (
            ("ranges", "127.0.0.1,10.0.0.0/8", lambda peer: [f"{peer}:51234", "10.1.1.1, [::ffff:10.1.1.2]:80"]),
            ("number", "2", lambda peer: ["8.8.8.8", f"{peer}:51234, 203.0.113.7:443"]),
        ):
            flags = ("--path", "/hook?key=s3cret", "--only-published-sources", "--trusted-proxies", trusted)
            more = _connector(tmp_path / name, market.address, token, *flags)
            async with running(tmp_path / f"{name}-log", *more) as connector:
                announced = URL(connector.address)
                assert announced.raw_path_qs == "/hook?key=s3cret"
                proxy.target, proxy.forwarded = str(announced.origin()), forwarded
                code = await caller.cart(shop_id)
                await _state(caller, token, code, "accepted")
                # The address that the proxies saw counts, not the header of the caller.
                forged = {"X-Forwarded-For": "127.0.0.1"}
                assert await _post(f"{proxy.address}/hook?key=s3cret", headers=forged) == 403
                assert await connector.terminate() == 0
        assert proxy.statuses.count(200) >= 2
        assert proxy.statuses.count(403) == 2


def _lines(connector: Process) -> list[dict[str, Any]]:
    lines = [line for line in connector.log.read_text("utf-8").splitlines() if line.startswith("{")]
    return [line for line in map(json.loads, lines) if line["event"] in {"webhook_refused", "call_refused"}]


@pytest.mark.parametrize("path", ["/hook?key=s3cret", "/κλειδί/s3 cret", "/hook/?k=a+b&bare", "/", "/100%#x"])
async def test_only_the_announced_address_answers_200(tmp_path: Path, path: str) -> None:
    more = _connector(tmp_path / "shop", "http://127.0.0.1:1", "t", "--path", path)
    async with running(tmp_path / "log", *more) as connector:
        assert await _post(connector.address) == 200
        assert await _post(connector.address.replace("/?", "?")) == 200
        assert await _post(f"{URL(connector.address).origin()}/neighbour?key=s3cret") == 404
        assert await _post(connector.address, method="GET", body=b"") == 405
        assert await connector.terminate() == 0


async def test_refused_webhooks_are_counted_by_reason_and_logged_sparsely(tmp_path: Path) -> None:
    flags = ("--path", "/hook?key=s3cret", "--secrets", SECRET, "--watch-port", "0")
    more = _connector(tmp_path / "shop", "http://127.0.0.1:1", "t", *flags)
    async with running(tmp_path / "log", *more) as connector:
        assert connector.process.stdout is not None
        watched = (await connector.process.stdout.readline()).decode().split()[-1]
        origin = str(URL(connector.address).origin())
        early = sign_headers([SECRET], "id", 1_000_000_000, EVENT)
        assert await _post(connector.address, headers=early) == 401
        assert await asyncio.gather(*(_post(f"{origin}/orders?key=s3cret") for _ in range(30))) == [404] * 30
        noise = [_post(f"{origin}/.env{number}", method="GET", body=b"") for number in range(30)]
        assert await asyncio.gather(*noise) == [404] * 30
        async with aiohttp.ClientSession() as session, session.get(watched) as answer:
            text = await answer.text()
        for status, reason, call, count in (
            (401, "signature_too_old", "webhook", 1),
            (404, "wrong_path", "webhook", 30),
            (404, "wrong_path", "noise", 30),
        ):
            labels = f'{{call="{call}",reason="{reason}",status="{status}"}}'
            assert f"kalathi_merchant_refused_total{labels} {count:.1f}" in text
        assert await connector.terminate() == 0
        lines = _lines(connector)
        assert [(line["event"], line["reason"]) for line in lines] == [
            ("webhook_refused", "signature_too_old"),
            ("webhook_refused", "wrong_path"),
            ("call_refused", "wrong_path"),
        ]
        assert lines[0]["clock_ahead_seconds"] > 700_000_000
        assert f"clock is {lines[0]['clock_ahead_seconds']} s ahead of" in lines[0]["detail"]
        assert "posts to /orders, this connector listens on /hook?key=***" in lines[1]["detail"]
        assert "s3cret" not in connector.log.read_text("utf-8")
