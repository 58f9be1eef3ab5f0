"""`kalathi serve`: the marketplace."""

import sqlite3
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kalathi.cli.operating import fail
from kalathi.marketplace.kernel.settings import Settings, read_settings, setting_fields

T = TypeVar("T", bound=Callable[..., Any])


def setting_options(command: T) -> T:
    """A flag and a KALATHI_* variable for each row of the settings table."""
    for field in reversed(setting_fields()):
        command = click.option(
            field.flag,
            field.name,
            envvar=field.variable,
            show_envvar=True,
            default=str(field.default),
            show_default=True,
            help=field.description,
        )(command)
    return command


@click.command()
@setting_options
@click.option("--no-worker", is_flag=True, help="Serve the API only; what is due waits for a worker.")
def serve(no_worker: bool, **values: str) -> None:
    """Run the marketplace: API and worker in one process, until SIGTERM or Ctrl-C.

    \b
    kalathi serve
    kalathi serve --port 0 --data /tmp/market
    KALATHI_OPERATOR_TOKEN=secret kalathi serve --host 0.0.0.0 --public-url https://market.example
    """
    try:
        settings = read_settings(values)
    except ValueError as error:
        fail(f"{error}. See kalathi serve --help.")

    from kalathi.marketplace.kernel.database import DatabaseInUseError
    from kalathi.serving import run_loop

    try:
        run_loop(_run_marketplace(settings, works=not no_worker))
    except (DatabaseInUseError, ValueError) as error:
        fail(str(error))
    except sqlite3.Error as error:
        fail(f"the database in {settings.data} cannot be used: {error}.")
    except OSError as error:
        fail(f"cannot listen on {settings.host}:{settings.port} or use {settings.data}: {error.strerror}.")


async def _run_marketplace(settings: Settings, *, works: bool) -> None:
    from kalathi.marketplace.api.faults import CUT_OFF
    from kalathi.marketplace.app import ADDRESS_FILE, OPERATOR_TOKEN_FILE, open_marketplace
    from kalathi.serving import address_of, listening_socket, log_json_lines, run_server

    log_json_lines()
    bound = listening_socket(settings.host, settings.port)
    address = address_of(bound)
    marketplace = await open_marketplace(settings, address)

    def ready() -> None:
        (settings.data / ADDRESS_FILE).write_text(address + "\n", "utf-8")
        click.echo(f"Kalathi is ready on {address}")
        if not settings.operator_token:
            click.echo(f"The operator's token is in {(settings.data / OPERATOR_TOKEN_FILE).absolute()}")
        sys.stdout.flush()

    if works:
        marketplace.start()
    try:
        # Only a sandbox has connections to cut off.
        extension = CUT_OFF if settings.mode == "sandbox" else ""
        await run_server(marketplace.asgi, bound, ready, cut_off_extension=extension)
    finally:
        await marketplace.stop()
