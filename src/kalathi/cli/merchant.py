"""`kalathi merchant`: a shop's connector. `merchant_overview.py` has the commands that work while it runs."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kalathi.cli.merchant_feed import feed
from kalathi.cli.merchant_options import MERCHANT_OPTIONS, MerchantOptions
from kalathi.cli.merchant_overview import day, replay, reprint, settle, status
from kalathi.cli.merchant_publishing import allow_price, render_rehearsal, stock
from kalathi.cli.merchant_stock import check_stock
from kalathi.cli.operating import check_address, fail, token_of
from kalathi.cli.output import OUTPUT
from kalathi.contract.words import ReturnReason
from kalathi.extras import Extra, explain, has_library
from kalathi.terminal import in_one_line

if TYPE_CHECKING:
    from kalathi.merchant.client import AsyncClient
    from kalathi.merchant.client.transport import AsyncTransport
    from kalathi.merchant.inbox import Inbox
    from kalathi.merchant.metrics import ConnectorMetrics
    from kalathi.merchant.policy import Policy
    from kalathi.merchant.receiver import WebhookHandler
    from kalathi.merchant.refusals import Refusal
    from kalathi.merchant.stock import Stock


def _options(command: Any) -> Any:
    for option in reversed(MERCHANT_OPTIONS):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@_options
@click.pass_context
def merchant(context: click.Context, /, **given: Any) -> None:
    """Run a shop's connector: receive orders, check stock, accept or reject, print vouchers; and returns.

    \b
    kalathi merchant --url http://127.0.0.1:8090 --token-file token --stock stock.csv --print-to vouchers
    kalathi merchant ... --publish-stock --products-token-file products-token
    kalathi merchant ... --policy policy.toml --dry-run     report the answers without sending them
    kalathi merchant ... --stock sqlite:///shop.db --stock-query "$(cat stock.sql)"
    kalathi merchant ... --stock warehouse --approve-returns withdrawal,wrong_product
    kalathi merchant status                                 current work, deadlines and open problems
    """
    if context.invoked_subcommand is not None:
        return
    options = _check_options(MerchantOptions(**given))
    from kalathi.cli.merchant_parts import PartError
    from kalathi.merchant.client import CallError
    from kalathi.merchant.inbox import InboxInUseError, InboxVersionError
    from kalathi.merchant.policy import PolicyError
    from kalathi.merchant.sources import SourceRangesError
    from kalathi.merchant.stock import StockError
    from kalathi.serving import run_loop

    try:
        run_loop(_run_merchant(options))
    except (InboxInUseError, InboxVersionError) as error:
        fail(str(error))
    except (PartError, PolicyError, SourceRangesError, StockError, CallError, sqlite3.Error, ValueError) as error:
        fail(f"{error}.")
    except OSError as error:
        fail(f"cannot listen on {options.host}:{options.port} or use {options.data}: {error.strerror or error}.")


for _command in (status, replay, settle, reprint, day, stock, allow_price, feed):
    merchant.add_command(_command)


def _check_options(options: MerchantOptions) -> MerchantOptions:
    """Return the options with the token. End with a message if an option is missing or invalid."""
    if not options.url:
        fail("give the marketplace's address with --url or KALATHI_URL.")
    check_address(options.url)
    options = options._replace(token=token_of(options.token, options.token_file))
    options = _check_publishing(options)
    if not options.stock:
        fail("give --stock: a CSV with shop_uid and quantity, or one of the others of kalathi merchant --help.")
    if options.print_to is None:
        fail("give --print-to, the folder for the vouchers.")
    if options.told_orders_are_counted and not options.hand_over_to:
        fail("--told-orders-are-counted is about the system of --hand-over-to; give that as well.")
    if options.csv_style != "plain" and not options.hand_over_to.startswith("csv:"):
        fail("--csv-style is about --hand-over-to csv:folder; give that as well.")
    unknown = _reasons(options) - set(ReturnReason)
    if unknown:
        fail(f"--approve-returns: {', '.join(sorted(unknown))} is no reason; there are: {', '.join(ReturnReason)}.")
    if options.watch_port is not None and not has_library("prometheus_client"):
        fail(f"--watch-port: {explain(Extra.METRICS)}")
    if not options.path.startswith("/"):
        fail(f"--path must begin with a slash: /{options.path}")
    return options


def _check_publishing(options: MerchantOptions) -> MerchantOptions:
    """Return the options with the token of the Products API, if stock is published."""
    if not options.publish_stock:
        if options.products_token or options.products_token_file:
            fail("the token of the Products API is for --publish-stock; give that as well.")
        return options
    if options.stock == "warehouse":
        fail("--publish-stock: the marketplace counts the pieces in its own warehouse itself.")
    if not options.products_token and options.products_token_file is None:
        fail("--publish-stock needs the token of the Products API: give --products-token-file.")
    return options._replace(products_token=token_of(options.products_token, options.products_token_file))


def _reasons(options: MerchantOptions) -> frozenset[str]:
    return frozenset(_split_list(options.approve_returns))


def _split_list(told: str) -> list[str]:
    return [entry for part in told.split(",") if (entry := part.strip())]


def _secrets(told: str) -> list[str]:
    secrets = _split_list(told)
    if told and not secrets:
        fail("--secrets names no secret: is the variable that should hold it empty?")
    return secrets


def _policy(options: MerchantOptions) -> "Policy":
    """Return the policy of the file, with the additions of the flags."""
    from msgspec.structs import replace

    from kalathi.cli.merchant_parts import policy_of
    from kalathi.merchant.return_decisions import ReturnPolicy

    policy = policy_of(options.policy)
    returns = ReturnPolicy(
        policy.returns.approved_reasons | _reasons(options),
        policy.returns.rejects_late_withdrawals or options.reject_late_withdrawals,
    )
    return replace(policy, returns=returns)


async def _run_merchant(options: MerchantOptions) -> None:
    from kalathi.cli.merchant_parts import StockForm, printer_of, read_proxy_options, recipient_of, stock_of
    from kalathi.merchant.client.network import AsyncNetwork
    from kalathi.merchant.commands import HANDING_OVER
    from kalathi.merchant.connector import Connector
    from kalathi.merchant.csv_folder import CsvStyle
    from kalathi.merchant.habits import Habits
    from kalathi.merchant.inbox import Inbox
    from kalathi.merchant.metrics import ConnectorMetrics
    from kalathi.merchant.overview import needs_now
    from kalathi.merchant.receiver import Receiver, WebhookHandler
    from kalathi.merchant.watching import with_watching
    from kalathi.serving import address_of, listening_socket, run_server, start_logging

    OUTPUT.stay()
    start_logging()
    policy = _policy(options)
    printer = printer_of(
        Path(options.print_to or "."),
        options.printer,
        options.print_command,
        options=options.printer_options,
        seconds=options.print_seconds,
    )
    async with AsyncExitStack() as stack:
        kept = stack.enter_context(closing(Inbox(options.data / "merchant.db", beside=options.dry_run)))
        inbox = stack.enter_context(closing(_rehearsal(options))) if options.dry_run else kept
        network = AsyncNetwork(timeout_seconds=30.0, uses_proxy=options.use_proxy)
        stack.push_async_callback(network.close)
        # Hand-overs have their own time limit.
        shop_network = AsyncNetwork(
            timeout_seconds=options.hand_over_seconds, setting=HANDING_OVER.setting, uses_proxy=options.use_proxy
        )
        stack.push_async_callback(shop_network.close)
        client = await stack.enter_async_context(_make_client(options))
        form = StockForm(options.stock_encoding, options.stock_decimal or None, options.stock_lags)
        stock = stock_of(options.stock, options.stock_query, client, network, form)
        if stock.sends_itself:
            # Refuse a wrong set-up now, not at the first order.
            await check_stock(stock)
        metrics = ConnectorMetrics()
        connector = Connector(
            client,
            inbox,
            stock,
            printer,
            _tell,
            policy=policy,
            recipient=recipient_of(
                options.hand_over_to,
                shop_network,
                options.hand_over_header,
                options.hand_over_secret,
                seconds=options.hand_over_seconds,
                csv_style=CsvStyle(options.csv_style),
            ),
            habits=Habits(
                warn_seconds=options.warn_hours * 3600,
                dry_run=options.dry_run,
                hand_over_seconds=options.hand_over_seconds,
                told_orders_are_counted=options.told_orders_are_counted,
                stock_lag_seconds=options.stock_lag_minutes * 60,
            ),
            metrics=metrics,
            publishes_stock=options.publish_stock,
        )
        if options.publish_stock and options.dry_run:
            await _rehearse_publication(client, kept, stock, policy)

        handler = WebhookHandler(
            inbox,
            secrets=_secrets(options.secrets),
            copy_to=kept if options.dry_run else None,
            received=connector.wake,
            answered=metrics.note_webhook,
            refused=_refusals_into(metrics, inbox),
        )
        bound = stack.enter_context(closing(listening_socket(options.host, options.port)))
        proxies = read_proxy_options(options.trusted_proxies, is_one=options.trust_forwarded)
        receiver = Receiver(handler, options.path, trusted_proxies=proxies)
        asgi: Any = receiver
        watched = None
        if options.watch_port is not None:
            watched = stack.enter_context(closing(listening_socket(options.host, options.watch_port)))
            port = watched.getsockname()[1]
            asgi = with_watching(
                asgi, port, lambda: metrics.text(inbox), connector.seconds_since_round, lambda: needs_now(inbox)
            )
        if options.only_published_sources:
            _in_background(stack, await _load_ranges(options, handler, network))
        _in_background(stack, connector.run())

        def ready() -> None:
            _tell(f"The connector receives webhooks on {address_of(bound)}{receiver.path.address}")
            if watched is not None:
                _tell(f"It can be watched on {address_of(watched)}/metrics")

        await run_server(asgi, bound, ready, also=watched)


def _make_client(options: MerchantOptions) -> "AsyncClient":
    from kalathi.merchant.client import AsyncClient, Retries

    return AsyncClient(
        options.url,
        options.token,
        products_token=options.products_token,
        vendor=options.vendor,
        # The connector retries failed calls later by itself, and goes on with other events meanwhile.
        retries=Retries(attempts=1),
        uses_proxy=options.use_proxy,
    )


async def _rehearse_publication(client: "AsyncClient", inbox: "Inbox", stock: "Stock", policy: "Policy") -> None:
    """Print the stock and prices that would be published."""
    from kalathi.merchant.client import CallError
    from kalathi.merchant.context import Context
    from kalathi.merchant.habits import Habits
    from kalathi.merchant.metrics import ConnectorMetrics
    from kalathi.merchant.stock import StockError
    from kalathi.merchant.stock_rehearsal import rehearse_publication

    context = Context(client=client, inbox=inbox, tell=_tell, habits=Habits(), metrics=ConnectorMetrics())
    try:
        shelf = await stock.read()
    except (StockError, CallError) as error:
        _tell(f"would publish nothing: {error}")
        return
    click.echo(render_rehearsal(await rehearse_publication(context, client.products, shelf, policy.stock)))


def _refusals_into(metrics: "ConnectorMetrics", inbox: "Inbox") -> "Callable[[Refusal], None]":
    """Return the function that records the receiver's refusals, in the metrics and, for `status`, in the inbox file."""

    def note(refusal: "Refusal") -> None:
        metrics.note_refusal(refusal)
        inbox.notices.count_refusal(refusal, time.time())

    return note


