"""A node of a spread database is killed or frozen under load: its shops get 503, all others notice nothing, and after
its return everything due is delivered. Needs a cluster on this machine (KALATHI_TEST_CITUS)."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from kalathi.marketplace.kernel.storage.changes import ChangeSet, Insert, StorageError
from kalathi.marketplace.kernel.storage.opening import open_database
from kalathi.marketplace.kernel.storage.spread.shard_map import load_shards
from tests.clusters import CITUS, NodeProcess, list_servers, named
from tests.databases import drop_postgres, fresh_postgres
from tests.e2e.processes import calling, endpoint, running, serve
from tests.e2e.traders import Trader, list_undelivered, trading

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not CITUS, reason="KALATHI_TEST_CITUS names no cluster")]

_SHOPS = 8
_PHASE_SECONDS = 8.0


@pytest.fixture
def database() -> Iterator[str]:
    """A spread database; all nodes run again afterwards."""
    url = fresh_postgres()
    nodes = [NodeProcess(server) for server in list_servers(CITUS)[1:]]
    yield url
    for node in nodes:
        node.start()
    drop_postgres(url)


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
        async with trading(traders):
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
        assert not await list_undelivered(shop_side, traders)
        for code in [code for trader in traders for code in trader.accepted[::10]]:
            detail = await caller.operate("GET", f"/marketplace/orders/{code}")
            assert "accept" in [entry["event"] for entry in detail["timeline"]], code


async def test_a_refused_write_is_not_on_disk_although_a_node_restarts(database: str) -> None:
    opened = await open_database(database)
    node = NodeProcess(named(list_servers(CITUS)[1], "postgres"))
    written: list[str] = []
    failed: list[str] = []
    ends = asyncio.Event()

    async def write(writer: int) -> None:
        number = 0
        while not ends.is_set():
            shop_id = f"shop-{writer}-{(number := number + 1)}"
            try:
                await opened.commit(ChangeSet(Insert("shops", {"shop_id": shop_id, "version": 1, "document": b"{}"})))
            except StorageError:
                failed.append(shop_id)
            else:
                written.append(shop_id)
            await asyncio.sleep(0.001)

    writers = [asyncio.create_task(write(number)) for number in range(8)]
    for _ in range(3):
        await asyncio.sleep(0.5)
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(node.start)
    await asyncio.sleep(3)
    ends.set()
    await asyncio.gather(*writers)
    await opened.close()
    with psycopg.connect(database) as connection:
        present = {row[0] for row in connection.execute("SELECT shop_id FROM shops").fetchall()}
    print(f"{len(written)} written, {len(failed)} refused")
    assert set(written) <= present
    assert not set(failed) & present


def _take(traders: list[Trader]) -> Counter[int]:
    """The answers since the last call."""
    total: Counter[int] = Counter()
    for trader in traders:
        total += trader.statuses
        trader.statuses = Counter()
    return total
