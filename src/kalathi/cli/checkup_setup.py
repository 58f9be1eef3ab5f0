"""The set-up of `kalathi checkup`: the marketplace, the shop, the claims, and the line that repeats a check."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
from click.core import ParameterSource

from kalathi.cli.operating import Market, find_market
from kalathi.marketplace.kernel.targets import BadUrl, mask_url, parse_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kalathi.checkup.products import Product
    from kalathi.checkup.running import PlannedCheck
    from kalathi.cli.checkup_output import Console
    from kalathi.marketplace.sandbox.checks import Claim
    from kalathi.marketplace.sandbox.checkup_report import Report
    from kalathi.simulation.operator import OperatorClient

# The API token of the shop in a marketplace of our own. It listens on this machine, and its data lasts for one run.
OWN_TOKEN: Final = "checkup-token"  # noqa: S105  (a token of a test shop)
_OWN_SHOP: Final = "checkup"
_TOKEN_LENGTHS: Final = range(8, 201)
_NO_CLAIM: Final = "none"


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


class RunningMarket(NamedTuple):
    """A running marketplace: its address, the operator's token, and the shop, which is empty for the only one."""

    address: str
    token: str
    shop_id: str
    is_own: bool


def choose_planned(only: tuple[str, ...]) -> "list[PlannedCheck]":
    """Return the chosen checks, or all. Raises ValueError."""
    from kalathi.checkup.running import choose_checks, list_checks

    try:
        return choose_checks(only)
    except KeyError as error:
        names = [planned.scenario.name for planned in list_checks()]
        close = get_close_matches(str(error.args[0]), names, n=2)
        rest = f"Did you mean {' or '.join(close)}?" if close else "See kalathi checkup --list."
        raise ValueError(f"--only {error.args[0]}: there is no such check. {rest}") from None


def read_claims(text: str) -> "frozenset[Claim]":
    """Return the claimed abilities. `none` claims nothing. Raises ValueError."""
    from kalathi.marketplace.sandbox.checks import Claim

    words = [word.strip() for word in text.split(",") if word.strip()]
    if words == [_NO_CLAIM]:
        return frozenset()
    unknown = [word for word in words if word not in set(Claim)]
    if unknown:
        raise ValueError(f"--claims {unknown[0]}: there is no such ability; there are {', '.join(Claim)}, {_NO_CLAIM}.")
    return frozenset(map(Claim, words))


def read_report(path: Path | None) -> "Report | None":
    """Read a report of --json. Raises ValueError, OSError."""
    if path is None:
        return None
    import msgspec

    from kalathi.marketplace.sandbox.checkup_report import Report

    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except msgspec.DecodeError as error:
        raise ValueError(f"--compare {path}: this is not a report of --json ({error}).") from None


def check_urls(options: Options) -> None:
    """Check the webhook URLs. Raises ValueError."""
    for flag, url in (("--webhook-url", options.webhook_url), ("--returns-url", options.returns_url)):
        target = parse_target(url) if url else None
        if isinstance(target, BadUrl):
            raise ValueError(f"{flag} {mask_url(url)}: it {target}.")  # noqa: TRY004  (an answer of the parser, not a wrong type)


def list_url_settings(options: Options) -> dict[str, Any]:
    """Return the shop's settings that the options change."""
    changes: dict[str, Any] = {}
    if options.webhook_url:
        changes |= {"webhook_url": options.webhook_url, "webhook_enabled": True}
    if options.returns_url:
        changes |= {"returns_webhook_url": options.returns_url, "returns_webhook_enabled": True}
    return changes


async def find_shop_id(operator: "OperatorClient", shop_id: str) -> str:
    """Return the id of the named shop, or of the only one. Raises ValueError, OperatorError."""
    ids = [str(shop["id"]) for shop in await operator.shops()]
    if shop_id in ids:
        return shop_id
    names = ", ".join(ids[:10]) or "none"
    if shop_id:
        raise ValueError(f"--shop {shop_id}: there is no such shop; there are: {names}.")
    if len(ids) != 1:
        raise ValueError(f"give --shop; the marketplace has these shops: {names}.")
    return ids[0]


