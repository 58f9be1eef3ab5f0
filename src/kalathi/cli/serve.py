"""`kalathi serve` and `kalathi worker`: the marketplace."""

import socket
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from kalathi import __version__
from kalathi.cli.declaration import find_mode_mistake, read_declared
from kalathi.cli.ephemeral import delete_afterwards, end_with_input
from kalathi.cli.operating import fail
from kalathi.cli.output import OUTPUT
from kalathi.cli.secret_flags import mask_passwords
from kalathi.marketplace.kernel.settings import Settings, read_settings, setting_fields
from kalathi.system.abilities import SHARES_SOCKETS
from kalathi.system.files import make_private_folder
from kalathi.terminal import style

if TYPE_CHECKING:
    from kalathi.checkup.starting import CheckupStarter

    # Imported only where it is read: it loads a third of the marketplace.
    from kalathi.marketplace.sandbox.declared import Declaration

T = TypeVar("T", bound=Callable[..., Any])
# Faults of the declared shops that one message names.
_EVERY_INTERFACE = ("0.0.0.0", "::")  # noqa: S104  (compared, not bound)
_MOST_MISTAKES = 20


def setting_options(command: T) -> T:
    """Add a flag and a KALATHI_* variable for each row of the settings table."""
    for field in reversed(setting_fields()):
        # `--open-console` alone is `--open-console true`.
        alone: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if field.type is bool else {}
        command = click.option(
            field.flag,
            field.name,
            envvar=field.variable,
            show_envvar=True,
            default=str(field.default),
            show_default=True,
            help=field.description,
            **alone,
        )(command)
    return command


@click.command()
@setting_options
@click.option("--check", is_flag=True, help="Check the settings without starting; exit status 0 if they are good.")
@click.option("--no-worker", is_flag=True, help="Serve the API only; due jobs wait for a worker.")
@click.option(
    "--processes",
    envvar="KALATHI_PROCESSES",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that share the port; more than one needs PostgreSQL.",
)
@click.option(
    "--watch-port",
    envvar="KALATHI_WATCH_PORT",
    show_envvar=True,
    type=click.IntRange(0, 65535),
    help="A port for /healthz, /readyz and /metrics without a token, on --host; 0 takes a free one.",
)
@click.option("--open", "opens", is_flag=True, help="Open the operator's pages of the sandbox in a browser.")
@click.option("--ephemeral", is_flag=True, hidden=True, help="End when standard input is closed, and delete the data.")
def serve(
    check: bool, no_worker: bool, processes: int, watch_port: int | None, opens: bool, ephemeral: bool, **values: str
) -> None:
    """Run the marketplace: API and worker, until SIGTERM or Ctrl-C.

    \b
    kalathi serve
    kalathi serve --open
    kalathi serve --check
    kalathi serve --port 0 --data /tmp/market
    kalathi serve --database postgresql://kalathi@localhost/kalathi --processes 4
    KALATHI_OPERATOR_TOKEN=secret kalathi serve --host 0.0.0.0 --public-url https://market.example
    """
    settings, declared = _settings(values), read_declared(click.get_current_context().obj)
    if check:
        _check(settings, declared)
        return
    _refuse_production_faults(settings)
    _refuse_console_fault(settings, opens=opens)
    if isinstance(declared, list):
        more = [f"and {len(declared) - _MOST_MISTAKES} more"] if len(declared) > _MOST_MISTAKES else []
        fail("\n  ".join([*declared[:_MOST_MISTAKES], *more]))
    if mistake := find_mode_mistake(settings, declared):
        fail(mistake)
    if processes > 1 and not settings.database.startswith("postgres"):
        fail(
            "SQLite is served by one process. Leave out --processes, or give a PostgreSQL database with --database"
            " postgresql://user@host/name."
        )
    if processes > 1 and not SHARES_SOCKETS:
        fail(
            "--processes above 1 needs Linux. On this system, start `kalathi serve` once for each port, with the same"
            " database, behind a proxy that spreads the requests."
        )
    with delete_afterwards(settings.data) if ephemeral else nullcontext():
        works = not no_worker
        _serve_all(settings, declared, processes, watch_port, works=works, opens=opens, ephemeral=ephemeral)


def _serve_all(
    settings: Settings,
    declared: "Declaration",
    processes: int,
    watch_port: int | None,
    *,
    works: bool,
    opens: bool,
    ephemeral: bool,
) -> None:
    sockets = _Sockets(
        _listen(settings.host, settings.port), None if watch_port is None else _listen(settings.host, watch_port)
    )
    OUTPUT.stay()

    def say_ready() -> None:
        _say_ready(settings, sockets, opens=opens)
        if ephemeral:
            end_with_input()

    def run(ready: Callable[[], None]) -> None:
        # With several processes the declaration is applied before they start: a process that replaces a dead one must
        # not set the stock again.
        start = _Start(declared, is_applied=processes > 1, works=works)
        _run(settings, _serve(settings, sockets, start, ready))

    if processes == 1:
        run(say_ready)
    else:
        from kalathi.marketplace.app import apply_declared
        from kalathi.marketplace.kernel.operator_token_file import operator_token
        from kalathi.system.supervising import supervise

        operator_token(settings)  # Create it once, before several processes could each create one.
        if settings.rough or not declared.is_empty:
            _run(settings, apply_declared(settings, declared))
        supervise(processes, run, say_ready)


