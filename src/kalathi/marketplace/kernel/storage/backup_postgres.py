"""The PostgreSQL side of backups."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy import create_engine, text

from kalathi.marketplace.kernel.storage.backups import (
    About,
    BackupError,
    Progress,
    Row,
    Source,
    read_about,
    restore_rows,
)
from kalathi.marketplace.kernel.storage.migrating import migrate_postgres
from kalathi.marketplace.kernel.storage.schema import METADATA

_FETCHED_AT_ONCE: Final = 500
_CONNECT_SECONDS: Final = 10
# Any number that no other program uses for its own lock on this database.
_LOCK: Final = 0x6B616C7265737430
_ANY_TABLE: Final = (
    "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f'))"
)


class _PostgresSource:
    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def shape(self) -> str:
        if not _holds_tables(self._connection):
            return ""
        row = self._connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else ""

    def columns(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for table, column in self._connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
            " ORDER BY table_name, ordinal_position"
        ):
            if table in METADATA.tables:
                found.setdefault(table, []).append(column)
        return found

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        query = SQL("SELECT {} FROM {}").format(SQL(", ").join(map(Identifier, columns)), Identifier(table))
        with self._connection.cursor(name="kalathi_backup") as cursor:
            cursor.itersize = _FETCHED_AT_ONCE
            yield from cursor.execute(query)


@contextmanager
def postgres_source(url: str) -> Iterator[Source]:
    """Open a snapshot of the database, also while a marketplace uses it. Raises psycopg.Error."""
    with psycopg.connect(url, connect_timeout=_CONNECT_SECONDS) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield _PostgresSource(connection)


def restore_postgres(archive: zipfile.ZipFile, url: str, progress: Progress) -> dict[str, int]:
    """Restore into an empty database, whole or not at all. Return the rows by table. Raises BackupError,
    psycopg.Error."""
    about = read_about(archive)
    with psycopg.connect(url, connect_timeout=_CONNECT_SECONDS, autocommit=True) as guard:
        # A second restore does not wait for the first: the database would not be empty afterwards.
        if not _fetch(guard, SQL("SELECT pg_try_advisory_lock({})").format(_LOCK)):
            raise BackupError("Another restore into this database is running.")
        if _fetch(guard, SQL(_ANY_TABLE)):
            raise BackupError("The database is not empty. Name an empty one with --database.")
        try:
            return _fill(archive, about, url, progress)
        except BaseException:
            # All tables are ours, because the database was empty before.
            _drop_tables(url)
            raise


def _fill(archive: zipfile.ZipFile, about: About, url: str, progress: Progress) -> dict[str, int]:
    counts = {}
    migrate_postgres(url, about.shape)
    with psycopg.connect(url) as connection:
        for table, names in about.columns.items():
            counts[table] = _restore_table(connection, archive, table, names)
            progress(table, counts[table])
    migrate_postgres(url)
    return counts


def _fetch(connection: psycopg.Connection, query: SQL | Composed) -> bool:
    row = connection.execute(query).fetchone()
    return bool(row and row[0])


def _restore_table(connection: psycopg.Connection, archive: zipfile.ZipFile, table: str, columns: Sequence[str]) -> int:
    names = SQL(", ").join(map(Identifier, columns))
    statement = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table), names)
    try:
        with connection.cursor() as cursor, cursor.copy(statement) as copy:

            def insert(rows: list[Row]) -> None:
                for row in rows:
                    copy.write_row(row)

            return restore_rows(archive, table, insert)
    except psycopg.DataError as error:
        raise BackupError(
            f"The backup is damaged: the rows of its table {table} cannot be inserted ({error})."
        ) from None


def _holds_tables(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    return row is not None and row[0] is not None


def _drop_tables(url: str) -> None:
    """Drop all our tables, so that the database is empty again."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    try:
        with engine.begin() as connection:
            METADATA.drop_all(connection)
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    finally:
        engine.dispose()
