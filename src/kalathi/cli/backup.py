"""`kalathi backup` and `kalathi restore`: a whole marketplace in one file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kalathi.cli.operating import data_option, fail
from kalathi.cli.output import echo_json
from kalathi.cli.secret_flags import mask_passwords
from kalathi.system.files import make_private_folder

if TYPE_CHECKING:
    from kalathi.marketplace.kernel.storage.backups import Progress

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_database = click.option(
    "--database",
    envvar="KALATHI_DATABASE",
    default="",
    help="sqlite:///path or postgresql://user@host/name; empty: kalathi.db in the data folder.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.command()
@_file
@data_option
@_database
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@_json
def backup(file: Path, data: Path, database: str, force: bool, as_json: bool) -> None:
    """Write everything that a marketplace holds into FILE, also while it runs. The file holds customers' addresses and
    the operator's token; only its owner can read it.

    \b
    kalathi backup market-2026-11-29.kalathi --data /var/lib/kalathi
    kalathi backup market.kalathi --database postgresql://kalathi@db.example/kalathi
    """
    from kalathi.marketplace.kernel.operator_token_file import OPERATOR_TOKEN_FILE
    from kalathi.marketplace.kernel.storage.backups import take_backup
    from kalathi.marketplace.kernel.storage.opening import is_postgres
    from kalathi.texts import read_text

    if file.exists() and not force:
        fail(f"{file} is there already. Name another file, or add --force.")
    token_file = data / OPERATOR_TOKEN_FILE
    with _report_errors(file, database):
        token = read_text(token_file).strip() if token_file.is_file() else ""
        if is_postgres(database):
            from kalathi.marketplace.kernel.storage.backup_postgres import postgres_source

            source = postgres_source(database)
        else:
            from kalathi.marketplace.kernel.storage.backup_sqlite import sqlite_source

            source = sqlite_source(_sqlite_file(data, database))
        with source as opened:
            rows = take_backup(opened, file, token, _progress())
    _show(as_json, file, rows, f"{file}: {_count(rows)}, {file.stat().st_size / 1e6:.1f} MB.")


@click.command()
@_file
@data_option
@_database
@_json
def restore(file: Path, data: Path, database: str, as_json: bool) -> None:
    """Restore a backup into an empty data folder or an empty database, of the same kind or the other.

    \b
    kalathi restore market.kalathi --data /var/lib/kalathi-restored
    kalathi restore market.kalathi --database postgresql://kalathi@db.example/restored
    """
    from kalathi.marketplace.kernel.operator_token_file import OPERATOR_TOKEN_FILE
    from kalathi.marketplace.kernel.storage.backups import open_backup, read_about
    from kalathi.marketplace.kernel.storage.opening import is_postgres

    with _report_errors(file, database), open_backup(file) as archive:
        about = read_about(archive)
        if is_postgres(database):
            from kalathi.marketplace.kernel.storage.backup_postgres import restore_postgres

            rows = restore_postgres(archive, database, _progress())
        else:
            from kalathi.marketplace.kernel.storage.backup_sqlite import restore_sqlite

            rows = restore_sqlite(archive, _sqlite_file(data, database), _progress())
        token_file = data / OPERATOR_TOKEN_FILE
        if about.operator_token and not token_file.exists():
            make_private_folder(data)
            token_file.touch(mode=0o600)
            token_file.write_text(about.operator_token + "\n", "utf-8")
    taken_at = about.taken_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    _show(as_json, file, rows, f"Restored {_count(rows)} of {taken_at}. Start it: kalathi serve --data {data}")


def _sqlite_file(data: Path, database: str) -> Path:
    from kalathi.marketplace.app import DATABASE_FILE
    from kalathi.marketplace.kernel.storage.opening import sqlite_path

    return sqlite_path(database) if database else data / DATABASE_FILE


@contextmanager
def _report_errors(file: Path, database: str) -> Iterator[None]:
    """End with a message for every expected error."""
    import sqlite3

    import psycopg
    from sqlalchemy.exc import SQLAlchemyError

    from kalathi.marketplace.kernel.storage.backups import BackupError
    from kalathi.marketplace.kernel.storage.database import DatabaseInUseError
    from kalathi.marketplace.kernel.storage.migrating import NewerDatabaseError

    try:
        yield
    except (BackupError, DatabaseInUseError, NewerDatabaseError, ValueError) as error:
        fail(mask_passwords(str(error), database))
    except (sqlite3.Error, psycopg.Error, SQLAlchemyError) as error:
        sentence = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"the database {database} cannot be used: {sentence}".replace("  ", " ")
        fail(mask_passwords(message, database))
    except OSError as error:
        fail(f"{error.filename or file} cannot be used: {error.strerror or error}.")


def _progress() -> "Progress":
    """Show each table in a terminal; nothing when piped."""
    is_shown = sys.stderr.isatty()

    def show(table: str, rows: int) -> None:
        if is_shown:
            click.echo(f"{table:20} {rows:>10,}", err=True)

    return show


def _count(rows: dict[str, int]) -> str:
    return f"{rows.get('shops', 0):,} shops, {rows.get('orders', 0):,} orders, {sum(rows.values()):,} rows"


def _show(as_json: bool, file: Path, rows: dict[str, int], text: str) -> None:
    if as_json:
        answer: dict[str, Any] = {"file": str(file), "rows": rows}
        echo_json(answer)
    else:
        click.echo(text)
