"""Databases of earlier versions are upgraded, with a copy on SQLite, and none is ever downgraded."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from kalathi.marketplace.kernel.storage import migrating, upgrading
from kalathi.marketplace.kernel.storage.backup_postgres import restore_postgres
from kalathi.marketplace.kernel.storage.backup_sqlite import restore_sqlite
from kalathi.marketplace.kernel.storage.backups import open_backup
from kalathi.marketplace.kernel.storage.opening import open_database, sqlite_path
from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase
from tests.databases import drop_postgres, empty_postgres
from tests.e2e.processes import calling, kalathi, running

pytestmark = pytest.mark.anyio

KEPT = sorted((Path(__file__).parents[1] / "data" / "schemas").glob("*.kalathi"))
EARLIER = [f"{number:04}" for number in range(1, int(migrating.HEAD))]


def _make(path: Path, shape: str) -> None:
    """A file of this shape with one order's code."""
    path.parent.mkdir(exist_ok=True)
    migrating.migrate_sqlite(path, shape)
    table = "order_directory" if shape == "0001" else "directory"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"INSERT INTO {table} (code, shop_id) VALUES ('261124-0000001', 's')")
        connection.commit()


def _codes(path: Path, table: str = "directory") -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [code for (code,) in connection.execute(f"SELECT code FROM {table}")]


def test_a_database_of_this_version_is_kept_for_later_ones() -> None:
    assert KEPT[-1].stem == migrating.HEAD, "run `python -m release.schema` before the release"


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: str(path.stem))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_database_of_each_released_version_is_upgraded_and_served(
    kept: Path, kind: str, tmp_path: Path
) -> None:
    url = empty_postgres() if kind == "postgresql" else ""
    with open_backup(kept) as archive:
        if url:
            rows = restore_postgres(archive, url, lambda *_: None)
        else:
            (tmp_path / "market").mkdir()
            rows = restore_sqlite(archive, tmp_path / "market" / "kalathi.db", lambda *_: None)
    arguments = ["serve", "--port", "0", "--data", str(tmp_path / "market"), *(["--database", url] if url else [])]
    async with running(tmp_path, *arguments) as market, calling(market.address) as caller:
        found = (await caller.operate("GET", "/marketplace/orders"))["orders"]
        assert len(found) == rows["orders"] > 5
        for order in found:
            shown = await caller.operate("GET", f"/marketplace/orders/{order['code']}")
            assert shown["order"]["code"] == order["code"]
    if url:
        drop_postgres(url)


