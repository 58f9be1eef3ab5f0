"""`kalathi db`: the tables of a marketplace's database, and their upgrade."""

import sys
from pathlib import Path

import click

from kalathi.cli.database_option import database_option, report_database_errors, sqlite_file
from kalathi.cli.operating import data_option, fail
from kalathi.cli.output import echo_json
from kalathi.cli.secret_flags import mask_passwords

_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.group()
def db() -> None:
    """Upgrade a marketplace's database. `kalathi serve` does it at its start; here it can be planned and done before.

    \b
    kalathi db upgrade --check
    kalathi db upgrade
    """


@db.command()
@data_option
@database_option
@click.option("--check", is_flag=True, help="Change nothing; end with status 1 if the database is not up to date.")
@click.option("--no-copy", is_flag=True, help="Do not copy a SQLite database first.")
@_json
def upgrade(data: Path, database: str, check: bool, no_copy: bool, as_json: bool) -> None:
    """Bring the tables up to this version. Stop the marketplace first if it is on SQLite.

    A SQLite database is copied first, into the same folder. Before the upgrade of a PostgreSQL database, make a backup
    (kalathi backup).

    \b
    kalathi db upgrade --check --data /var/lib/kalathi
    kalathi db upgrade --data /var/lib/kalathi
    kalathi db upgrade --database postgresql://kalathi@db.example/kalathi
    """
    from kalathi.marketplace.kernel.storage.migrating import HEAD
    from kalathi.marketplace.kernel.storage.opening import is_postgres
    from kalathi.marketplace.kernel.storage.upgrading import list_upgrade

    with report_database_errors(database):
        shape = _read_shape(data, database)
        steps = list_upgrade(shape)
        if not check and shape <= HEAD and steps:
            copy = None
            if is_postgres(database):
                from kalathi.marketplace.kernel.storage.migrating import migrate_postgres

                migrate_postgres(database.replace("postgres://", "postgresql://", 1))
            else:
                copy = _upgrade_sqlite(sqlite_file(data, database), keep_copy=not no_copy)
            _show_upgraded(steps, copy, as_json=as_json)
            return
    _show_plan(data, database, shape, steps, as_json=as_json)
    if shape > HEAD or (check and steps):
        sys.exit(1)


@db.command()
@data_option
@database_option
@_json
def downgrade(data: Path, database: str, as_json: bool) -> None:
    """Say how to return to an earlier version. No version changes tables back, because it would lose data."""
    from kalathi.marketplace.kernel.storage.opening import is_postgres
    from kalathi.marketplace.kernel.storage.upgrading import describe_way_back

    del as_json  # Only a refusal is printed, and --json gives it the envelope.
    with report_database_errors(database):
        way = "Restore a backup that the earlier version made (kalathi restore), into an empty database."
        if not is_postgres(database):
            way = describe_way_back(sqlite_file(data, database))
    fail(f"a database is never downgraded: the earlier version would lose data of this one. {way}")


def _read_shape(data: Path, database: str) -> str:
    """Return the shape of the tables. End with a message if there is no database."""
    from kalathi.marketplace.kernel.storage.opening import is_postgres

    if is_postgres(database):
        from kalathi.marketplace.kernel.storage.backup_postgres import postgres_source

        opened = postgres_source(database)
    else:
        from kalathi.marketplace.kernel.storage.backup_sqlite import sqlite_source

        path = sqlite_file(data, database)
        if not path.exists():
            fail(f"there is no database at {path}. `kalathi serve` makes one; name another folder with --data.")
        opened = sqlite_source(path)
    with opened as source:
        shape = source.shape()
        if (shape and not shape.isdigit()) or (not shape and source.columns()):
            fail("this database has tables of another program. Name the marketplace's with --data or --database.")
        return shape


def _upgrade_sqlite(path: Path, *, keep_copy: bool) -> Path | None:
    from kalathi.marketplace.kernel.storage.sqlite import lock_database
    from kalathi.marketplace.kernel.storage.upgrading import upgrade_sqlite

    with lock_database(path):
        return upgrade_sqlite(path, keep_copy=keep_copy)


def _show_upgraded(steps: list[str], copy: Path | None, *, as_json: bool) -> None:
    if as_json:
        echo_json({"steps": steps, "copy": str(copy) if copy else None})
        return
    click.echo(f"Upgraded in {_count(steps)}:")
    for step in steps:
        click.echo(f"  {step}")
    if copy:
        click.echo(f"The copy from before is {copy}.")


def _show_plan(data: Path, database: str, shape: str, steps: list[str], *, as_json: bool) -> None:
    from kalathi.marketplace.kernel.storage.migrating import HEAD

    if as_json:
        echo_json({"shape": shape or None, "newest": HEAD, "steps": steps})
        return
    shown = mask_passwords(database, database) or data
    if shape > HEAD:
        click.echo(f"{shown} has shape {shape}. This version of Kalathi knows up to {HEAD}: run the newer version.")
    elif not steps:
        click.echo(f"{shown} is up to date (shape {HEAD}).")
    else:
        click.echo(f"{shown} has shape {shape or 'none'} and needs {_count(steps)}:")
        for step in steps:
            click.echo(f"  {step}")
        click.echo("Stop Kalathi, then run `kalathi db upgrade`, or start this version.")


def _count(steps: list[str]) -> str:
    return "1 step" if len(steps) == 1 else f"{len(steps)} steps"
