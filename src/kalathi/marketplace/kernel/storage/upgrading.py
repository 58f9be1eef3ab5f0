"""Upgrades of a database: the steps to this version, and a copy of a SQLite file before them.

No step leads back: an older version would lose data of the newer one. The way back is the copy, or a backup.
"""

import glob
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from kalathi.marketplace.kernel.storage.migrating import HEAD, NewerDatabaseError, list_steps, migrate_sqlite


def list_upgrade(shape: str) -> list[str]:
    """Return the number and the title of each step from a shape to this version, such as `0007 Documents of shops`.
    The list is empty if there is nothing to do, or if the database is newer."""
    return [] if shape >= HEAD else list_steps(shape)


def upgrade_sqlite(path: Path, *, keep_copy: bool) -> Path | None:
    """Migrate a file that no other process has open. With `keep_copy`, copy it first if it has rows of an earlier
    version, and return the copy. A migration that fails leaves the file as it was, and no copy. Raises
    NewerDatabaseError, OSError, and errors of SQLite and SQLAlchemy."""
    shape = read_shape(path)
    copy = copy_file(path, shape) if keep_copy and shape and shape < HEAD else None
    try:
        migrate_sqlite(path)
    except NewerDatabaseError as error:
        raise NewerDatabaseError(f"{error} {describe_way_back(path, HEAD)}") from None
    except BaseException:
        # Otherwise each restart would make another one, until the disk is full.
        if copy is not None:
            copy.unlink(missing_ok=True)
        raise
    return copy


def describe_way_back(path: Path, newest: str = "9999") -> str:
    """Return sentences on how to return to an earlier version of a SQLite file, with the last copy up to this shape."""
    copies = [copy for copy in find_copies(path) if _shape_of(copy, path) <= newest]
    if not copies:
        return "To return to the earlier version, restore a backup that it made (kalathi restore)."
    return (
        f"To return to an earlier version, stop Kalathi, delete {path.name}-wal and {path.name}-shm if they are there,"
        f" and put a copy in the place of {path.name}; everything after the upgrade is then lost. The last copy is"
        f" {copies[-1]}."
    )


def read_shape(path: Path) -> str:
    """Return the shape of a SQLite file, or an empty text if it is missing or has no tables of ours. Raises
    sqlite3.Error."""
    if not path.exists():
        return ""
    with closing(sqlite3.connect(path)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return ""
            raise
    return str(row[0]) if row else ""


def copy_file(path: Path, shape: str) -> Path:
    """Copy a SQLite file to a new one beside it, such as `kalathi-0006-20261130T065628Z.db`, with mode 600. It is on
    the disk, whole, when this returns. Raises OSError, sqlite3.Error."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.stem}-{shape}-{stamp}{path.suffix}")
    unfinished = target.with_name(target.name + ".part")
    for left in path.parent.glob(f"{glob.escape(path.stem)}-*{glob.escape(path.suffix)}.part"):
        left.unlink()  # Of a process that was killed while it copied.
    unfinished.touch(mode=0o600)
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as copy:
            source.backup(copy)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return target


def find_copies(path: Path) -> list[Path]:
    """Return the copies of a SQLite file that upgrades have made, oldest first."""
    pattern = f"{glob.escape(path.stem)}-[0-9][0-9][0-9][0-9]-*Z{glob.escape(path.suffix)}"
    return sorted(path.parent.glob(pattern), key=lambda copy: copy.stem.rpartition("-")[2])


def _shape_of(copy: Path, path: Path) -> str:
    return copy.stem.removeprefix(f"{path.stem}-")[:4]
