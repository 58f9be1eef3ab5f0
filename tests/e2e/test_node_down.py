"""A node of a spread database is killed or frozen under load: its shops get 503, all others notice nothing, and after
its return everything due is delivered. Needs a cluster on this machine (KALATHI_TEST_CITUS)."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from kalathi.marketplace.kernel.storage.spread.nodes import load_shards
from tests.clusters import CITUS, NodeProcess, list_servers, named
from tests.databases import drop_postgres, fresh_postgres
from tests.e2e.processes import Caller, Endpoint, calling, endpoint, running, serve

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not CITUS, reason="KALATHI_TEST_CITUS names no cluster")]

_SHOPS = 8
# Of a shop: below the limit of the machine, so that a rate falls only if calls fail or wait.
_PAUSE_SECONDS = 0.15
_PHASE_SECONDS = 8.0


class Trader:
    """A shop that places and accepts orders, one after the other, and counts the answers."""

    def __init__(self, caller: Caller, shop_id: str, token: str) -> None:
        self.caller = caller
        self.shop_id = shop_id
        self.token = token
        self.statuses: Counter[int] = Counter()
        self.accepted: list[str] = []

    async def trade(self) -> None:
        """Go on until cancelled."""
        while True:
            began = time.monotonic()
            status, answer = await self.caller.try_to_operate("POST", "/marketplace/carts", Caller.one(self.shop_id))
            self.statuses[status] += 1
            if status == 201:
                await self._accept(answer["orders"][0]["code"])
            await asyncio.sleep(max(_PAUSE_SECONDS - (time.monotonic() - began), 0))

    async def _accept(self, code: str) -> None:
        status, shown = await self.caller.merchant(self.token, "GET", code)
        self.statuses[status] += 1
        if status == 200:
            options = shown["order"]["accept_options"]
            body = {name: options[name][0]["id"] for name in ("pickup_location", "pickup_window")}
            status, _ = await self.caller.merchant(self.token, "POST", f"{code}/accept", body)
            self.statuses[status] += 1
            if status == 200:
                self.accepted.append(code)


@pytest.fixture
def database() -> Iterator[str]:
    """A spread database; all nodes run again afterwards."""
    url = fresh_postgres()
    nodes = [NodeProcess(server) for server in list_servers(CITUS)[1:]]
    yield url
    for node in nodes:
        node.start()
    drop_postgres(url)


@asynccontextmanager
async def _trading(traders: list[Trader]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(trader.trade()) for trader in traders]
    yield
    for task in tasks:
        assert not task.done(), task.exception()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("way", ["killed", "frozen"])
async def test_a_node_that_is_down_stops_only_its_own_shops(way: str, database: str, tmp_path: Path) -> None:
    async with (
        endpoint() as shop_side,
        running(tmp_path, *serve(tmp_path, "--database", database)) as process,
        calling(process.address) as caller,
    ):
        traders = [Trader(caller, *await caller.shop(shop_side.address + f"/{number}")) for number in range(_SHOPS)]
        with psycopg.connect(database) as connection:
            shard_map = load_shards(connection)
        lost = shard_map.nodes[0]
        theirs = [trader for trader in traders if shard_map.node_of(trader.shop_id) == lost]
        others = [trader for trader in traders if trader not in theirs]
        assert theirs and others
        node = NodeProcess(named(list_servers(CITUS)[1], "postgres"))
        async with _trading(traders):
            await asyncio.sleep(_PHASE_SECONDS)
            before = _take(others)
            assert set(before) == {200, 201}
            node.kill() if way == "killed" else node.freeze()
            await asyncio.sleep(3)  # The process finds out within two seconds.
            _take(theirs), _take(others)
            await asyncio.sleep(_PHASE_SECONDS)
            during, refused = _take(others), _take(theirs)
            status, _ = await caller.merchant(theirs[0].token, "GET", theirs[0].accepted[0])
            refused[status] += 1
            node.start() if way == "killed" else node.thaw()
            await asyncio.sleep(5)
            _take(traders)
            await asyncio.sleep(3)
            after = _take(traders)
        print(f"{way}: before {before}, during {during}, of the lost node {refused}, after {after}")
        assert set(refused) == {503}
        assert set(during) == {200, 201}
        assert during.total() >= 0.9 * before.total()
        assert set(after) == {200, 201}
        await _delivered(caller, shop_side, traders)


def _take(traders: list[Trader]) -> Counter[int]:
    """The answers since the last call."""
    total: Counter[int] = Counter()
    for trader in traders:
        total += trader.statuses
        trader.statuses = Counter()
    return total


async def _delivered(caller: Caller, shop_side: Endpoint, traders: list[Trader]) -> None:
    """Wait until each accepted order is accepted in the database, and its events were delivered."""
    codes = [code for trader in traders for code in trader.accepted]
    async with asyncio.timeout(60):
        while missing := [code for code in codes if ("order_updated", "accepted") not in shop_side.by_order[code]]:
            await asyncio.sleep(0.5)
    assert not missing
    for code in codes[:: max(1, len(codes) // 50)]:
        detail = await caller.operate("GET", f"/marketplace/orders/{code}")
        assert "accept" in [entry["event"] for entry in detail["timeline"]], code
