"""`kalathi checkup`: play the marketplace against a shop's integration, and report its faults."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from kalathi.cli.checkup_setup import (
    OWN_TOKEN,
    Options,
    RunningMarket,
    check_urls,
    choose_planned,
    find_shop_id,
    list_url_settings,
    open_market,
    read_claims,
    read_report,
    render_command,
    write_products,
)
from kalathi.cli.completing import complete_checks
from kalathi.cli.operating import Market, is_proxy_wanted, market_options
from kalathi.cli.shop_choice import shop_option

if TYPE_CHECKING:
    from kalathi.checkup.cast import Terms
    from kalathi.checkup.running import PlannedCheck
    from kalathi.cli.checkup_output import Console
    from kalathi.marketplace.sandbox.checkup_report import Report

_PASSED, _SET_UP_WRONG, _INTERRUPTED = 0, 2, 130
_PORT: Final = 8090
_STANDARD_OUTPUT: Final = "-"


@click.command()
@click.option(
    "--webhook-url", envvar="KALATHI_WEBHOOK_URL", default="", help="The integration's URL for order webhooks."
)
@click.option("--returns-url", envvar="KALATHI_RETURNS_URL", default="", help="Its URL for return webhooks.")
@shop_option
@click.option(
    "--shop-token",
    envvar="KALATHI_SHOP_TOKEN",
    default="",
    help=f"The API token that the integration uses, if the marketplace is our own. Default: {OWN_TOKEN}.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True, help="Port of our own marketplace."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of our own marketplace.")
@click.option(
    "--claims",
    default="orders",
    show_default=True,
    help="What the integration does: orders, returns, invoices, fbm, ready, products; or none.",
)
@click.option(
    "--only", multiple=True, metavar="CHECK", shell_complete=complete_checks, help="Only this check; may be repeated."
)
@click.option("--known", type=click.Path(path_type=Path), help="A TOML file with the failures that you accept.")
@click.option(
    "--probe",
    envvar="KALATHI_PROBE",
    default="",
    help="How to read the shop's own system: a URL, command:..., woocommerce:URL, merchant:FOLDER, a database.",
)
@click.option("--probe-order", default="", metavar="SELECT", help="For a database: orders, state, total ... of :code.")
@click.option("--probe-stock", default="", metavar="SELECT", help="For a database: the pieces of :sku.")
@click.option(
    "--patience",
    type=click.FloatRange(0.1, 3600),
    default=5.0,
    show_default=True,
    help="Longest wait for the integration, in seconds.",
)
@click.option(
    "--seed",
    default="",
    help="The beginning of the products' codes. Give it once the shop knows the products of --products.",
)
@click.option(
    "--products",
    default="",
    metavar="FILE",
    help="Write the products that the shop must know as CSV, before the run; - is standard output, and nothing is run.",
)
@click.option("--junit", default="", metavar="FILE", help="Write the results as JUnit XML; - is standard output.")
@click.option("--json", "json_file", default="", metavar="FILE", help="Write the report as JSON; - is standard output.")
@click.option("--html", default="", metavar="FILE", help="Write the report as a page; - is standard output.")
@click.option("--compare", type=click.Path(path_type=Path), help="List the differences to this report of --json.")
@click.option("--list", "lists", is_flag=True, help="List the checks.")
@click.option(
    "--language", type=click.Choice(["en", "el"]), default="en", show_default=True, help="Language of the report."
)
@market_options
def checkup(data: Path, url: str, token: str, **given: Any) -> None:
    """Play the marketplace against a running integration, and report faults that lose orders, cost money or annoy.

    Without --shop, --url and --token it starts a marketplace of its own. Ends with 0 if all claimed checks passed, with
    1 if one failed, with 2 if the set-up is wrong or nothing could be judged.

    \b
    kalathi checkup --webhook-url http://127.0.0.1:9000/hook
    kalathi checkup --webhook-url http://127.0.0.1:9000/hook --claims orders,returns --returns-url http://127.0.0.1:9000/returns
    kalathi checkup --shop YlpD0KROym --only late_cancellation
    kalathi checkup --shop YlpD0KROym --probe http://127.0.0.1:9000/probe --html report.html
    """
    options, market = Options(**given), Market(data, url, token)
    try:
        sys.exit(_run(options, market))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}.")
    except ValueError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    """Report a mistake in the set-up, and end with status 2."""
    click.echo(f"kalathi: {message}", err=True)
    sys.exit(_SET_UP_WRONG)


def _run(options: Options, market: Market) -> int:
    """Run everything, write the reports, and return the exit status. Raises ValueError, OSError."""
    from kalathi.checkup.known import read_known
    from kalathi.checkup.running import list_products
    from kalathi.cli.checkup_output import Console, check_files, render_checks, write_reports

    checks = choose_planned(options.only)
    if options.lists:
        click.echo(render_checks(checks, options.language))
        return _PASSED
    check_urls(options)
    files = (options.junit, options.json_file, options.html)
    check_files(*files)
    known = read_known(options.known) if options.known else {}
    before = read_report(options.compare)
    terms = _make_terms(options)
    if options.products:
        write_products(options.products, list_products(checks, terms.seed))
        if options.products == _STANDARD_OUTPUT:
            return _PASSED
    console = Console(options.language, to_error=_STANDARD_OUTPUT in files)
    report, is_own = _run_checks(options, market, checks, terms, known, console)
    console.show_end(report, before, is_own=is_own)
    write_reports(report, *files, options.language)
    return report.exit_status


def _make_terms(options: Options) -> "Terms":
    """Return the terms of the run, with an open probe. Raises ValueError."""
    from kalathi.checkup.cast import Terms
    from kalathi.checkup.opening_probes import open_probe
    from kalathi.checkup.probes import ProbeError
    from kalathi.checkup.products import new_seed

    queries = {"order_query": options.probe_order, "stock_query": options.probe_stock}
    try:
        probe = open_probe(options.probe, **queries) if options.probe else None
    except ProbeError as error:
        raise ValueError(str(error)) from None
    seed = options.seed or new_seed()
    return Terms(read_claims(options.claims), seed, probe, has_products=bool(options.seed))


def _run_checks(
    options: Options,
    market: Market,
    checks: "list[PlannedCheck]",
    terms: "Terms",
    known: dict[str, str],
    console: "Console",
) -> "tuple[Report, bool]":
    """Return the report, and whether the marketplace was our own. Raises ValueError."""
    from kalathi.checkup.probes import ProbeError
    from kalathi.checkup.running import Run
    from kalathi.checkup.stage import Stage, check_sandbox
    from kalathi.operator_calls import OperatorError
    from kalathi.simulation.operator import OperatorClient

    async def run(running: RunningMarket) -> "Report":
        async with OperatorClient(running.address, running.token, uses_proxy=is_proxy_wanted()) as operator:
            await check_sandbox(operator)
            shop_id = await find_shop_id(operator, running.shop_id)
            stage = Stage(operator, shop_id, patience_seconds=options.patience, is_own=running.is_own)
            command = render_command(options, market)
            async with stage.changed(list_url_settings(options)):
                return await Run(stage, terms, checks, known=known, changed=console.show, command=command).run()

    async def run_and_close(running: RunningMarket) -> "Report":
        try:
            return await run(running)
        finally:
            if terms.probe is not None:
                await terms.probe.close()

    try:
        with open_market(options, market, console) as running:
            return asyncio.run(run_and_close(running)), running.is_own
    except (OperatorError, ProbeError) as error:
        raise ValueError(str(error)) from None