@contextmanager
def open_market(options: Options, market: Market, console: "Console") -> Iterator[RunningMarket]:
    """Yield the running marketplace that the options name, or start one for this run. Raises ValueError."""
    if _names_market(options, market):
        yield _find_running(options, market)
        return
    from kalathi.testing.server import ServerFailedError, run_server

    if not options.webhook_url:
        raise ValueError("give --webhook-url, the integration's address; or --shop of a running marketplace.")
    token = options.shop_token or OWN_TOKEN
    if len(token) not in _TOKEN_LENGTHS or not all("!" <= character <= "~" for character in token):
        raise ValueError("--shop-token: give 8 to 200 ASCII characters without spaces.")
    declared = f'[[shops]]\nid = "{_OWN_SHOP}"\ntoken = {json.dumps(token)}\nname = "Checkup"\n'
    try:
        with run_server(["--port", str(options.port), "--host", options.host], declared=declared) as server:
            console.show_marketplace(server.url, OWN_TOKEN if token == OWN_TOKEN else "--shop-token")
            yield RunningMarket(server.url, server.operator_token, _OWN_SHOP, is_own=True)
    except ServerFailedError as error:
        if "Address already in use" not in str(error):
            raise ValueError(str(error)) from None
        raise ValueError(
            f"port {options.port} is in use. If your own `kalathi serve` uses it, give --shop, with --data, or with"
            " --url and --token. Otherwise give another --port."
        ) from None


def _names_market(options: Options, market: Market) -> bool:
    """Whether the options name a running marketplace. A variable alone may belong to another command."""
    context = click.get_current_context()
    is_given = any(
        context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("url", "token", "data")
    )
    return bool(options.shop_id or is_given or (market.url and market.token))


def _find_running(options: Options, market: Market) -> RunningMarket:
    target = parse_target(market.url) if market.url else None
    if isinstance(target, BadUrl):
        raise ValueError(f"--url {mask_url(market.url)}: it {target}.")  # noqa: TRY004  (an answer of the parser)
    found = find_market(*market)
    if found is not None:
        return RunningMarket(*found, options.shop_id, is_own=False)
    if market.url:
        raise ValueError("--token is missing: the operator's token is in the file operator-token of the data folder.")
    raise ValueError(f"no running marketplace is known in {market.data}. Give --data, or --url and --token.")


def render_command(options: Options, market: Market) -> str:
    """Return the command line of this run without the choice of checks and without secrets, to repeat a check."""
    words = ["kalathi", "checkup"]
    given = {
        "--webhook-url": mask_url(options.webhook_url) if options.webhook_url else "",
        "--returns-url": mask_url(options.returns_url) if options.returns_url else "",
        "--shop": options.shop_id,
        "--url": market.url,
        "--claims": "" if options.claims == "orders" else options.claims,
        "--probe": mask_url(options.probe) if "://" in options.probe else options.probe,
        "--probe-order": options.probe_order,
        "--probe-stock": options.probe_stock,
        "--seed": options.seed,
        "--port": "" if options.port == 8090 or options.shop_id or market.url else str(options.port),
        "--patience": "" if options.patience == 5.0 else f"{options.patience:g}",
    }
    for flag, value in given.items():
        words += [flag, shlex.quote(value)] if value else []
    words += ["--token", '"$OPERATOR_TOKEN"'] if market.token else []
    words += ["--shop-token", '"$TOKEN"'] if options.shop_token else []
    return " ".join(words)


def write_products(file: str, products: "Sequence[Product]") -> None:
    """Write products as CSV to a file, or to standard output. Raises OSError."""
    from kalathi.checkup.products import render_products

    if file == "-":
        click.echo(render_products(products), nl=False)
    else:
        Path(file).write_text(render_products(products), "utf-8")
