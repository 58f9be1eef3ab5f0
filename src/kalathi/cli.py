"""The command line: `kalathi serve | merchant | demo | shop`. Each command reads its settings and calls one thing.

What a command needs is imported inside it, so that `kalathi --help` does not wait for a web server and a database.
"""

import asyncio
import json
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import click

from kalathi import __version__
from kalathi.marketplace.kernel.settings import Settings, read_settings, setting_fields

T = TypeVar("T", bound=Callable[..., Any])

_data_option = click.option(
    "--data",
    envvar="KALATHI_DATA",
    type=click.Path(path_type=Path),
    default=Path("kalathi-data"),
    show_default=True,
    help="The data folder of the marketplace.",
)


def _fail(message: str) -> NoReturn:
    """Says what is wrong and what to do, and ends with status 1."""
    click.echo(f"kalathi: {message}", err=True)
    sys.exit(1)


def _setting_options(command: T) -> T:
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kalathi")
def main() -> None:
    """An open Smart Cart: the marketplace that places orders with shops, and the merchant's side that answers.

    \b
    kalathi demo --once        both use cases between real processes, told as they happen
    kalathi serve              a marketplace of your own on http://127.0.0.1:8090
    kalathi shop add --help    how a shop joins it
    """


@main.command()
@_setting_options
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
        _fail(f"{error}. See kalathi serve --help.")

    from kalathi.marketplace.kernel.database import DatabaseInUseError
    from kalathi.serving import run_loop

    try:
        run_loop(_run_marketplace(settings, works=not no_worker))
    except (DatabaseInUseError, ValueError) as error:
        _fail(str(error))
    except sqlite3.Error as error:
        _fail(f"the database in {settings.data} cannot be used: {error}.")
    except OSError as error:
        _fail(f"cannot listen on {settings.host}:{settings.port} or use {settings.data}: {error.strerror}.")


async def _run_marketplace(settings: Settings, *, works: bool) -> None:
    from kalathi.marketplace.api.faults import CUT_OFF
    from kalathi.marketplace.app import ADDRESS_FILE, OPERATOR_TOKEN_FILE, Marketplace
    from kalathi.serving import address_of, listening_socket, log_json_lines, run_server

    log_json_lines()
    bound = listening_socket(settings.host, settings.port)
    address = address_of(bound)
    marketplace = Marketplace(settings, address)

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


class MerchantOptions(NamedTuple):
    """What `kalathi merchant` is told, by flag or by variable."""

    url: str
    token: str
    token_file: Path | None
    vendor: str
    stock: Path
    print_to: Path
    data: Path
    host: str
    port: int
    path: str