@click.command()
@setting_options
@click.option(
    "--watch-port",
    envvar="KALATHI_WATCH_PORT",
    type=click.IntRange(0, 65535),
    help="Port for /healthz, /readyz and /metrics of this worker, on --host; 0 takes a free one.",
)
def worker(watch_port: int | None, **values: str) -> None:
    """Run a worker only (deliveries, expiries, vouchers) until SIGTERM or Ctrl-C. Any number of workers, on any number
    of machines, can share one PostgreSQL database.

    \b
    kalathi worker --database postgresql://kalathi@db.example/kalathi --public-url https://market.example
    kalathi worker --database postgresql://... --public-url https://market.example --host 0.0.0.0 --watch-port 9100
    """
    settings = _settings(values)
    if not settings.database.startswith("postgres"):
        fail("a worker of its own needs PostgreSQL: give --database postgresql://user@host/name.")
    _refuse_production_faults(settings)
    if not settings.public_url:
        fail("give --public-url: vouchers are linked under the address at which the marketplace is reached.")
    bound = None if watch_port is None else _listen(settings.host, watch_port)
    OUTPUT.stay()
    _run(settings, _work(settings, bound))


class _Sockets(NamedTuple):
    """The bound sockets: of the marketplace, and for monitoring."""

    main: socket.socket
    watch: socket.socket | None


class _Start(NamedTuple):
    """The start of a serving process: its declaration, whether that is applied already, and whether a worker runs."""

    declared: "Declaration"
    is_applied: bool
    works: bool


def _listen(host: str, port: int) -> socket.socket:
    from kalathi.serving import listening_socket

    try:
        return listening_socket(host, port)
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}.")


def _settings(values: dict[str, str]) -> Settings:
    try:
        return read_settings(values)
    except ValueError as error:
        fail(f"{error}. See kalathi serve --help.")


def _refuse_production_faults(settings: Settings) -> None:
    from kalathi.marketplace.kernel.production import production_faults

    if faults := production_faults(settings):
        more = "".join(f"\n  {fault}." for fault in faults[1:])
        fail(f"production mode cannot start: {faults[0]}.{more}")


def _refuse_console_fault(settings: Settings, *, opens: bool) -> None:
    if settings.open_console:
        from kalathi.marketplace.panel.sign_in.open_console import find_console_fault

        if fault := find_console_fault(settings):
            fail(f"--open-console cannot be used here: {fault}. Without it the start prints a link that signs you in.")
    if opens and settings.mode != "sandbox":
        fail("--open is for a sandbox. In production, sign in with the operator's token.")


def _check(settings: Settings, declared: "Declaration | list[str]") -> None:
    from kalathi.cli.checks import check_declared, check_settings

    findings = [*check_settings(settings), *check_declared(settings, declared)]
    for finding in findings:
        mark = style("ok", fg="green") if finding.is_good else style("no", fg="red")
        click.echo(f"{mark}  {finding.text}")
    if not all(finding.is_good for finding in findings):
        sys.exit(1)


def _run(settings: Settings, main: Any) -> None:
    from kalathi.marketplace.kernel.storage.changes import StorageError
    from kalathi.marketplace.kernel.storage.database import DatabaseInUseError
    from kalathi.marketplace.kernel.storage.migrating import NewerDatabaseError
    from kalathi.serving import run_loop

    try:
        run_loop(main)
    except (DatabaseInUseError, NewerDatabaseError, ValueError) as error:
        fail(mask_passwords(str(error), settings.database))
    except (StorageError, sqlite3.Error) as error:
        sentence = f"the database {settings.database or f'in {settings.data}'} cannot be used: {error}."
        fail(mask_passwords(sentence, settings.database))
    except OSError as error:
        fail(f"{settings.data} cannot be used: {error.strerror}.")


def _describe_database(settings: Settings) -> str:
    """Return the kind and the place of the database, without its password."""
    from kalathi.marketplace.app import DATABASE_FILE
    from kalathi.marketplace.kernel.targets import mask_url

    if not settings.database:
        return f"SQLite in {settings.data / DATABASE_FILE}"
    if settings.database.startswith("sqlite"):
        return f"SQLite in {settings.database.partition(':///')[2]}"
    return f"PostgreSQL at {mask_url(settings.database)}"


