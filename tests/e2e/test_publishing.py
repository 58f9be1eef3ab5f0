"""`kalathi merchant --publish-stock` with real processes: killed connectors, the dry run, and the commands."""

import asyncio
import csv
import json
import os
import random
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kalathi.merchant.inbox import Inbox
from tests.e2e.forking import fork
from tests.e2e.processes import Caller, Process, calling, kalathi, running, serve, served, start
from tests.market import OPERATOR_TOKEN, until

pytestmark = pytest.mark.anyio

PRODUCTS = [f"P{number:03}" for number in range(600)]
KILLS = ("before", "after", "after")


class Wire:
    """Forwards calls to the marketplace. If `kills` is set, the next batch kills the connector: before the marketplace
    has it, or after it and before its answer."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.address = address
        self.session = session
        self.kills = ""
        self.connector: Process | None = None
        self.batches = 0

    async def forward(self, request: web.Request) -> web.Response:
        is_batch = request.path == "/merchants/products/batch"
        self.batches += is_batch
        if is_batch and self.kills == "before":
            await self._kill()
            return web.Response(status=503)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        url = self.address + request.path_qs
        async with self.session.request(request.method, url, data=await request.read(), headers=headers) as answer:
            content = await answer.read()
            if is_batch and self.kills == "after":
                await self._kill()
            return web.Response(status=answer.status, body=content, content_type=answer.content_type)

    async def _kill(self) -> None:
        assert self.connector is not None
        self.kills = ""
        await self.connector.kill()
        self.connector = None


def _write(path: Path, pieces: Mapping[str, int]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["shop_uid", "quantity", "price"])
        rows.writerows([uid, number, "10.40"] for uid, number in pieces.items())


async def _open_shop(caller: Caller, folder: Path, address: str) -> tuple[str, str]:
    """Make a shop with its listings and its products token; return its id and its token."""
    shop_id, token = await caller.shop(None)
    listings = [{"shop_uid": uid, "product_name": uid, "unit_price": 10, "quantity": 5} for uid in PRODUCTS]
    await caller.operate("PUT", f"/marketplace/shops/{shop_id}/listings", listings)
    to = ("--url", address, "--token", OPERATOR_TOKEN)
    status, out, error = await kalathi("shop", "products-token", "--token-file", str(folder / "products-token"), *to)
    assert (status, error) == (0, "")
    assert (folder / "products-token").read_text("utf-8").strip() not in out
    return shop_id, token


async def _offered(caller: Caller, shop_id: str) -> dict[str, int]:
    shown = await caller.operate("GET", f"/marketplace/shops/{shop_id}/listings")
    offered = {listing["shop_uid"]: listing["quantity"] for listing in shown["listings"]}
    return {uid: offered[uid] for uid in PRODUCTS}


def _publisher(folder: Path, address: str, token: str) -> tuple[str, ...]:
    stock, products_token = str(folder / "stock.csv"), str(folder / "products-token")
    connector = ("merchant", "--port", "0", "--url", address, "--token", token, "--data", str(folder))
    sources = ("--stock", stock, "--print-to", str(folder / "out"))
    return (*connector, *sources, "--publish-stock", "--products-token-file", products_token)


def _is_settled(folder: Path) -> bool:
    """Whether each product is published, and each batch's results are known."""
    inbox = Inbox(folder / "merchant.db", beside=True)
    try:
        rows = inbox.publications.page("", len(PRODUCTS))
        return len(rows) == len(PRODUCTS) and all(
            row.is_confirmed and row.answer in {"success", "no_change"} for row in rows
        )
    finally:
        inbox.close()


async def test_the_newest_numbers_are_published_after_kills_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    chance = random.Random(7)
    stock = tmp_path / "stock.csv"
    async with running(tmp_path / "market", *serve(tmp_path / "market")) as market, calling(market.address) as caller:
        shop_id, token = await _open_shop(caller, tmp_path, market.address)
        wire = Wire(market.address, caller.session)
        async with served(wire.forward) as address:
            publisher = _publisher(tmp_path, address, token)
            for kills in KILLS:
                _write(stock, {uid: chance.randrange(100) for uid in PRODUCTS})
                wire.kills = kills
                wire.connector = await start(tmp_path, *publisher)
                await until(lambda: wire.connector is None)
            newest = {uid: chance.randrange(100) for uid in PRODUCTS}
            _write(stock, newest)
            wire.batches = 0
            wire.connector = await start(tmp_path, *publisher)
            try:
                await until(lambda: _is_settled(tmp_path))
            finally:
                await wire.connector.kill()
        assert await _offered(caller, shop_id) == newest
        assert wire.batches == 2


