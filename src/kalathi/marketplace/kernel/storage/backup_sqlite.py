"""The SQLite side of backups."""

import sqlite3
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from kalathi.marketplace.kernel.storage.backups import (
    About,
    BackupError,
    Progress,
    Row,
    Source,
    read_about,
    restore_rows,
)
from kalathi.marketplace.kernel.storage.migrating import migrate_sqlite
from kalathi.marketplace.kernel.storage.sqlite import lock_database
from kalathi.system.files import make_private_folder


class _SqliteSource:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def shape(self) -> str:
        try:
            row = self._connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            return ""
        return str(row[0]) if row else ""

    def columns(self) -> dict[str, list[str]]:
        named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        tables = [name for (name,) in self._connection.execute(named).fetchall()]
        return {table: [row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")] for table in tables}

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        yield from self._connection.execute(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608  (names of the file)


@contextmanager
def sqlite_source(path: Path) -> Iterator[Source]:
    """Open a snapshot of the file, also while a marketplace serves it. Raises BackupError, sqlite3.Error."""
    if not path.is_file():
        raise BackupError(f"There is no marketplace in {path.parent}: {path.name} is missing.")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout=5000")
        connection.execute("PRAGMA query_only=ON")
        connection.execute("BEGIN")
        yield _SqliteSource(connection)


def restore_sqlite(archive: zipfile.ZipFile, path: Path, progress: Progress) -> dict[str, int]:
    """Restore into a new file, whole or not at all. Return the rows by table. Raises BackupError, OSError."""
    about = read_about(archive)
    make_private_folder(path.parent)
    with lock_database(path):
        # SQLite would replay a log that another database left behind.
        for left in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))):
            if left.exists():
                raise BackupError(f"{left} exists already. Name an empty folder with --data.")
        return _fill(archive, about, path, progress)


def _fill(archive: zipfile.ZipFile, about: About, path: Path, progress: Progress) -> dict[str, int]:
    unfinished = path.with_name(path.name + ".restoring")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    counts = {}
    try:
        migrate_sqlite(unfinished, about.shape)
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN")
            for table, names in about.columns.items():
                counts[table] = _restore_table(connection, archive, table, names)
                progress(table, counts[table])
            connection.execute("COMMIT")
        migrate_sqlite(unfinished)
        unfinished.replace(path)
    finally:
        for left in (unfinished, *unfinished.parent.glob(unfinished.name + "-*")):
            left.unlink(missing_ok=True)
    return counts


def _restore_table(connection: sqlite3.Connection, archive: zipfile.ZipFile, table: str, columns: Sequence[str]) -> int:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608  (read_about checks names)
    try:
        return restore_rows(archive, table, lambda rows: connection.executemany(statement, rows))
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError) as error:
        raise BackupError(
            f"The backup is damaged: the rows of its table {table} cannot be inserted ({error})."
        ) from None
