"""`kalathi backup` and `restore`, between both databases, while the marketplace runs, and the backups they refuse."""

import asyncio
import json
import sqlite3
import stat
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kalathi.marketplace.kernel.storage import backups
from kalathi.marketplace.kernel.storage.backup_sqlite import restore_sqlite
from kalathi.marketplace.kernel.storage.backups import BackupError, open_backup
from kalathi.marketplace.kernel.storage.migrating import migrate_sqlite
from kalathi.marketplace.kernel.storage.schema import METADATA
from tests.databases import drop_postgres, empty_postgres, fresh_postgres
from tests.e2e.processes import Caller, calling, kalathi, running, serve

pytestmark = pytest.mark.anyio


async def _fill(caller: Caller) -> tuple[str, str, list[str]]:
    """A shop with accepted orders, vouchers, a return and an invoice; gives its id, token and the orders' codes."""
    shop_id, token = await caller.shop("http://127.0.0.1:9/hook")
    codes = [await caller.cart(shop_id) for _ in range(3)]
    for code in codes[:2]:
        assert (await caller.accept(token, code))[0] == 200
    await caller.operate("POST", "/marketplace/clock", {"advance_seconds": 5})
    await caller.operate("POST", "/marketplace/scenarios/return_faulty", {"shop_id": shop_id, "set": {}})
    return shop_id, token, codes


async def _facts(caller: Caller, shop_id: str, token: str, codes: list[str]) -> dict[str, Any]:
    """Facts that a restore must preserve."""
    orders = [await caller.operate("GET", f"/marketplace/orders/{code}") for code in codes]
    seen = [await caller.merchant(token, "GET", code) for code in codes]
    vouchers = [order["order"]["courier_voucher"] for _, order in seen if order["order"].get("courier_voucher")]
    return {
        "orders": [order["order"]["state"] for order in orders],
        "timeline": [order["timeline"] for order in orders],
        "vouchers": [await caller.status(link[link.index("/vouchers") :]) for link in vouchers],
        "shop": await caller.operate("GET", f"/marketplace/shops/{shop_id}"),
        "returns": (await caller.operate("GET", "/marketplace/returns"))["returns"],
        "log": (await caller.operate("GET", "/marketplace/deliveries"))["meta"],
    }


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the marketplace is."""
    if request.param == "sqlite":
        yield ""
        return
    url = fresh_postgres()
    yield url
    drop_postgres(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def restored(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where it is restored."""
    if request.param == "sqlite":
        yield ""
        return
    url = empty_postgres()
    yield url
    drop_postgres(url)


def _at(database: str) -> tuple[str, ...]:
    return ("--database", database) if database else ()


async def test_a_running_marketplace_is_backed_up_and_restored_completely(
    tmp_path: Path, database: str, restored: str
) -> None:
    if not (database or restored):
        return  # The tests below go from SQLite to SQLite.
    file = tmp_path / "market.kalathi"
    arguments = serve(tmp_path / "a", *_at(database))
    async with running(tmp_path / "a", *arguments) as market, calling(market.address) as caller:
        filled = await _fill(caller)
        before = await _facts(caller, *filled)
        status, out, error = await kalathi("backup", str(file), "--data", str(tmp_path / "a"), *_at(database))
        assert status == 0, error
        assert "1 shops, 4 orders" in out
        await caller.cart(filled[0])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    status, _, error = await kalathi("backup", str(file), "--data", str(tmp_path / "a"), *_at(database))
    assert (status, "--force" in error) == (1, True)
    assert not list(tmp_path.glob("*.part"))

    status, out, error = await kalathi("restore", str(file), "--data", str(tmp_path / "b"), *_at(restored), "--json")
    assert status == 0, error
    assert json.loads(out)["rows"]["orders"] == 4
    arguments = serve(tmp_path / "b", *_at(restored))
    async with running(tmp_path / "b", *arguments) as market, calling(market.address) as caller:
        after = await _facts(caller, *filled)
        # The restored marketplace has done the work that was due, and kept everything that had happened before.
        pairs = zip(after.pop("timeline"), before.pop("timeline"), strict=True)
        assert all(now[: len(then)] == then for now, then in pairs)
        assert after == before
        # Numbers go on: a new order gets a code that none has.
        assert await caller.cart(filled[0]) not in filled[2]
    status, _, error = await kalathi("restore", str(file), "--data", str(tmp_path / "b"), *_at(restored))
    assert status == 1
    assert ("is not empty" if restored else "exists already") in error


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
async def test_a_leftover_write_ahead_log_stops_the_restore(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a").mkdir()
    migrate_sqlite(tmp_path / "a" / "kalathi.db")
    file = str(tmp_path / "x.kalathi")
    assert (await kalathi("backup", file, "--data", str(tmp_path / "a")))[0] == 0
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / f"kalathi.db{suffix}").write_bytes(b"left")
    status, _, error = await kalathi("restore", file, "--data", str(tmp_path / "b"))
    assert (status, f"kalathi.db{suffix} exists already" in error) == (1, True)
    async with running(tmp_path / "c", *serve(tmp_path / "c")):
        status, _, error = await kalathi("restore", file, "--data", str(tmp_path / "c"))
        assert (status, "Another process serves this database" in error) == (1, True)