@main.command()
@click.option("--url", envvar="KALATHI_URL", required=True, help="The marketplace's address.")
@click.option("--token", envvar="KALATHI_TOKEN", default="", help="The shop's API token.")
@click.option(
    "--token-file", envvar="KALATHI_TOKEN_FILE", type=click.Path(path_type=Path), help="A file that holds the token."
)
@click.option("--vendor", envvar="KALATHI_VENDOR", default="skroutz", show_default=True, help="Word in Accept.")
@click.option(
    "--stock",
    envvar="KALATHI_STOCK",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV with shop_uid and quantity.",
)
@click.option(
    "--print-to",
    envvar="KALATHI_PRINT_TO",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the vouchers.",
)
@click.option(
    "--data",
    envvar="KALATHI_MERCHANT_DATA",
    type=click.Path(path_type=Path),
    default=Path("kalathi-merchant"),
    show_default=True,
    help="Folder of the inbox.",
)
@click.option(
    "--host",
    envvar="KALATHI_MERCHANT_HOST",
    default="127.0.0.1",
    show_default=True,
    help="Address to receive webhooks on.",
)
@click.option(
    "--port",
    envvar="KALATHI_MERCHANT_PORT",
    type=click.IntRange(0, 65535),
    default=9000,
    show_default=True,
    help="Port to receive webhooks on; 0 takes a free one.",
)
@click.option(
    "--path",
    envvar="KALATHI_MERCHANT_PATH",
    default="/smart_cart_orders",
    show_default=True,
    help="Path; it may hold a secret.",
)
def merchant(**given: Any) -> None:
    """Run a shop's connector: receive orders, check stock, accept or reject, print vouchers.

    \b
    kalathi merchant --url http://127.0.0.1:8090 --token-file token --stock stock.csv --print-to vouchers
    """
    options = MerchantOptions(**given)
    if options.token_file is not None:
        try:
            options = options._replace(token=options.token_file.read_text("utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            _fail(f"cannot read the token from {options.token_file}: {error}.")
    if not options.token:
        _fail("give the shop's token with --token-file, --token or KALATHI_TOKEN.")
    if not options.path.startswith("/"):
        _fail(f"--path must begin with a slash: /{options.path}")
    from kalathi.merchant.inbox import InboxInUseError
    from kalathi.merchant.stock import StockError
    from kalathi.serving import run_loop

    try:
        run_loop(_run_merchant(options))
    except InboxInUseError as error:
        _fail(str(error))
    except (StockError, sqlite3.Error) as error:
        _fail(f"{error}.")
    except OSError as error:
        _fail(f"cannot listen on {options.host}:{options.port} or use {options.data}: {error.strerror}.")


async def _run_merchant(options: MerchantOptions) -> None:
    from kalathi.merchant.client import AsyncClient
    from kalathi.merchant.connector import Connector
    from kalathi.merchant.inbox import Inbox
    from kalathi.merchant.printing import FolderPrinter
    from kalathi.merchant.receiver import Receiver
    from kalathi.merchant.stock import CsvStock
    from kalathi.serving import address_of, listening_socket, log_json_lines, run_server

    def tell(line: str) -> None:
        # Names of products come from outside: what could move the cursor is not shown.
        click.echo("".join(character if character.isprintable() else "?" for character in line))
        sys.stdout.flush()

    log_json_lines()
    bound = listening_socket(options.host, options.port)
    inbox = Inbox(options.data / "merchant.db")
    async with AsyncClient(options.url, options.token, vendor=options.vendor) as client:
        # A file that cannot be read is told now and not at the first order.
        CsvStock(options.stock, inbox).available()
        stock, printer = CsvStock(options.stock, inbox), FolderPrinter(options.print_to)
        connector = Connector(client, inbox, stock, printer, tell)
        working = asyncio.create_task(connector.run())
        try:
            await run_server(
                Receiver(inbox, options.path, connector.ring),
                bound,
                lambda: tell(f"The connector receives webhooks on {address_of(bound)}{options.path}"),
            )
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            inbox.close()


@main.command()
@click.option("--once", is_flag=True, help="End after both use cases; exit status 0 only if they ended as they must.")
@click.option("--seed", default=1, show_default=True, help="Seed of the traffic that follows without --once.")
def demo(once: bool, seed: int) -> None:
    """Show both use cases between a real marketplace and two real shops, told as they happen.

    \b
    kalathi demo --once        ends by itself
    kalathi demo               goes on with traffic until Ctrl-C
    """
    from kalathi.simulation.demo import Demo, fresh_folder
    from kalathi.simulation.operator import OperatorError
    from kalathi.simulation.processes import ProcessFailedError

    # A service manager's SIGTERM ends it like Ctrl-C: the processes that it has started end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        good = asyncio.run(Demo(fresh_folder()).run(once=once, seed=seed))
    except KeyboardInterrupt:
        click.echo("Ended.")
        sys.exit(130 if once else 0)
    except (OperatorError, ProcessFailedError) as error:
        _fail(str(error))
    if not good:
        sys.exit(1)


@main.group()
def shop() -> None:
    """Shops of a running marketplace: add, list, renew a token."""


def _operator_options(command: T) -> T:
    """How a command finds the running marketplace: by address and token, else by the data folder."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
        click.option("--token", envvar="KALATHI_OPERATOR_TOKEN", default="", help="The operator's token."),
        click.option("--url", envvar="KALATHI_URL", default="", help="The marketplace's address."),
        _data_option,
    ):
        command = option(command)
    return command


def _operate(data: Path, url: str, token: str, call: Callable[[Any], Any]) -> Any:
    """Runs one call of the operator's API and gives its answer."""
    from kalathi.simulation.operator import OperatorClient, OperatorError

    async def run(found_url: str, found_token: str) -> Any:
        async with OperatorClient(found_url, found_token) as operator:
            return await call(operator)

    try:
        found_url = url or (data / "address").read_text("utf-8").strip()
        found_token = token or (data / "operator-token").read_text("utf-8").strip()
    except OSError:
        _fail(f"no running marketplace is known in {data}. Start `kalathi serve`, or give --url and --token.")
    try:
        return asyncio.run(run(found_url, found_token))
    except OperatorError as error:
        _fail(str(error))


@shop.command("add")
@click.argument("name")
@click.option("--domain", required=True, help="The shop's domain.")
@click.option("--webhook-url", default=None, help="Where order webhooks are sent.")
@click.option("--street", default="Σταδίου", show_default=True, help="Street of the pickup location.")
@click.option("--street-number", default="1", show_default=True)
@click.option("--zip", "zip_code", default="10562", show_default=True)
@click.option("--city", default="Αθήνα", show_default=True)
@click.option("--region", default="Αττική", show_default=True)
@_operator_options
def shop_add(
    name: str,
    domain: str,
    webhook_url: str | None,
    street: str,
    street_number: str,
    zip_code: str,
    city: str,
    region: str,
    data: Path,
    url: str,
    token: str,
    as_json: bool,
) -> None:
    """Add a shop and show its API token, once.

    \b
    kalathi shop add "Demo shop" --domain shop.example --webhook-url http://127.0.0.1:9000/smart_cart_orders
    """
    location = {
        "street_name": street,
        "street_number": street_number,
        "zip": zip_code,
        "city": city,
        "region": region,
    }
    new = {"name": name, "domain": domain, "webhook_url": webhook_url, "locations": [location]}
    shop_id, api_token = _operate(data, url, token, lambda operator: operator.add_shop(new))
    _show(as_json, {"id": shop_id, "api_token": api_token}, f"Shop {shop_id}\nAPI token (shown once) {api_token}")


@shop.command("list")
@_operator_options
def shop_list(data: Path, url: str, token: str, as_json: bool) -> None:
    """List the shops: id, name, webhook URL."""
    shops = _operate(data, url, token, lambda operator: operator.shops())
    lines = [f"{entry['id']}  {entry['name']}  {entry['webhook_url'] or 'no webhook URL'}" for entry in shops]
    _show(as_json, shops, "\n".join(lines) or "No shops yet: kalathi shop add --help")


@shop.command("token")
@click.argument("shop_id")
@_operator_options
def shop_token(shop_id: str, data: Path, url: str, token: str, as_json: bool) -> None:
    """Make a new API token for a shop; the old one is dead at once."""
    api_token = _operate(data, url, token, lambda operator: operator.renew_token(shop_id))
    _show(as_json, {"id": shop_id, "api_token": api_token}, f"API token (shown once) {api_token}")


def _show(as_json: bool, value: object, text: str) -> None:
    click.echo(json.dumps(value, ensure_ascii=False) if as_json else text)


if __name__ == "__main__":
    main()
