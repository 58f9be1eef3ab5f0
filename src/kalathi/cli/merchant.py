"""`kalathi merchant`: a shop's connector."""

import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click

from kalathi.cli.operating import fail
from kalathi.contract.words import ReturnReason


class MerchantOptions(NamedTuple):
    """What `kalathi merchant` is told, by flag or by variable."""

    url: str
    token: str
    token_file: Path | None
    vendor: str
    stock: str
    print_to: Path
    data: Path
    host: str
    port: int
    path: str
    approve_returns: str
    reject_late_withdrawals: bool


@click.command()
@click.option("--url", envvar="KALATHI_URL", required=True, help="The marketplace's address.")
@click.option("--token", envvar="KALATHI_TOKEN", default="", help="The shop's API token.")
@click.option(
    "--token-file", envvar="KALATHI_TOKEN_FILE", type=click.Path(path_type=Path), help="A file that holds the token."
)
@click.option("--vendor", envvar="KALATHI_VENDOR", default="skroutz", show_default=True, help="Word in Accept.")
@click.option(
    "--stock",
    envvar="KALATHI_STOCK",
    required=True,
    help="CSV with shop_uid and quantity; `warehouse` for what lies in the marketplace's own.",
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
@click.option(
    "--approve-returns",
    envvar="KALATHI_APPROVE_RETURNS",
    default="",
    help="Reasons, with commas between, for which a return is approved by itself; the others wait for a person.",
)
@click.option(
    "--reject-late-withdrawals",
    envvar="KALATHI_REJECT_LATE_WITHDRAWALS",
    is_flag=True,
    help="Reject withdrawals out of the marketplace's policy by itself.",
)
def merchant(**given: Any) -> None:
    """Run a shop's connector: receive orders, check stock, accept or reject, print vouchers; and returns.

    \b
    kalathi merchant --url http://127.0.0.1:8090 --token-file token --stock stock.csv --print-to vouchers
    kalathi merchant ... --stock warehouse --approve-returns withdrawal,wrong_product
    """
    options = MerchantOptions(**given)
    if options.token_file is not None:
        try:
            options = options._replace(token=options.token_file.read_text("utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            fail(f"cannot read the token from {options.token_file}: {error}.")
    if not options.token:
        fail("give the shop's token with --token-file, --token or KALATHI_TOKEN.")
    unknown = _reasons(options) - set(ReturnReason)
    if unknown:
        fail(f"--approve-returns: {', '.join(sorted(unknown))} is no reason; there are: {', '.join(ReturnReason)}.")
    if not options.path.startswith("/"):
        fail(f"--path must begin with a slash: /{options.path}")
    from kalathi.merchant.inbox import InboxInUseError
    from kalathi.merchant.stock import StockError
    from kalathi.serving import run_loop

    try:
        run_loop(_run_merchant(options))
    except InboxInUseError as error:
        fail(str(error))
    except (StockError, sqlite3.Error) as error:
        fail(f"{error}.")
    except OSError as error:
        fail(f"cannot listen on {options.host}:{options.port} or use {options.data}: {error.strerror}.")


def _reasons(options: MerchantOptions) -> frozenset[str]:
    return frozenset(reason for part in options.approve_returns.split(",") if (reason := part.strip()))


async def _run_merchant(options: MerchantOptions) -> None:
    from kalathi.merchant.client import AsyncClient, Retries
    from kalathi.merchant.connector import Connector
    from kalathi.merchant.inbox import Inbox
    from kalathi.merchant.policy import Policy
    from kalathi.merchant.printing import FolderPrinter
    from kalathi.merchant.receiver import Receiver, WebhookHandler
    from kalathi.merchant.return_decisions import ReturnPolicy
    from kalathi.merchant.stock import CsvStock, WarehouseStock
    from kalathi.serving import address_of, listening_socket, log_json_lines, run_server

    def tell(line: str) -> None:
        # Names of products come from outside: what could move the cursor is not shown.
        click.echo("".join(character if character.isprintable() else "?" for character in line))
        sys.stdout.flush()

    log_json_lines()
    bound = listening_socket(options.host, options.port)
    inbox = Inbox(options.data / "merchant.db")
    # What cannot be done now is done later by the connector itself, which goes on with other events meanwhile.
    once = Retries(attempts=1)
    async with AsyncClient(options.url, options.token, vendor=options.vendor, retries=once) as client:
        from_warehouse = options.stock == "warehouse"
        stock = WarehouseStock(client, inbox) if from_warehouse else CsvStock(Path(options.stock), inbox)
        if not from_warehouse:
            # A file that cannot be read is told now and not at the first order.
            await stock.available()
        printer = FolderPrinter(options.print_to)
        policy = Policy(returns=ReturnPolicy(_reasons(options), options.reject_late_withdrawals))
        connector = Connector(client, inbox, stock, printer, tell, policy=policy)
        working = asyncio.create_task(connector.run())
        try:
            await run_server(
                Receiver(WebhookHandler(inbox, received=connector.ring), options.path),
                bound,
                lambda: tell(f"The connector receives webhooks on {address_of(bound)}{options.path}"),
            )
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            inbox.close()