async def test_the_operators_token_is_restored_unless_one_exists(tmp_path: Path) -> None:
    data = tmp_path / "a"
    data.mkdir()
    migrate_sqlite(data / "kalathi.db")
    (data / "operator-token").write_text("the-token\n", "utf-8")
    file = str(tmp_path / "x.kalathi")
    assert (await kalathi("backup", file, "--data", str(data)))[0] == 0
    for name, content in (("new", None), ("old", "another\n")):
        folder = tmp_path / name
        folder.mkdir()
        if content:
            (folder / "operator-token").write_text(content, "utf-8")
        assert (await kalathi("restore", file, "--data", str(folder)))[0] == 0
        assert (folder / "operator-token").read_text("utf-8") == (content or "the-token\n")
    assert stat.S_IMODE((tmp_path / "new" / "operator-token").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new" / "kalathi.db").stat().st_mode) == 0o600


@asynccontextmanager
async def _backup(tmp_path: Path) -> AsyncIterator[Path]:
    async with running(tmp_path / "a", *serve(tmp_path / "a")) as market, calling(market.address) as caller:
        await _fill(caller)
        file = tmp_path / "market.kalathi"
        status, _, error = await kalathi("backup", str(file), "--data", str(tmp_path / "a"))
        assert status == 0, error
    yield file


async def test_a_truncated_or_altered_backup_restores_nothing(tmp_path: Path) -> None:
    async with _backup(tmp_path) as file:
        whole = file.read_bytes()
        spoiled = tmp_path / "spoiled.kalathi"
        # The end of the file is its directory, where most bytes mean something.
        places = [*range(0, len(whole), len(whole) // 15), *range(len(whole) - 2500, len(whole), 13)]
        for at in places:
            for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
                spoiled.write_bytes(content)
                target = tmp_path / "b" / "kalathi.db"
                try:
                    with open_backup(spoiled) as archive:
                        restore_sqlite(archive, target, lambda *_: None)
                except BackupError:
                    assert not target.exists()
                    assert {path.name for path in target.parent.glob("*")} <= {"kalathi.db.lock"}
                else:
                    # A byte of metadata, such as a date: the content is complete.
                    with closing(sqlite3.connect(target)) as connection:
                        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (4,)
                    target.unlink()
        for at in (0, len(whole) // 2, len(whole) - 1):
            spoiled.write_bytes(whole[:at])
            status, _, error = await kalathi("restore", str(spoiled), "--data", str(tmp_path / "c"))
            assert (status, error.count("\n")) == (1, 1)
            assert "no whole backup" in error
        assert not (tmp_path / "c").exists()


async def test_a_failed_restore_leaves_an_empty_database(tmp_path: Path) -> None:
    async with _backup(tmp_path) as file:
        spoiled = tmp_path / "spoiled.kalathi"
        with zipfile.ZipFile(file) as old, zipfile.ZipFile(spoiled, "w") as new:
            for name in old.namelist():
                new.writestr(name, old.read(name) * (2 if name == "tables/orders" else 1))
        url = empty_postgres()
        for _ in range(2):
            status, _, error = await kalathi("restore", str(spoiled), "--data", str(tmp_path / "p"), "--database", url)
            assert status == 1
            assert "Traceback" not in error
        status, _, error = await kalathi("restore", str(file), "--data", str(tmp_path / "p"), "--database", url)
        assert status == 0, error
        drop_postgres(url)


async def test_a_restore_into_a_database_with_rows_is_refused(tmp_path: Path) -> None:
    async with _backup(tmp_path) as file:
        url = empty_postgres()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE orders (id integer)")
            connection.execute("INSERT INTO orders VALUES (1), (2)")
        to = ("--data", str(tmp_path / "p"), "--database", url)
        status, _, error = await kalathi("restore", str(file), *to)
        assert (status, "is not empty" in error) == (1, True)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchone() == (2,)
            connection.execute("DROP TABLE orders")
        # Of several at once, into either database, one restores and the others change nothing.
        for target in (to, ("--data", str(tmp_path / "q"))):
            ended = await asyncio.gather(*(kalathi("restore", str(file), *target) for _ in range(3)))
            assert sorted(status for status, _, _ in ended) == [0, 1, 1], ended
            assert all("Traceback" not in error for _, _, error in ended)
            status, out, error = await kalathi("backup", str(tmp_path / "again.kalathi"), *target, "--force")
            assert (status, "4 orders" in out) == (0, True), error
        drop_postgres(url)


async def test_a_full_disk_leaves_no_partial_backup_or_database(tmp_path: Path) -> None:
    async with _backup(tmp_path) as file:
        for arguments in (
            f"backup {tmp_path / 'new.kalathi'} --data {tmp_path / 'a'}",
            f"restore {file} --data {tmp_path / 'b'}",
        ):
            command = f"ulimit -f 16; {sys.executable} -m kalathi.cli {arguments}"
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            async with asyncio.timeout(60):
                out, error = await process.communicate()
            assert (process.returncode, out) == (1, b"")
            assert b"Traceback" not in error
            assert b"damaged" not in error
        left = {path.name for folder in (tmp_path, tmp_path / "b") for path in folder.glob("*") if path.is_file()}
        assert left <= {"market.kalathi", "kalathi.db.lock", "log"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("backup", "x.kalathi", "--data", "nowhere"), "There is no marketplace in nowhere"),
        (("backup", "x.kalathi", "--database", "mysql://x"), "give sqlite:///path or postgresql://"),
        (("backup", "x.kalathi", "--database", "postgresql://u:SECRET@127.0.0.1:1/x"), "cannot be used"),
        (("restore", "nothing.kalathi"), "cannot be read: No such file"),
        (("restore", __file__), "no whole backup of Kalathi"),
        (("restore", "other.zip"), "is not a backup of Kalathi"),
        (("restore", "newer.zip"), "of a newer version"),
        (("restore", "tables.zip"), "another program's tables"),
        (("restore", "shapeless.zip"), "its tables are not described"),
        (("restore", "more.zip"), "its tables are not those of its description"),
    ],
)
async def test_a_failed_backup_or_restore_is_reported_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    about = {"format": 1, "shape": "0005", "taken_at": "2026-11-29T00:00:00Z", "columns": {}}
    for name, content in (
        ("other.zip", None),
        ("newer.zip", about | {"shape": "9999"}),
        ("more.zip", about | {"columns": {"orders": ["code"]}}),
        ("shapeless.zip", about | {"shape": "0000"}),
        ("tables.zip", about | {"columns": {"sqlite_master": ["a"]}}),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("backup.json" if content else "x", json.dumps(content))
    command, file, *rest = arguments
    status, out, error = await kalathi(
        command, str(tmp_path / file), *rest, *(() if "--data" in rest else ("--data", str(tmp_path / "d")))
    )
    assert (status, out, error.count("\n")) == (1, "", 1)
    assert sentence in error
    assert "SECRET" not in error
    assert not list(tmp_path.glob("*.kalathi*"))


def test_a_backup_omits_only_the_tables_of_running_processes() -> None:
    assert backups._LEFT_OUT - {"alembic_version"} < METADATA.tables.keys()
    assert {"commit_marks", "listeners", "workers", "shards"} == backups._LEFT_OUT & METADATA.tables.keys()