def _in_background(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Run work in the background until the stack closes, which cancels the work and waits for its end."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


def _rehearsal(options: MerchantOptions) -> "Inbox":
    """Return a new, empty inbox for a dry run, so that a later real run does not count its events as done."""
    from kalathi.merchant.inbox import Inbox

    for ending in ("", "-wal", "-shm"):
        (options.data / f"rehearsal.db{ending}").unlink(missing_ok=True)
    return Inbox(options.data / "rehearsal.db")


async def _load_ranges(options: MerchantOptions, handler: "WebhookHandler", network: "AsyncTransport") -> Any:
    """Fetch the published ranges, or use the stored ones of an earlier run. Return the coroutine that keeps them up to
    date."""
    from kalathi.merchant.client import CallError
    from kalathi.merchant.sources import SourceRanges, SourceRangesError, fetch_ranges, keep_fresh, ranges_of_file

    path = options.data / "ip_ranges.json"

    def fetch() -> Any:
        return fetch_ranges(network, options.url, path)

    def take(ranges: SourceRanges) -> None:
        handler.ranges = ranges

    try:
        take(await fetch())
    except (CallError, SourceRangesError):
        if not path.exists():
            raise
        take(ranges_of_file(path))
    return keep_fresh(fetch, take)


def _tell(line: str) -> None:
    click.echo(in_one_line(line))
