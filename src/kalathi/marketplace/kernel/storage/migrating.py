"""Migrate the tables of a database to the shape of this version (Alembic), in the first process that starts.

On SQLite, one process holds the lock on the file; on PostgreSQL, an advisory lock makes the other processes wait. One
SELECT recognises a database that is up to date, so that Alembic is imported only if there are steps to run: its import
takes longer than the rest of a start.
"""

from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import URL, Connection, create_engine, event, inspect, text
from sqlalchemy.engine import Engine

from kalathi.marketplace.kernel.storage.database import View

# The newest step of migrations/versions; a test compares.
HEAD: Final = "0012"
# Any number that no other program uses for its own lock on this database.
_LOCK: Final = 0x6B616C61746869
_MIGRATIONS: Final = Path(__file__).with_name("migrations")


class NewerDatabaseError(Exception):
    """A newer version of Kalathi has migrated the database."""


def migrate_sqlite(path: Path, shape: str = HEAD) -> None:
    """Migrate a file that no other process has open. Give an earlier `shape` for a new file only. Raises
    NewerDatabaseError."""
    engine = create_engine(URL.create("sqlite", database=str(path)), isolation_level="AUTOCOMMIT")
    # By default the driver commits before each statement that changes a table. A process that is killed in between
    # would leave a half-migrated file, which no start can repair.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    event.listen(engine, "commit", lambda connection: connection.exec_driver_sql("COMMIT"))
    event.listen(engine, "rollback", lambda connection: connection.exec_driver_sql("ROLLBACK"))
    _migrate(engine, shape)


def migrate_postgres(url: str, shape: str = HEAD) -> None:
    """Migrate the database of a `postgresql://` URL. Raises NewerDatabaseError, and SQLAlchemy's errors if it cannot be
    reached."""
    _migrate(create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1)), shape)


def shape_of(view: View) -> str:
    """Return `ok`, or `newer` or `older` if another version has changed the tables since this process started."""
    row = view.one("SELECT version_num FROM alembic_version", {})
    version = row[0] if row else ""
    return "ok" if version == HEAD else "newer" if version > HEAD else "older"


def list_steps(shape: str) -> list[str]:
    """Return the number and the title of each step after a shape, in their sequence; an empty text is no tables."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415  (only when there is something to do; see the top)

    steps = ScriptDirectory(str(_MIGRATIONS)).iterate_revisions(HEAD, shape or "base")
    return [f"{step.revision} {step.doc}" for step in reversed(list(steps))]


def _migrate(engine: Engine, shape: str) -> None:
    try:
        with engine.connect() as connection:
            if _is_current(connection):
                return
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                if _is_current(connection):
                    return
                _check_place(connection)
            _run(connection, shape)
            if engine.dialect.name == "postgresql":
                _distribute_new(connection)
    finally:
        engine.dispose()


def _check_place(connection: Connection) -> None:
    """Raise DistributeError on a node of a spread database: its tables can be changed on the coordinator only."""
    from kalathi.marketplace.kernel.storage.spread.targets import check_coordinator  # noqa: PLC0415  (only for PostgreSQL)

    check_coordinator(cast(Any, connection.connection.driver_connection))


def _distribute_new(connection: Connection) -> None:
    """Move new tables of a spread database to its nodes. They would stay on the coordinator."""
    from kalathi.marketplace.kernel.storage.spread.targets import distribute_new  # noqa: PLC0415  (only for PostgreSQL)

    distribute_new(cast(Any, connection.connection.driver_connection))


def _is_current(connection: Connection) -> bool:
    if not inspect(connection).has_table("alembic_version"):
        return False
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if version is not None and version > HEAD:
        raise NewerDatabaseError(
            f"The database has shape {version}, this version of Kalathi knows up to {HEAD}. Run the newer version."
        )
    return bool(version == HEAD)


def _run(connection: Connection, shape: str) -> None:
    from alembic import command  # noqa: PLC0415  (only when there is something to do)
    from alembic.config import Config  # noqa: PLC0415  (Alembic is slow to import)

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, shape)
