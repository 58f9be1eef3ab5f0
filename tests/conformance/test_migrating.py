"""Migrations create exactly the tables of the schema, on both databases."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import CreateTable

from kalathi.marketplace.kernel.storage import migrating
from kalathi.marketplace.kernel.storage.changes import Value
from kalathi.marketplace.kernel.storage.database import Row
from kalathi.marketplace.kernel.storage.schema import METADATA
from tests.databases import drop_postgres, empty_postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database, migrated twice."""
    if request.param == "sqlite":
        for _ in range(2):
            migrating.migrate_sqlite(tmp_path / "kalathi.db")
        engine = create_engine(f"sqlite:///{tmp_path / 'kalathi.db'}")
        yield engine
        engine.dispose()
    else:
        url = empty_postgres()
        for _ in range(2):
            migrating.migrate_postgres(url)
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        yield engine
        engine.dispose()
        drop_postgres(url)


def test_migrations_create_the_tables_of_the_schema(migrated: Engine) -> None:
    with migrated.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        if migrated.dialect.name == "sqlite":
            rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
            made = {row[0]: str(row[1]) for row in rows}
            for name, table in METADATA.tables.items():
                wanted = str(CreateTable(table).compile(dialect=sqlite.dialect()))
                assert "".join(made[name].split()) == "".join(wanted.split())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_migrating_from_the_first_version_keeps_the_rows(kind: str, tmp_path: Path) -> None:
    """Order codes move to the directory that they share with returns and purchase orders."""
    url = f"sqlite:///{tmp_path / 'kalathi.db'}" if kind == "sqlite" else empty_postgres()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    config = Config()
    config.set_main_option("script_location", str(Path(migrating.__file__).with_name("migrations")))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO order_directory (code, shop_id) VALUES ('261124-0000001', 's')"))
    if kind == "sqlite":
        migrating.migrate_sqlite(tmp_path / "kalathi.db")
    else:
        migrating.migrate_postgres(url)
    with engine.begin() as connection:
        assert list(connection.execute(text("SELECT code, shop_id FROM directory"))) == [("261124-0000001", "s")]
        assert "order_directory" not in inspect(connection).get_table_names()
    engine.dispose()
    if kind == "postgresql":
        drop_postgres(url)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_migrating_from_leases_keeps_every_due_row(kind: str, tmp_path: Path) -> None:
    """Also the rows that a worker of the version before had leased."""
    url = f"sqlite:///{tmp_path / 'kalathi.db'}" if kind == "sqlite" else empty_postgres()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    config = Config()
    config.set_main_option("script_location", str(Path(migrating.__file__).with_name("migrations")))
    columns = "shop_id, kind, subject, sequence, due_at, anchor_at, attempts"
    rows = [("s", "delivery", f"o{number}", number, 100 + number, 100, number % 4) for number in range(50)]
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        for number, row in enumerate(rows):
            values = ", ".join(repr(value) for value in (*row, number % 2, number % 2 * 10**13))
            connection.execute(text(f"INSERT INTO due ({columns}, lease, leased_until) VALUES ({values})"))
    if kind == "sqlite":
        migrating.migrate_sqlite(tmp_path / "kalathi.db")
    else:
        migrating.migrate_postgres(url)
    with engine.begin() as connection:
        assert [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM due ORDER BY due_at"))] == rows
    engine.dispose()
    if kind == "postgresql":
        drop_postgres(url)


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrating.__file__).with_name("migrations")))
    assert ScriptDirectory.from_config(config).get_current_head() == migrating.HEAD


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kalathi.db"
    migrating.migrate_sqlite(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(migrating.NewerDatabaseError, match="Run the newer version"):
        migrating.migrate_sqlite(path)


class _VersionView:
    """A view of a database whose tables have this shape."""

    dialect: Final = "sqlite"

    def __init__(self, version: str) -> None:
        self._version = version

    def one(self, _sql: str, _parameters: Mapping[str, Value]) -> Row | None:
        return (self._version,)

    def all(self, _sql: str, _parameters: Mapping[str, Value]) -> list[Row]:
        raise NotImplementedError

    def for_each(
        self,
        names: Sequence[str],
        keys: Sequence[tuple[str | int, ...]],
        sql: str,
        parameters: Mapping[str, Value],
        *,
        is_complete: bool = True,
    ) -> list[Row]:
        raise NotImplementedError

    def each_shard(self, sql: str, parameters: Mapping[str, Value], *, is_complete: bool = False) -> list[Row]:
        raise NotImplementedError


@pytest.mark.parametrize(("version", "word"), [(migrating.HEAD, "ok"), ("9999", "newer"), ("0000", "older")])
def test_a_running_process_detects_tables_of_another_version(version: str, word: str) -> None:
    assert migrating.shape_of(_VersionView(version)) == word


def test_an_interrupted_migration_leaves_no_tables(tmp_path: Path) -> None:
    """As after a kill: the next start creates all tables."""
    path = tmp_path / "kalathi.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE uploads (x)"))  # One of the last that are made.
    with pytest.raises(OperationalError, match="uploads"):
        migrating.migrate_sqlite(path)
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == ["uploads"]
        connection.execute(text("DROP TABLE uploads"))
    migrating.migrate_sqlite(path)
    assert set(inspect(engine).get_table_names()) >= set(METADATA.tables)
    engine.dispose()