@pytest.mark.parametrize("shape", EARLIER)
async def test_an_upgrade_keeps_a_copy_and_says_the_way_back(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "market" / "kalathi.db"
    _make(path, shape)
    at = ("--data", str(path.parent))
    status, planned, _ = await kalathi("db", "upgrade", "--check", "--json", *at)
    assert status == 1
    assert json.loads(planned)["shape"] == shape
    assert [step[:4] for step in json.loads(planned)["steps"]] == [*EARLIER, migrating.HEAD][int(shape) :]
    assert upgrading.read_shape(path) == shape, "--check changes nothing"

    status, said, error = await kalathi("db", "upgrade", *at)
    assert status == 0, error
    [copy] = upgrading.find_copies(path)
    assert str(copy) in said
    assert (stat.S_IMODE(copy.stat().st_mode), upgrading.read_shape(copy)) == (0o600, shape)
    assert _codes(path) == _codes(copy, "order_directory" if shape == "0001" else "directory") == ["261124-0000001"]
    assert (await kalathi("db", "upgrade", "--check", *at))[0] == 0

    status, _, refused = await kalathi("db", "downgrade", *at)
    assert status == 1
    assert f"a database is never downgraded: the earlier version would lose data of this one. {_way(copy)}" in refused


def _way(copy: Path) -> str:
    return (
        "To return to an earlier version, stop Kalathi, delete kalathi.db-wal and kalathi.db-shm if they are there, and"
        f" put a copy in the place of kalathi.db; everything after the upgrade is then lost. The last copy is {copy}."
    )


async def test_a_start_upgrades_with_a_copy_unless_the_setting_is_off(tmp_path: Path) -> None:
    for setting, count in (("on", 1), ("off", 0)):
        path = tmp_path / setting / "kalathi.db"
        _make(path, "0004")
        serve = ("serve", "--port", "0", "--data", str(path.parent), "--backup-before-upgrade", setting)
        async with running(tmp_path / f"{setting}-log", *serve) as market:
            assert len(upgrading.find_copies(path)) == count
            await market.terminate()
        # The line is written by the time that the process has ended.
        assert ("database_upgraded" in market.log.read_text("utf-8")) == bool(count)
        assert upgrading.read_shape(path) == migrating.HEAD


async def test_a_running_marketplace_is_not_upgraded_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "kalathi.db"
    _make(path, "0004")
    with closing(sqlite3.connect(path)):
        database = SqliteDatabase(tmp_path / "other.db")
        await database.close()
    opened = await open_database(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0004'")
        connection.commit()
    status, _, error = await kalathi("db", "upgrade", "--data", str(tmp_path))
    assert (status, "Another process serves this database" in error) == (1, True)
    await opened.close()


async def test_a_newer_database_is_refused_with_the_way_back(tmp_path: Path) -> None:
    path = tmp_path / "kalathi.db"
    _make(path, migrating.HEAD)
    copy = upgrading.copy_file(path, "0006")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    for command in (("serve", "--port", "0"), ("db", "upgrade")):
        status, said, error = await kalathi(*command, "--data", str(tmp_path))
        assert status == 1
        assert "9999" in said + error
        assert "the newer version" in said + error
    with pytest.raises(migrating.NewerDatabaseError, match=str(copy)):
        upgrading.upgrade_sqlite(path, keep_copy=True)
    assert sqlite_path(f"sqlite:///{path}") == path


@pytest.mark.parametrize("command", ["upgrade", "downgrade"])
async def test_a_missing_database_is_named(command: str, tmp_path: Path) -> None:
    status, _, error = await kalathi("db", command, "--data", str(tmp_path / "none"))
    assert status == 1
    assert ("there is no database at" in error) == (command == "upgrade")


async def test_postgresql_is_upgraded_by_the_command(tmp_path: Path) -> None:
    url = empty_postgres()
    migrating.migrate_postgres(url, "0005")
    at = ("--database", url, "--data", str(tmp_path))
    status, said, _ = await kalathi("db", "upgrade", "--check", *at)
    assert (status, f"needs {int(migrating.HEAD) - 5} steps" in said) == (1, True)
    assert (await kalathi("db", "upgrade", *at))[0] == 0
    assert (await kalathi("db", "upgrade", "--check", *at))[0] == 0
    status, _, error = await kalathi("db", "downgrade", *at)
    assert (status, "Restore a backup" in error) == (1, True)
    drop_postgres(url)


@pytest.mark.parametrize("suffix", [".db", ".sqlite"])
def test_a_failed_upgrade_leaves_the_file_and_no_copy(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"market[1]{suffix}"
    _make(path, "0004")
    before = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE shop_documents (x)")  # The last step makes this table.
        connection.commit()
    for _ in range(2):
        with pytest.raises(OperationalError, match="already exists"):
            upgrading.upgrade_sqlite(path, keep_copy=True)
    assert upgrading.read_shape(path) == "0004"
    assert [copy.name for copy in tmp_path.iterdir()] == [path.name]
    assert before


def test_the_last_copy_that_this_version_can_open_is_named(tmp_path: Path) -> None:
    path = tmp_path / "market[1].sqlite"
    # After a way back, an earlier shape is copied later.
    names = ("0007-20261230T000000Z", "0006-20270102T000000Z", "9999-20270103T000000Z")
    for name in reversed(names):
        (tmp_path / f"market[1]-{name}.sqlite").touch()
    assert [copy.stem.partition("-")[2] for copy in upgrading.find_copies(path)] == list(names)
    assert names[1] in upgrading.describe_way_back(path, migrating.HEAD)
    assert names[2] in upgrading.describe_way_back(path)


def test_a_copy_that_was_interrupted_is_removed_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "kalathi.db"
    _make(path, "0006")
    (tmp_path / "kalathi-0006-20261130T000000Z.db.part").touch()
    copy = upgrading.copy_file(path, "0006")
    assert sorted(tmp_path.iterdir()) == sorted([path, copy])


@pytest.mark.parametrize("tables", ["CREATE TABLE alembic_version (version_num)", "CREATE TABLE theirs (x)"])
async def test_a_database_of_another_program_is_left_alone(tables: str, tmp_path: Path) -> None:
    path = tmp_path / "kalathi.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(tables)
        if "alembic" in tables:
            connection.execute("INSERT INTO alembic_version VALUES ('0003abcdef12')")
        connection.commit()
    before = path.read_bytes()
    for more in ((), ("--check",)):
        status, _, error = await kalathi("db", "upgrade", "--data", str(tmp_path), *more)
        assert (status, "has tables of another program" in error) == (1, True)
    assert path.read_bytes() == before
