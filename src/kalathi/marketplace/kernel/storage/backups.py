"""Back up a whole marketplace into one file, from either database, and restore it into either.

The file is a zip archive, because a truncated archive cannot be opened. It contains `backup.json`, and one member for
each table: groups of up to 500 rows in MessagePack, each after its length in four bytes. A backup of a running
marketplace is one snapshot.
"""

import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Protocol

import msgspec
from msgspec import Struct

from kalathi.marketplace.kernel.storage.migrating import HEAD
from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.system.files import open_new

_FORMAT: Final = 1
_ABOUT: Final = "backup.json"
_ROWS_AT_ONCE: Final = 500
_LENGTH: Final = struct.Struct(">I")
# The errors of reading a damaged archive. A wrong offset is an OSError, a wrong flag a NotImplementedError or a
# RuntimeError (compression, encryption).
_DAMAGES: Final = (
    *(KeyError, EOFError, OSError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error, msgspec.MsgspecError),
)
_COLUMN: Final = re.compile(r"[a-z_]+")
_SHAPE: Final = re.compile(r"(?!0000)[0-9]{4}")
# Tables about running processes, which mean nothing later, and the version, which `backup.json` has.
_LEFT_OUT: Final = frozenset({"alembic_version", "commit_marks", "listeners", "workers", "shards"})

Row = Sequence[Any]
Progress = Callable[[str, int], None]


class BackupError(Exception):
    """The backup cannot be taken or restored; the sentence is for a person."""


class About(Struct, frozen=True, kw_only=True):
    """`backup.json`: the shape of the tables, the columns by table, the time (UTC), and the operator's token if there
    was one in the data folder."""

    format: int
    shape: str
    taken_at: datetime
    columns: dict[str, list[str]]
    operator_token: str = ""


class Source(Protocol):
    """A snapshot of a database."""

    def shape(self) -> str:
        """The shape of its tables; empty if it holds no marketplace."""
        ...

    def columns(self) -> dict[str, list[str]]:
        """The columns by table."""
        ...

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        """Every row of a table."""
        ...


def take_backup(source: Source, target: Path, operator_token: str, progress: Progress) -> dict[str, int]:
    """Write the backup to `target`, whole or not at all, readable by its owner only. Return the rows by table. Raises
    BackupError, OSError."""
    shape = source.shape()
    if shape != HEAD:
        state = "holds no marketplace" if not shape else f"has shape {shape}, and this version knows {HEAD}"
        raise BackupError(f"The database {state}. Start `kalathi serve` on it once with this version.")
    columns = {table: names for table, names in sorted(source.columns().items()) if table not in _LEFT_OUT}
    about = About(
        format=_FORMAT, shape=shape, taken_at=datetime.now(UTC), columns=columns, operator_token=operator_token
    )
    unfinished = target.with_name(target.name + ".part")
    unfinished.unlink(missing_ok=True)
    try:
        counts = _write_archive(source, unfinished, about, progress)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return counts


def _write_archive(source: Source, unfinished: Path, about: About, progress: Progress) -> dict[str, int]:
    counts = {}
    with open_new(unfinished) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(_ABOUT, msgspec.json.encode(about))
            for table, names in about.columns.items():
                with archive.open(f"tables/{table}", "w", force_zip64=True) as member:
                    counts[table] = _write_rows(member, source.rows(table, names))
                progress(table, counts[table])
        file.flush()
        os.fsync(file.fileno())
    return counts


def read_about(archive: zipfile.ZipFile) -> About:
    """Return the backup's description. Raises BackupError."""
    try:
        about = msgspec.json.decode(archive.read(_ABOUT), type=About)
    except _DAMAGES:
        raise BackupError("The file is not a backup of Kalathi, or it is damaged.") from None
    if not _SHAPE.fullmatch(about.shape):
        raise BackupError("The file is not a backup of Kalathi: its tables are not described.")
    if about.format != _FORMAT or about.shape > HEAD:
        raise BackupError("The backup is of a newer version of Kalathi. Restore it with that version.")
    names = [name for columns in about.columns.values() for name in columns]
    if not (about.columns.keys() <= METADATA.tables.keys() and all(_COLUMN.fullmatch(name) for name in names)):
        raise BackupError("The file is not a backup of Kalathi: it holds another program's tables.")
    members = {name.removeprefix("tables/") for name in archive.namelist() if name.startswith("tables/")}
    if members != about.columns.keys():
        raise BackupError("The backup is damaged: its tables are not those of its description.")
    return about


@contextmanager
def open_backup(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a backup. Raises BackupError, also for a truncated file."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError):  # The latter for a zip version that does not exist.
        raise BackupError(f"{path} is no whole backup of Kalathi.") from None
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror or error}.") from None
    with archive:
        yield archive


def _write_rows(member: IO[bytes], rows: Iterator[Row]) -> int:
    encoder, count, group = msgspec.msgpack.Encoder(), 0, []
    for row in rows:
        count += 1
        group.append(list(row))
        if len(group) == _ROWS_AT_ONCE:
            _write_group(member, encoder.encode(group))
            group = []
    if group:
        _write_group(member, encoder.encode(group))
    return count


def _write_group(member: IO[bytes], encoded: bytes) -> None:
    member.write(_LENGTH.pack(len(encoded)))
    member.write(encoded)


def restore_rows(archive: zipfile.ZipFile, table: str, insert: Callable[[list[Row]], object]) -> int:
    """Pass the rows of a table to `insert`, group by group, and return their number. Raises BackupError."""
    count = 0
    try:
        with archive.open(f"tables/{table}") as member:
            for group in _read_groups(member):
                insert(group)
                count += len(group)
    except _DAMAGES:
        raise BackupError(f"The backup is damaged: its table {table} cannot be read.") from None
    return count


def _read_groups(member: IO[bytes]) -> Iterator[list[Row]]:
    decoder = msgspec.msgpack.Decoder(list[list[Any]])
    while head := member.read(_LENGTH.size):
        (length,) = _LENGTH.unpack(head)
        yield [*decoder.decode(member.read(length))]
