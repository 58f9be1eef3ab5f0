"""Open the database of a URL. Only the driver that is used is imported."""

import asyncio
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from kalathi.marketplace.kernel.storage.changes import StorageError
from kalathi.marketplace.kernel.storage.database import Database

_FORMS = "database: give sqlite:///path or postgresql://user@host/name"


async def open_database(url: str, *, keep_copy: bool = True) -> Database:
    """Open the database at `sqlite:///relative/path`, `sqlite:////absolute/path` or `postgresql://...`, and migrate it.
    With `keep_copy`, a SQLite file of an earlier version is copied first.

    Raises ValueError for any other URL and for a half-spread database, DatabaseInUseError, NewerDatabaseError,
    StorageError.
    """
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415  (only to open a database)

    try:
        return await (_postgres(url) if is_postgres(url) else _sqlite(sqlite_path(url), keep_copy=keep_copy))
    except DBAPIError as error:
        raise StorageError(str(error.orig)) from error


def is_postgres(url: str) -> bool:
    """Whether the URL is of PostgreSQL, which any number of processes can share."""
    return url.startswith(("postgresql://", "postgres://"))


def sqlite_path(url: str) -> Path:
    """Return the file of a `sqlite:///` URL. Raises ValueError for any other URL."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or parts.netloc or len(parts.path) < 2:
        raise ValueError(_FORMS)
    return Path(unquote(parts.path[1:]))


def sqlite_url(path: Path) -> str:
    """Return the `sqlite:///` URL of a file."""
    return f"sqlite:///{quote(str(path))}"


async def _sqlite(path: Path, *, keep_copy: bool) -> Database:
    from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase  # noqa: PLC0415  (only the used driver is imported)

    return SqliteDatabase(path, keep_copy=keep_copy)


async def _postgres(url: str) -> Database:
    from sqlalchemy import make_url  # noqa: PLC0415  (only for PostgreSQL)

    from kalathi.marketplace.kernel.storage.migrating import migrate_postgres  # noqa: PLC0415  (only for PostgreSQL)
    from kalathi.marketplace.kernel.storage.postgres import PostgresDatabase  # noqa: PLC0415  (only for PostgreSQL)

    url = url.replace("postgres://", "postgresql://", 1)
    try:
        make_url(url)
    except ValueError:
        raise ValueError(f"{_FORMS}; its port is not a number") from None
    await asyncio.to_thread(migrate_postgres, url)
    if await asyncio.to_thread(_is_spread, url):
        from kalathi.marketplace.kernel.storage.spread.database import SpreadDatabase  # noqa: PLC0415  (only where it is needed)

        return await asyncio.to_thread(SpreadDatabase, url)
    return PostgresDatabase(url)


def _is_spread(url: str) -> bool:
    """Whether the tables are spread over nodes. Raises DistributeError if only some are, StorageError."""
    import psycopg  # noqa: PLC0415  (only for PostgreSQL)

    from kalathi.marketplace.kernel.storage.spread.targets import is_spread  # noqa: PLC0415  (only for PostgreSQL)

    try:
        with psycopg.connect(url, autocommit=True) as connection:
            return is_spread(connection)
    except psycopg.Error as error:
        raise StorageError(str(error)) from error
