"""`kalathi backup` and `kalathi restore`: a whole marketplace in one file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kalathi.cli.database_option import database_option, report_database_errors, sqlite_file
from kalathi.cli.operating import data_option, fail
from kalathi.cli.output import echo_json
from kalathi.system.files import make_private_folder

if TYPE_CHECKING:
    from kalathi.marketplace.kernel.storage.backups import Progress

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.command()
@_file
@data_option
@database_option
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
    with report_database_errors(database, str(file)):
        token = read_text(token_file).strip() if token_file.is_file() else ""
        if is_postgres(database):
            from kalathi.marketplace.kernel.storage.backup_postgres import postgres_source

            source = postgres_source(database)
        else:
            from kalathi.marketplace.kernel.storage.backup_sqlite import sqlite_source

            source = sqlite_source(sqlite_file(data, database))
        with source as opened:
            rows = take_backup(opened, file, token, _progress())
    _show(as_json, file, rows, f"{file}: {_count(rows)}, {file.stat().st_size / 1e6:.1f} MB.")


@click.command()
@_file
@data_option
@database_option
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

    with report_database_errors(database, str(file)), open_backup(file) as archive:
        about = read_about(archive)
        if is_postgres(database):
            from kalathi.marketplace.kernel.storage.backup_postgres import restore_postgres

            rows = restore_postgres(archive, database, _progress())
        else:
            from kalathi.marketplace.kernel.storage.backup_sqlite import restore_sqlite

            rows = restore_sqlite(archive, sqlite_file(data, database), _progress())
        token_file = data / OPERATOR_TOKEN_FILE
        if about.operator_token and not token_file.exists():
            make_private_folder(data)
            token_file.touch(mode=0o600)
            token_file.write_text(about.operator_token + "\n", "utf-8")
    taken_at = about.taken_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    _show(as_json, file, rows, f"Restored {_count(rows)} of {taken_at}. Start it: kalathi serve --data {data}")


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
