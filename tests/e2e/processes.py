"""Real processes for tests: a marketplace, a connector, and a shop's endpoint in the test itself."""

import asyncio
import contextlib
import json
import os
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from kalathi.marketplace.app import DATABASE_FILE
from tests.e2e.forking import Forked, fork
from tests.market import ACCEPT, CUSTOMER, LOCATION, OPERATOR_TOKEN, tables_without_rows


class Process:
    """A `kalathi` command that runs."""

    def __init__(self, process: Forked, address: str, log: Path) -> None:
        self.process = process
        self.address = address
        self.log = log

    async def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM; gives the exit status."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            return await self.process.wait()


async def start(folder: Path, *arguments: str, **variables: str) -> Process:
    """Starts `kalathi ARGUMENTS`, with these variables too, and waits for its address."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALATHI_")}
    environment |= {"KALATHI_OPERATOR_TOKEN": OPERATOR_TOKEN} | variables
    with log.open("ab") as log_file:
        process = await fork(*arguments, environment=environment, stderr=log_file.fileno())
    async with asyncio.timeout(20):
        line = (await process.stdout.readline()).decode()
    assert "http" in line, log.read_text("utf-8")
    return Process(process, line.split()[-1], log)


async def find_line(lines: asyncio.StreamReader, words: str) -> str:
    """The next line with these words."""
    async with asyncio.timeout(30):
        while line := (await lines.readline()).decode():
            if words in line:
                return line
    raise AssertionError(words)


@asynccontextmanager
async def running(folder: Path, *arguments: str, **variables: str) -> AsyncIterator[Process]:
    """A command that is killed at the end if it still runs."""
    process = await start(folder, *arguments, **variables)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):  # It may have ended by itself.
            await process.kill()


def serve(folder: Path, *more: str) -> tuple[str, ...]:
    """The arguments of a marketplace with its data in `folder`, where its tables are made already: to make them takes a
    third of a first start. The first starts of a shop are in test_demo.py and test_docs.py."""
    file = folder / DATABASE_FILE
    if "--database" not in more and not file.exists():
        with contextlib.suppress(OSError):  # The marketplace itself reports a folder that it cannot use.
            folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(tables_without_rows())
    return ("serve", "--port", "0", "--data", str(folder), *more)


class Endpoint:
    """A shop's webhook endpoint: keeps what it gets, answers 200 or what a path's function says."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.answers: dict[str, Callable[[web.Request], Any]] = {}
        self.by_order: dict[str, list[tuple[str, str]]] = defaultdict(list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(request)
        self.bodies.append(body)
        with contextlib.suppress(ValueError, KeyError, TypeError):  # Other bodies than events of orders are only kept.
            event = json.loads(body)
            self.by_order[event["order"]["code"]].append((event["event_type"], event["order"]["state"]))
        answer = self.answers.get(request.path)
        if answer is None:
            return web.Response()
        made = answer(request)
        response: web.StreamResponse = await made if asyncio.iscoroutine(made) else made
        return response


@asynccontextmanager
async def served(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve one handler for every call on a free port of this machine; gives the address."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    """An endpoint on a free port of this machine."""
    shop = Endpoint("")
    async with served(shop.handle) as shop.address:
        yield shop


class Caller:
    """Calls a marketplace over real HTTP."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self.session = session
        self.address = address

    async def operate(self, method: str, path: str, body: object = None) -> Any:
        """The operator's API; raises for anything that is no success."""
        status, answer = await self.try_to_operate(method, path, body)
        assert status in {200, 201}, answer
        return answer

    async def try_to_operate(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """The same; gives status and JSON, whatever they are."""
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
        async with self.session.request(method, self.address + path, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def status(self, path: str) -> int:
        """The status of a plain GET."""
        async with self.session.get(self.address + path) as response:
            return response.status

    async def shop(self, url: str | None, quantity: int = 100_000) -> tuple[str, str]:
        """A shop with one listing A; gives id and token."""
        new = {"name": "Shop", "domain": "shop.example", "webhook_url": url, "locations": [LOCATION]}
        answer = await self.operate("POST", "/marketplace/shops", new)
        listing = {"shop_uid": "A", "product_name": "A", "unit_price": 1, "quantity": quantity}
        await self.operate("PUT", f"/marketplace/shops/{answer['shop']['id']}/listings", [listing])
        return answer["shop"]["id"], answer["api_token"]

    async def cart(self, shop_id: str, quantity: int = 1) -> str:
        """An order of the shop; gives its code."""
        code: str = (await self.operate("POST", "/marketplace/carts", self.one(shop_id, quantity)))["orders"][0]["code"]
        return code

    @staticmethod
    def one(shop_id: str, quantity: int = 1) -> dict[str, Any]:
        """A cart of one line."""
        item = {"shop_id": shop_id, "shop_uid": "A", "quantity": quantity}
        return {"customer": CUSTOMER, "items": [item], "payment_method": "card"}

    async def merchant(self, token: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """The merchants' API; gives status and JSON."""
        headers = {"Authorization": f"Bearer {token}", "Accept": ACCEPT}
        url = f"{self.address}/merchants/ecommerce/orders/{path}"
        async with self.session.request(method, url, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def accept(self, token: str, code: str) -> tuple[int, Any]:
        """Accepts with the first options."""
        _, shown = await self.merchant(token, "GET", code)
        options = shown["order"]["accept_options"]
        body = {
            "pickup_location": options["pickup_location"][0]["id"],
            "pickup_window": options["pickup_window"][0]["id"],
        }
        return await self.merchant(token, "POST", f"{code}/accept", body)


@asynccontextmanager
async def calling(address: str) -> AsyncIterator[Caller]:
    """A caller with its own connections."""
    async with aiohttp.ClientSession() as session:
        yield Caller(session, address)


async def kalathi(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Runs `kalathi ARGUMENTS` to its end; gives status, output and error output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALATHI_")} | variables
    process = await fork(*arguments, environment=environment)
    try:
        async with asyncio.timeout(60):
            out, error = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):  # It may have ended by itself.
            process.kill()
    return process.returncode or 0, out.decode(), error.decode()
