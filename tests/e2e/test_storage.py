"""Storage that goes away under load: a server that restarts, a disk that is full. Whatever was answered is there, and
the marketplace goes on by itself."""

import asyncio
import contextlib
import resource
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import psycopg
import pytest

from kalathi.marketplace.kernel.storage.changes import ChangeSet, Insert, Value
from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase
from tests.databases import start_server
from tests.e2e.processes import Caller, Process, calling, endpoint, kalathi, running, serve
from tests.market import until

pytestmark = pytest.mark.anyio

RESTARTS = ("fast", "immediate", "fast")


class Traffic:
    """Place and accept orders despite errors; remember the successful answers."""

    def __init__(self, caller: Caller, shop_id: str, token: str) -> None:
        self._caller = caller
        self._shop_id = shop_id
        self._token = token
        self._is_over = False
        self.placed: set[str] = set()
        self.accepted: set[str] = set()
        self.refusals: list[tuple[int, str]] = []
        self._tasks = [asyncio.create_task(self._run()) for _ in range(4)]

    async def _run(self) -> None:
        while not self._is_over:
            status, answer = await self._caller.try_to_operate(
                "POST", "/marketplace/carts", self._caller.one(self._shop_id)
            )
            if status != 201:
                self.refusals.append((status, answer["errors"][0]["code"]))
                await asyncio.sleep(0.02)
                continue
            code = answer["orders"][0]["code"]
            self.placed.add(code)
            status, answer = await self._caller.merchant(self._token, "GET", code)
            if status == 200:
                options = answer["order"]["accept_options"]
                if "accept_options" in answer["order"]:
                    body = {name: options[name][0]["id"] for name in ("pickup_location", "pickup_window")}
                    status, answer = await self._caller.merchant(self._token, "POST", f"{code}/accept", body)
                    if status == 200:
                        self.accepted.add(code)
            if status != 200:
                self.refusals.append((status, answer["errors"][0]["code"]))

    async def grows(self, count: int = 20) -> None:
        """Wait until so many more are accepted."""
        wanted = len(self.accepted) + count
        await until(lambda: len(self.accepted) >= wanted)

    async def stop(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)


async def _all_is_there(caller: Caller, traffic: Traffic, deliveries: dict[str, list[tuple[str, str]]]) -> None:
    await caller.operate("POST", "/marketplace/clock", {"advance_seconds": 3600})
    for code in traffic.placed:
        detail = await caller.operate("GET", f"/marketplace/orders/{code}")
        state = detail["order"]["state"]
        assert state == "accepted" if code in traffic.accepted else state in {"open", "accepted"}
        assert {entry["state"] for entry in detail["deliveries"]} == {"delivered"}
        assert all(len(entry["attempts"]) <= 4 for entry in detail["deliveries"])
        assert ("new_order", "open") in deliveries[code]
        assert (state == "accepted") is (("order_updated", "accepted") in deliveries[code])


async def test_a_restart_of_postgresql_under_load_loses_nothing(tmp_path: Path) -> None:
    server = start_server()
    await asyncio.to_thread(_create, server.url)
    url = server.url.replace("/postgres?", "/kalathi?")
    async with (
        endpoint() as shop,
        running(tmp_path, *serve(tmp_path), "--database", url) as market,
        running(tmp_path, "worker", "--database", url, "--public-url", market.address, "--data", str(tmp_path)),
        calling(market.address) as caller,
    ):
        shop_id, token = await caller.shop(f"{shop.address}/")
        traffic = Traffic(caller, shop_id, token)
        for mode in RESTARTS:
            await traffic.grows()
            await asyncio.to_thread(server.restart, mode)
        await traffic.grows()
        await traffic.stop()
        # A call that comes while the server is away either waits for it or is refused in the envelope.
        assert {status for status, _ in traffic.refusals} <= {503}
        await _all_is_there(caller, traffic, shop.by_order)
        print(f"{len(traffic.accepted)} accepted, {len(traffic.refusals)} refused, {len(RESTARTS)} restarts")


