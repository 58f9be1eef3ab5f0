"""The option --database of commands that open the database themselves, and their errors in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from kalathi.cli.operating import fail
from kalathi.cli.secret_flags import mask_passwords

database_option = click.option(
    "--database",
    envvar="KALATHI_DATABASE",
    default="",
    help="sqlite:///path or postgresql://user@host/name; empty: kalathi.db in the data folder.",
)


def sqlite_file(data: Path, database: str) -> Path:
    """Return the file of a SQLite database. Raises ValueError for another URL."""
    from kalathi.marketplace.app import DATABASE_FILE
    from kalathi.marketplace.kernel.storage.opening import sqlite_path

    return sqlite_path(database) if database else data / DATABASE_FILE


@contextmanager
def report_database_errors(database: str, file: str = "the database") -> Iterator[None]:
    """End with a message for every expected error. `file` names the file that the command writes or reads."""
    import sqlite3

    from sqlalchemy.exc import SQLAlchemyError

    from kalathi.marketplace.kernel.storage.backups import BackupError
    from kalathi.marketplace.kernel.storage.database import DatabaseInUseError
    from kalathi.marketplace.kernel.storage.migrating import NewerDatabaseError

    unusable: tuple[type[Exception], ...] = (sqlite3.Error, SQLAlchemyError, *_postgres_errors(database))
    try:
        yield
    except (BackupError, DatabaseInUseError, NewerDatabaseError, ValueError) as error:
        fail(mask_passwords(str(error), database))
    except unusable as error:
        sentence = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"the database {database} cannot be used: {sentence}".replace("  ", " ")
        fail(mask_passwords(message, database))
    except OSError as error:
        fail(f"{error.filename or file} cannot be used: {error.strerror or error}.")


def _postgres_errors(database: str) -> tuple[type[Exception], ...]:
    """Return the driver's errors. It is an extra, and only a database of PostgreSQL needs it."""
    from kalathi.marketplace.kernel.storage.opening import is_postgres

    if not is_postgres(database):
        return ()
    import psycopg

    return (psycopg.Error,)