async def _dry_run(arguments: tuple[str, ...]) -> list[str]:
    """Return the lines of a dry run until it waits for webhooks."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALATHI_")}
    process = await fork(*arguments, "--dry-run", environment=environment)
    lines: list[str] = []
    try:
        async with asyncio.timeout(20):
            while not lines or "receives webhooks" not in lines[-1]:
                lines.append((await process.stdout.readline()).decode().rstrip())
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    return lines[:-1]


async def test_a_dry_run_prints_the_changes_and_changes_nothing(tmp_path: Path) -> None:
    _write(tmp_path / "stock.csv", dict.fromkeys(PRODUCTS, 7))
    async with running(tmp_path / "market", *serve(tmp_path / "market")) as market, calling(market.address) as caller:
        shop_id, token = await _open_shop(caller, tmp_path, market.address)
        before = await _offered(caller, shop_id)
        said = await _dry_run(_publisher(tmp_path, market.address, token))
        assert said[0] == "would publish 600 products:"
        assert said[2].split() == ["P000", "-", "7", "at", "10.40"]
        assert said[-2] == "and 550 more"
        assert "does not subtract the pieces of open orders" in said[-1]
        assert await _offered(caller, shop_id) == before


async def test_a_price_that_falls_far_is_published_after_a_person_allows_it(tmp_path: Path) -> None:
    stock = tmp_path / "stock.csv"
    _write(stock, dict.fromkeys(PRODUCTS, 7))
    at = ("--data", str(tmp_path))
    async with running(tmp_path / "market", *serve(tmp_path / "market")) as market, calling(market.address) as caller:
        shop_id, token = await _open_shop(caller, tmp_path, market.address)
        publisher = _publisher(tmp_path, market.address, token)
        async with running(tmp_path, *publisher) as connector:
            await until(lambda: _is_settled(tmp_path))
            content = stock.read_text("utf-8").replace("P001,7,10.40", "P001,6,1.04")
            stock.write_text(content, "utf-8")
            said = ""
            async with asyncio.timeout(20):
                while "kalathi merchant allow-price" not in said:
                    said = (await connector.process.stdout.readline()).decode()
            await until(lambda: _is_settled(tmp_path))
            assert (await _listing(caller, shop_id))["unit_price"] == 10.4
            status, out, error = await kalathi("merchant", "allow-price", "P001", *at, "--json")
            assert (status, error, json.loads(out)) == (0, "", {"allowed": ["P001"]})
            await until(lambda: _published_price(tmp_path) == 104)
            status, out, _ = await kalathi("merchant", "stock", "P001", *at)
            assert status == 0
            assert out.splitlines()[1].split()[:6] == ["P001", "6", "0", "0", "6", "1.04"]
        assert (await _listing(caller, shop_id))["unit_price"] == 1.04


async def _listing(caller: Caller, shop_id: str) -> dict[str, Any]:
    shown = await caller.operate("GET", f"/marketplace/shops/{shop_id}/listings")
    [listing] = [listing for listing in shown["listings"] if listing["shop_uid"] == "P001"]
    return dict(listing)


def _published_price(folder: Path) -> int | None:
    inbox = Inbox(folder / "merchant.db", beside=True)
    try:
        row = inbox.publications.of(["P001"])["P001"]
        return row.update.price if row.update and row.is_confirmed and row.answer == "success" else None
    finally:
        inbox.close()


async def test_a_feed_check_reports_a_stock_source_that_cannot_be_reached(tmp_path: Path) -> None:
    (tmp_path / "feed.xml").write_text("<products></products>", "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    source = f"http://127.0.0.1:{port}/"
    status, _, error = await kalathi("merchant", "feed", "check", str(tmp_path / "feed.xml"), "--stock", source)
    assert status == 1
    assert error.startswith("kalathi: ")
    assert "Traceback" not in error
