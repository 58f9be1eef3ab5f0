"""A marketplace in its own process, called over real connections with the interface of `Market`."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from kalathi.marketplace.app import Marketplace
from tests.e2e.processes import Process, running, serve
from tests.market import FakeNetwork, FakeTime, HttpAnswer, Market

# How many requests are made up for each operation. `make attack` sets more.
EXAMPLES: Final = int(os.environ.get("KALATHI_ATTACK_EXAMPLES", "4"))


class RemoteMarket(Market):
    """The calls of `Market`, over HTTP. `client` and the fake network have no effect."""

    def __init__(self, process: Process, session: aiohttp.ClientSession) -> None:
        super().__init__(_NONE, FakeNetwork(), FakeTime())
        self.process = process
        self.address = process.address
        self._session = session

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        client: str = "",
    ) -> HttpAnswer:
        """One request; a body that is not bytes is sent as JSON."""
        content = None if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        given = {name: value for name, value in (headers or {}).items() if name.lower() != "host"}
        url = URL(f"{self.address}{path}", encoded=True)
        async with self._session.request(method, url, data=content, headers=given, allow_redirects=False) as answer:
            answered = await answer.read()
        found: dict[str, str] = {}
        for name, value in answer.headers.items():
            key = name.lower()
            found[key] = f"{found[key]}\n{value}" if key in found else value
        is_json = found.get("content-type", "").startswith("application/json")
        return HttpAnswer(answer.status, msgspec.json.decode(answered) if is_json else None, found, answered)


@asynccontextmanager
async def open_remote(folder: Path, *flags: str) -> AsyncIterator[RemoteMarket]:
    """Start a marketplace with these flags. Wrong tokens are not throttled unless a flag says so."""
    throttle = () if "--wrong-tokens-per-minute" in flags else ("--wrong-tokens-per-minute", "0")
    async with (
        running(folder, *serve(folder, *throttle, *flags)) as process,
        aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=30), auto_decompress=False
        ) as session,
    ):
        yield RemoteMarket(process, session)


_NONE: Any = Marketplace.__new__(Marketplace)