def _say_ready(settings: Settings, sockets: _Sockets, *, opens: bool) -> None:
    from kalathi.cli.open import make_link, open_in_browser
    from kalathi.marketplace.app import ADDRESS_FILE
    from kalathi.marketplace.kernel.operator_token_file import OPERATOR_TOKEN_FILE, operator_token
    from kalathi.serving import address_of

    address = address_of(sockets.main)
    (settings.data / ADDRESS_FILE).write_text(address + "\n", "utf-8")
    click.echo(f"Kalathi is ready on {address}")
    click.echo(f"Version {__version__}, {settings.mode}, {_describe_database(settings)}")
    if settings.mode == "production":
        click.echo("Shops and the operator sign in to its pages with their tokens.")
    else:
        link = make_link(settings.public_url or address, operator_token(settings))
        click.echo(f"Open the operator's pages: {link}")
        click.echo("The link signs you in once. `kalathi open` makes another one.")
        if opens:
            # Some browsers return only when their window is closed.
            threading.Thread(target=open_in_browser, args=(link, settings.data), daemon=True).start()
    if settings.rough:
        click.echo("--rough: a few calls and webhooks have faults on purpose, unless you have set rules of your own.")
        click.echo("`kalathi faults list` shows the rules and their seed; `kalathi faults clear` turns them off.")
    if settings.open_console:
        click.echo("--open-console: every user of this machine, and every caller of a proxy on it, is the operator.")
    if not settings.public_url and settings.host in _EVERY_INTERFACE:
        click.echo(f"Links and vouchers lead to {address}. If callers use another address or port, set --public-url.")
    if sockets.watch is not None:
        click.echo(f"Monitoring: {address_of(sockets.watch)}/metrics")
    if not settings.operator_token:
        click.echo(f"The operator's token is in {(settings.data / OPERATOR_TOKEN_FILE).absolute()}")
    sys.stdout.flush()


def _log_start(settings: Settings, address: str) -> None:
    """Log the version, the mode, the database and the address."""
    import structlog

    _log = structlog.get_logger("kalathi.start")
    database = _describe_database(settings)
    _log.info("started", version=__version__, mode=settings.mode, database=database, address=address)


async def _serve(settings: Settings, sockets: _Sockets, start: _Start, ready: Callable[[], None]) -> None:
    from kalathi.marketplace.api.watching import with_watch_port
    from kalathi.marketplace.app import open_marketplace
    from kalathi.marketplace.web.faults import CUT_OFF
    from kalathi.serving import address_of, run_server, start_logging

    start_logging(settings.log_level, settings.log_format)
    make_private_folder(settings.data)
    checkups = _Checkups(settings, address_of(sockets.main)) if settings.mode == "sandbox" else None
    marketplace = await open_marketplace(
        settings,
        address_of(sockets.main),
        declared=start.declared,
        is_applied=start.is_applied,
        start_checkup=None if checkups is None else checkups.start,
    )
    _log_start(settings, address_of(sockets.main))
    asgi = marketplace.asgi
    if sockets.watch is not None:
        asgi = with_watch_port(asgi, sockets.watch.getsockname()[1])
    if start.works:
        marketplace.start()
    try:
        # Only a sandbox has connections to cut off.
        extension = CUT_OFF if settings.mode == "sandbox" else ""
        await run_server(
            asgi,
            sockets.main,
            ready,
            also=sockets.watch,
            cut_off_extension=extension,
            ending=marketplace.hang_up,
            closing=None if checkups is None else checkups.close,
            has_websockets=True,
        )
    finally:
        await marketplace.stop()


class _Checkups:
    """The checkups of a sandbox's page. Their modules are imported when the first one starts."""

    def __init__(self, settings: Settings, address: str) -> None:
        self._settings = settings
        self._address = address
        self._starter: CheckupStarter | None = None

    async def start(self, shop_id: str) -> None:
        """Start a checkup of a shop's integration."""
        if self._starter is None:
            from kalathi.checkup.starting import CheckupStarter
            from kalathi.marketplace.kernel.operator_token_file import operator_token

            self._starter = CheckupStarter(self._address, operator_token(self._settings))
        await self._starter.start(shop_id)

    async def close(self) -> None:
        """End the running checkups."""
        if self._starter is not None:
            await self._starter.close()


async def _work(settings: Settings, bound: Any) -> None:
    from kalathi.marketplace.api.watching import limit_to_monitoring
    from kalathi.marketplace.app import open_marketplace
    from kalathi.serving import address_of, run_server, start_logging, until_told_to_end

    start_logging(settings.log_level, settings.log_format)
    marketplace = await open_marketplace(settings, settings.public_url, is_applied=True)
    _log_start(settings, "" if bound is None else address_of(bound))
    marketplace.start()

    def ready() -> None:
        watched = "" if bound is None else f", watched on {address_of(bound)}"
        click.echo(f"Kalathi's worker is ready for {settings.public_url}{watched}")

    try:
        if bound is None:
            await until_told_to_end(ready)
        else:
            await run_server(limit_to_monitoring(marketplace.asgi), bound, ready)
    finally:
        await marketplace.stop()
