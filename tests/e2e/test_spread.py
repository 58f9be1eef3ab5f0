"""A marketplace on a Citus cluster (KALATHI_TEST_CITUS): it is spread, grows and moves while it serves, is entered at
any node, and goes back to one server."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from kalathi.marketplace.kernel.storage import migrating
from kalathi.marketplace.kernel.storage.spread.shard_map import load_shards
from kalathi.marketplace.kernel.storage.spread.targets import is_spread, list_targets
from tests.clusters import CITUS, list_servers, make_nodes_known, named
from tests.databases import drop_postgres, fresh_postgres
from tests.e2e.processes import Caller, Process, calling, endpoint, kalathi, running, serve
from tests.e2e.traders import Trader, list_undelivered, trading

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not CITUS, reason="KALATHI_TEST_CITUS names no cluster")]


@pytest.fixture
def database() -> Iterator[str]:
    """A spread database without rows."""
    url = fresh_postgres()
    yield url
    drop_postgres(url)


@pytest.fixture
def unspread() -> Iterator[str]:
    """A database with tables on the coordinator, whose nodes are known."""
    name = f"kalathi_unspread_{os.getpid()}"
    url = make_nodes_known(CITUS, name)
    migrating.migrate_postgres(url)
    yield url
    drop_postgres(url)


@asynccontextmanager
async def _serving(folder: Path, database: str) -> AsyncIterator[tuple[Process, Caller]]:
    async with running(folder, *serve(folder, "--database", database)) as process, calling(process.address) as caller:
        yield process, caller


def _beside(address: str, folder: Path) -> tuple[str, ...]:
    """The options of a worker beside a marketplace."""
    return ("--public-url", address, "--data", str(folder))


async def _order(caller: Caller, shop_id: str, token: str) -> str:
    code = await caller.cart(shop_id)
    assert (await caller.accept(token, code))[0] == 200
    return code


async def test_a_marketplace_is_spread_after_an_interruption_and_keeps_everything(
    unspread: str, tmp_path: Path
) -> None:
    async with (
        running(tmp_path, *serve(tmp_path, "--database", unspread)) as process,
        calling(process.address) as caller,
    ):
        shop_id, token = await caller.shop(None)
        codes = [await _order(caller, shop_id, token) for _ in range(5)]
        status, _, error = await kalathi("distribute", "--database", unspread)
        assert (status, "Stop every process of Kalathi" in error) == (1, True)
        assert await process.terminate() == 0
    status, said, _ = await kalathi("distribute", "--database", unspread, "--dry-run", "--json")
    plan = json.loads(said)
    assert [entry["is_done"] for entry in plan["tables"]] == [False] * len(plan["tables"])
    with psycopg.connect(unspread, autocommit=True) as connection:
        assert not is_spread(connection)
        # As after a kill: one table is moved, and its rows are still on the coordinator too.
        connection.execute("SELECT create_distributed_table('shops', 'shop_id', shard_count := 4)")
    status, _, error = await kalathi("serve", "--database", unspread, "--data", str(tmp_path), "--port", "0")
    assert (status, "Run `kalathi distribute` again" in error) == (1, True)
    assert (await kalathi("distribute", "--database", unspread))[0] == 0
    status, said, _ = await kalathi("distribute", "--database", unspread)
    assert (status, said) == (0, "All tables are spread already.\n")
    async with (
        running(tmp_path, *serve(tmp_path, "--database", unspread)) as process,
        calling(process.address) as caller,
    ):
        for code in codes:
            assert (await caller.merchant(token, "GET", code))[1]["order"]["state"] == "accepted"
        await _order(caller, shop_id, token)


async def test_a_node_is_an_entry_and_its_worker_is_woken_by_another_process(database: str, tmp_path: Path) -> None:
    node = named(list_servers(CITUS)[2], database.rpartition("/")[2])
    async with (
        endpoint() as shop_side,
        running(tmp_path / "a", *serve(tmp_path / "a", "--database", node, "--no-worker")) as process,
        running(
            tmp_path / "b",
            "worker",
            "--database",
            database,
            "--public-url",
            process.address,
            "--data",
            str(tmp_path / "a"),
        ),
        calling(process.address) as caller,
    ):
        traders = [Trader(caller, *await caller.shop(f"{shop_side.address}/{number}")) for number in range(4)]
        async with trading(traders):
            await asyncio.sleep(3)
        assert all(set(trader.statuses) == {200, 201} for trader in traders)
        assert not await list_undelivered(shop_side, traders)


async def test_moving_every_shard_under_load_loses_nothing(database: str, tmp_path: Path) -> None:
    async with (
        endpoint() as shop_side,
        running(tmp_path, *serve(tmp_path, "--database", database)) as process,
        calling(process.address) as caller,
    ):
        traders = [Trader(caller, *await caller.shop(f"{shop_side.address}/{number}")) for number in range(6)]
        async with trading(traders):
            await asyncio.sleep(1)
            moved = await asyncio.to_thread(_move_all, database)
            await asyncio.sleep(6)
        total = sum((trader.statuses for trader in traders), start=type(traders[0].statuses)())
        print(f"moved {moved} shards: {dict(total)}")
        assert set(total) == {200, 201}
        assert not await list_undelivered(shop_side, traders)
        for trader in traders:
            for code in trader.accepted:
                assert (await caller.merchant(trader.token, "GET", code))[1]["order"]["state"] != "open"


def _move_all(url: str) -> int:
    """Move each group of shards to the other node."""
    with psycopg.connect(url, autocommit=True) as connection:
        nodes = load_shards(connection).nodes
        shards = connection.execute(
            "SELECT s.shardid, n.nodename, n.nodeport FROM pg_dist_shard s JOIN pg_dist_placement p USING (shardid)"
            " JOIN pg_dist_node n USING (groupid) WHERE s.logicalrelid = 'shops'::regclass"
        ).fetchall()
        for shard, host, port in shards:
            target = next(node for node in nodes if (node.host, node.port) != (host, port))
            connection.execute(
                "SELECT citus_move_shard_placement(%s, %s, %s, %s, %s)", [shard, host, port, target.host, target.port]
            )
    return len(shards)


@pytest.mark.parametrize("way", ["kalathi", "pg_dump"])
async def test_a_spread_marketplace_goes_back_to_one_server(way: str, database: str, tmp_path: Path) -> None:
    async with (
        running(tmp_path, *serve(tmp_path, "--database", database)) as process,
        calling(process.address) as caller,
    ):
        shop_id, token = await caller.shop(None)
        codes = [await _order(caller, shop_id, token) for _ in range(5)]
        assert await process.terminate() == 0
    name = f"kalathi_back_{os.getpid()}"
    plain = named(CITUS, name)
    with psycopg.connect(CITUS, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        if way == "kalathi":
            backup = str(tmp_path / "market.kalathi")
            assert (await kalathi("backup", backup, "--database", database, "--data", str(tmp_path)))[0] == 0
            assert (await kalathi("restore", backup, "--database", plain, "--data", str(tmp_path)))[0] == 0
        else:
            await asyncio.to_thread(_dump_and_restore, database, plain)
        async with (
            running(tmp_path, *serve(tmp_path, "--database", plain)) as process,
            calling(process.address) as caller,
        ):
            for code in codes:
                assert (await caller.merchant(token, "GET", code))[1]["order"]["state"] != "open"
            await _order(caller, shop_id, token)
    finally:
        with psycopg.connect(CITUS, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _dump_and_restore(source: str, target: str) -> None:
    with psycopg.connect(source) as connection:
        row = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
        assert row is not None
    dump = subprocess.run(
        [f"{row[0]}/pg_dump", "--no-owner", "--extension", "plpgsql", source], check=True, capture_output=True
    )
    subprocess.run(
        [f"{row[0]}/psql", "--quiet", "--set", "ON_ERROR_STOP=1", target],
        check=True,
        input=dump.stdout,
        stdout=subprocess.DEVNULL,
    )


def test_new_tables_of_a_migration_are_spread(database: str) -> None:
    """As if the last step had come after the database was spread."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP TABLE node_marks")
        connection.execute("UPDATE alembic_version SET version_num = '0011'")
    migrating.migrate_postgres(database)
    with psycopg.connect(database, autocommit=True) as connection:
        assert is_spread(connection)
        row = connection.execute("SELECT count(DISTINCT colocationid) FROM pg_dist_partition WHERE partmethod = 'h'")
        assert row.fetchone() == (1,)
    assert list(list_targets())


def test_a_node_refuses_to_migrate(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0011'")
    node = named(list_servers(CITUS)[1], database.rpartition("/")[2])
    with pytest.raises(ValueError, match="Name the coordinator"):
        migrating.migrate_postgres(node)
