"""`kalathi checkup`: play the marketplace against a shop's integration, and report what it does wrong."""

import asyncio
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import click

from kalathi.cli.completing import complete_checks
from kalathi.cli.operating import Market, find_market, market_options
from kalathi.cli.shop_choice import shop_option

if TYPE_CHECKING:
    from kalathi.checkup.running import PlannedCheck
    from kalathi.marketplace.sandbox.checkup_report import Report

_PASSED, _SET_UP_WRONG = 0, 2
_PORT: Final = 8090
_STANDARD_OUTPUT: Final = "-"


class Options(NamedTuple):
    """The options of the command."""

    webhook_url: str
    returns_url: str
    shop_id: str
    shop_token: str
    port: int
    host: str
    claims: str
    only: tuple[str, ...]
    known: Path | None
    probe: str
    probe_order: str
    probe_stock: str
    patience: float
    seed: str
    products: str
    junit: str
    json_file: str
    html: str
    compare: Path | None
    lists: bool
    language: str


@click.command()
@click.option(
    "--webhook-url", envvar="KALATHI_WEBHOOK_URL", default="", help="The integration's URL for order webhooks."
)
@click.option("--returns-url", default="", help="Its URL for return webhooks.")
@shop_option
@click.option(
    "--shop-token", default="", help="The API token that the integration uses, if the marketplace is our own."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True, help="Port of our own marketplace."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of our own marketplace.")
@click.option(
    "--claims",
    default="orders",
    show_default=True,
    help="What the integration does: orders, returns, invoices, fbm, ready, products.",
)
@click.option(
    "--only", multiple=True, metavar="CHECK", shell_complete=complete_checks, help="Only this check; may be repeated."
)
@click.option("--known", type=click.Path(path_type=Path), help="A TOML file with the failures that you accept.")
@click.option(
    "--probe",
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
@click.option("--seed", default="", help="The beginning of the products' codes; by default random.")
@click.option(
    "--products",
    default="",
    metavar="FILE",
    help="Write the products that the shop must know as CSV, before the run; - is standard output, and nothing is run.",
)
@click.option("--junit", default="", metavar="FILE", help="Write the results as JUnit XML; - is standard output.")
@click.option("--json", "json_file", default="", metavar="FILE", help="Write the report as JSON; - is standard output.")
@click.option("--html", default="", metavar="FILE", help="Write the report as a page; - is standard output.")
@click.option("--compare", type=click.Path(path_type=Path), help="Show what changed since this report of --json.")
@click.option("--list", "lists", is_flag=True, help="List the checks.")
@click.option(
    "--language", type=click.Choice(["en", "el"]), default="en", show_default=True, help="Language of the report."
)
@market_options
def checkup(data: Path, url: str, token: str, **given: Any) -> None:
    """Play the marketplace against a running integration, and report what would lose an order, cost money or annoy.

    Without --shop, --url and --token it starts a marketplace of its own. Ends with 0 if all claimed checks passed, with
    1 if one failed, with 2 if the set-up is wrong.

    \b
    kalathi checkup --webhook-url http://127.0.0.1:9000/hook --shop-token secret
    kalathi checkup --webhook-url http://127.0.0.1:9000/hook --claims orders,returns --returns-url http://127.0.0.1:9000/returns
    kalathi checkup --shop YlpD0KROym --only late_cancellation
    kalathi checkup --shop YlpD0KROym --probe http://127.0.0.1:9000/probe --html report.html
    """
    options, market = Options(**given), Market(data, url, token)
    checks = _choose(options)
    if options.lists:
        from kalathi.cli.checkup_output import render_checks

        click.echo(render_checks(checks, options.language))
        return
    report = _run(options, market, checks)
    sys.exit(report.exit_status)


def _fail(message: str) -> NoReturn:
    """Report a mistake in the set-up, and end with status 2."""
    click.echo(f"kalathi: {message}", err=True)
    sys.exit(_SET_UP_WRONG)


def _choose(options: Options) -> "list[PlannedCheck]":
    from kalathi.checkup.running import choose_checks

    try:
        return choose_checks(options.only)
    except KeyError as error:
        _fail(f"--only {error.args[0]}: there is no such check. See kalathi checkup --list.")


def _run(options: Options, market: Market, checks: "list[PlannedCheck]") -> "Report":
    """Run everything and write the reports."""
    from kalathi.checkup.known import KnownError, read_known
    from kalathi.checkup.probes import ProbeError
    from kalathi.checkup.products import new_seed, render_products
    from kalathi.checkup.running import list_products
    from kalathi.cli.checkup_output import Console, check_files, write_reports
    from kalathi.operator_calls import OperatorError

    seed = options.seed or new_seed()
    console = Console(options.language, to_error=_STANDARD_OUTPUT in {options.junit, options.json_file, options.html})
    try:
        check_files(options.junit, options.json_file, options.html)
        known = read_known(options.known) if options.known else {}
        before = _read_report(options.compare)
        if options.products:
            text = render_products(list_products(checks, seed))
            if options.products == _STANDARD_OUTPUT:
                click.echo(text, nl=False)
                sys.exit(_PASSED)
            Path(options.products).write_text(text, "utf-8")
        report = _run_checks(options, market, checks, seed, known, console)
    except (OperatorError, ProbeError, KnownError, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or ''}: {error.strerror or error}.")
    console.show_end(report, before)
    write_reports(report, options.junit, options.json_file, options.html, options.language)
    return report


def _read_report(path: Path | None) -> "Report | None":
    if path is None:
        return None
    import msgspec

    from kalathi.marketplace.sandbox.checkup_report import Report

    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except msgspec.DecodeError as error:
        raise ValueError(f"--compare {path}: this is not a report of --json ({error}).") from None


def _run_checks(
    options: Options, market: Market, checks: Any, seed: str, known: dict[str, str], console: Any
) -> "Report":
    from kalathi.checkup.checking import Terms
    from kalathi.checkup.opening_probes import open_probe
    from kalathi.checkup.running import Run
    from kalathi.checkup.stage import Stage, check_sandbox
    from kalathi.simulation.operator import OperatorClient

    claims = _read_claims(options.claims)
    probe = (
        open_probe(options.probe, order_query=options.probe_order, stock_query=options.probe_stock)
        if options.probe
        else None
    )
    terms = Terms(claims, seed, probe, has_products=bool(options.products or options.seed))

    async def run(address: str, token: str, shop_id: str) -> "Report":
        async with OperatorClient(address, token) as operator:
            await check_sandbox(operator)
            stage = Stage(operator, shop_id or await _only_shop(operator), patience_seconds=options.patience)
            before = await stage.show_shop()
            changes = _urls(options)
            try:
                await stage.change_shop(changes)
                return await Run(stage, terms, checks, known=known, changed=console.show).run()
            finally:
                await stage.change_shop({name: before[name] for name in changes})
                if probe is not None:
                    await probe.close()

    with _marketplace(options, market, console) as (address, token, shop_id):
        return asyncio.run(run(address, token, shop_id))


def _read_claims(text: str) -> "frozenset[Any]":
    from kalathi.marketplace.sandbox.checks import Claim

    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in set(Claim)]
    if unknown:
        raise ValueError(f"--claims {unknown[0]}: there is no such ability; there are {', '.join(Claim)}.")
    return frozenset(map(Claim, words))


def _urls(options: Options) -> dict[str, Any]:
    """Return the shop's settings that the options change."""
    changes: dict[str, Any] = {}
    if options.webhook_url:
        changes |= {"webhook_url": options.webhook_url, "webhook_enabled": True}
    if options.returns_url:
        changes |= {"returns_webhook_url": options.returns_url, "returns_webhook_enabled": True}
    return changes


async def _only_shop(operator: Any) -> str:
    shops = await operator.shops()
    if len(shops) != 1:
        names = ", ".join(str(shop["id"]) for shop in shops[:10]) or "none"
        raise ValueError(f"give --shop; the marketplace has these shops: {names}.")
    return str(shops[0]["id"])


@contextmanager
def _marketplace(options: Options, market: Market, console: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the address, the operator's token and the shop of the running marketplace, or of one of our own."""
    if options.shop_id or market.url or market.token:
        found = find_market(*market)
        if found is None:
            raise ValueError(
                f"no running marketplace is known in {market.data}. Give --url and --token, or leave out --shop."
            )
        yield (*found, options.shop_id)
        return
    from kalathi.testing.server import ServerFailedError, run_server

    if not options.webhook_url:
        raise ValueError("give --webhook-url, the integration's address; or --shop of a running marketplace.")
    token = options.shop_token or secrets.token_urlsafe(24)
    declared = f'[[shops]]\nid = "checkup"\ntoken = "{token}"\nname = "Checkup"\n'
    try:
        with run_server(["--port", str(options.port), "--host", options.host], declared=declared) as server:
            console.show_marketplace(server.url, token, is_given=bool(options.shop_token))
            yield server.url, server.operator_token, "checkup"
    except ServerFailedError as error:
        raise ValueError(f"{error} Another --port may be free.") from None