def _create(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE kalathi")


async def _while_it_does_not_write(
    tmp_path: Path,
    arguments: tuple[str, ...],
    stop: Callable[[Process], Awaitable[None]],
    go_on: Callable[[Process], Awaitable[None]],
) -> None:
    """Traffic, a time in which nothing can be written, and traffic again."""
    async with (
        endpoint() as shop,
        running(tmp_path, *arguments) as market,
        calling(market.address) as caller,
    ):
        shop_id, token = await caller.shop(f"{shop.address}/")
        traffic = Traffic(caller, shop_id, token)
        await traffic.grows()
        await stop(market)
        await until(lambda: len(traffic.refusals) >= 20)
        assert set(traffic.refusals) == {(503, "unavailable")}
        status, shown = await caller.merchant(token, "GET", next(iter(traffic.accepted)))
        assert (status, shown["order"]["state"]) == (200, "accepted"), "reading goes on"
        assert await caller.status("/healthz") == 200
        await go_on(market)
        await traffic.grows()
        await traffic.stop()
        await _all_is_there(caller, traffic, shop.by_order)


async def test_a_disk_that_is_full_gives_503_and_loses_nothing(tmp_path: Path) -> None:
    async def limit(market: Process, size: int) -> None:
        hard = resource.prlimit(market.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(market.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    async def fill(market: Process) -> None:
        # No file of the process may grow any more, which the database meets as it meets a full disk.
        await limit(market, 1)

    async def make_room(market: Process) -> None:
        await limit(market, resource.RLIM_INFINITY)

    await _while_it_does_not_write(tmp_path, serve(tmp_path), fill, make_room)


async def test_a_database_that_is_read_only_gives_503_and_loses_nothing(tmp_path: Path) -> None:
    server = start_server()
    await asyncio.to_thread(_create, server.url)

    def set_to(value: str) -> None:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            connection.execute("SELECT pg_reload_conf()")

    async def close(_market: Process) -> None:
        await asyncio.to_thread(set_to, "on")

    async def reopen(_market: Process) -> None:
        await asyncio.to_thread(set_to, "off")

    database = server.url.replace("/postgres?", "/kalathi?")
    await _while_it_does_not_write(tmp_path, serve(tmp_path, "--database", database), close, reopen)


async def test_a_data_folder_that_cannot_be_written_stops_the_start() -> None:
    code, _, error = await kalathi(*serve(Path("/proc/kalathi")))
    assert (code, "/proc/kalathi" in error, "Traceback" in error) == (1, True, False), error


async def test_a_change_by_another_program_is_seen_without_own_writes(tmp_path: Path) -> None:
    async with running(tmp_path, *serve(tmp_path)) as market, calling(market.address) as caller:
        shop_id, token = await caller.shop(None)
        code = await caller.cart(shop_id)
        assert (await caller.merchant(token, "GET", code))[0] == 200
        with contextlib.closing(sqlite3.connect(tmp_path / "kalathi.db", isolation_level=None)) as other:
            other.execute("DELETE FROM api_tokens")
        async with asyncio.timeout(5):
            while (await caller.merchant(token, "GET", code))[0] != 401:
                await asyncio.sleep(0.02)


async def test_the_write_ahead_log_shrinks_again_after_a_long_reader(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "kalathi.db")
    log = tmp_path / "kalathi.db-wal"

    async def write(names: Iterable[int]) -> None:
        for name in names:
            row: dict[str, Value] = {"shop_id": "s", "link": str(name), "code": "c", "pdf": b"x" * 2**20}
            await database.commit(ChangeSet(Insert("vouchers", row)))
            await database.read(lambda view: view.one("SELECT count(*) FROM vouchers", {}))

    with contextlib.closing(sqlite3.connect(tmp_path / "kalathi.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM vouchers").fetchone()
        await write(range(40))
        assert log.stat().st_size > 40 * 2**20
        reader.execute("COMMIT")
    # The snapshot of an idle marketplace must not hold it either.
    await asyncio.sleep(0.5)  # Longer than the marketplace keeps an idle snapshot.
    await write(range(40, 50))
    assert log.stat().st_size <= 17 * 2**20
    await database.close()
