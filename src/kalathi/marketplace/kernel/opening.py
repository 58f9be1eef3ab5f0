"""Which database a URL means."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from kalathi.marketplace.kernel.database import Database


async def open_database(url: str) -> Database:
    """`sqlite:///relative/or//absolute/path`, or `postgresql://...`.

    Raises ValueError for any other URL, DatabaseInUseError, StorageError.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        from kalathi.marketplace.kernel.sqlite import SqliteDatabase  # noqa: PLC0415  (only the driver that is used)

        return SqliteDatabase(Path(unquote(parts.path[1:])))
    raise ValueError("database: give sqlite:///path or postgresql://user@host/name")
