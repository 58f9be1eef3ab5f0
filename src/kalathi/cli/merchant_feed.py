"""`kalathi merchant feed check`: check the shop's XML feed before the marketplace reads it."""

import asyncio
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from kalathi.cli.merchant_stock import STOCK_OPTIONS
from kalathi.cli.operating import fail
from kalathi.cli.output import echo_json
from kalathi.terminal import in_one_line, style

if TYPE_CHECKING:
    from kalathi.merchant.feed.checking import Fault, FeedChecker, Finding
    from kalathi.merchant.stock import Shelf

_SHOWN_OF_A_KIND: Final = 10
_MOST_IN_JSON: Final = 10_000


@click.group("feed", help="The shop's XML feed: check it.")
def feed() -> None:
    """Group the commands on the feed."""


def _with_stock_options(command: Any) -> Any:
    for option in reversed(STOCK_OPTIONS):
        command = option(command)
    return command


@feed.command("check")
@click.argument("place", metavar="URL-OR-FILE")
@_with_stock_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def feed_check(place: str, *, as_json: bool, **stock: Any) -> None:
    """Check the shop's XML feed for faults that the marketplace would refuse: ids, quantities, prices, VAT, EAN codes,
    sizes and variations, and the feed's age. With --stock, also report differences from the stock source.

    Ends with 1 if the marketplace would refuse something, or cannot read the feed. The file may be compressed (gzip or
    zip).

    \b
    kalathi merchant feed check https://shop.example/skroutz.xml
    kalathi merchant feed check feed.xml.gz --stock stock.csv
    """
    from kalathi.contract.reading import ATHENS
    from kalathi.merchant.feed.checking import WARNINGS, FeedChecker, check_feed
    from kalathi.merchant.feed.content import FeedError, open_feed
    from kalathi.merchant.feed.parsing import read_feed

    checker = FeedChecker(datetime.now(ATHENS), _read_shelf(stock))
    content = open_feed(place)
    kept: dict[Fault, list[Finding]] = {}
    most = _MOST_IN_JSON if as_json else _SHOWN_OF_A_KIND
    try:
        for finding in check_feed(read_feed(content.read()), checker):
            _keep(kept, finding, most)
    except FeedError as error:
        fail(f"{place} cannot be read: {error}.")
    for finding in checker.end(content.size, is_compressed=content.is_compressed):
        _keep(kept, finding, most)
    is_refused = any(fault not in WARNINGS for fault in checker.counts)
    if as_json:
        _show_json(checker, kept, is_refused=is_refused)
    else:
        _show(place, checker, kept)
    sys.exit(1 if is_refused else 0)


def _keep(kept: "dict[Fault, list[Finding]]", finding: "Finding", most: int) -> None:
    """Keep the first findings of each kind. A feed may have a hundred thousand of one kind."""
    found = kept.setdefault(finding.fault, [])
    if len(found) < most:
        found.append(finding)


def _read_shelf(stock: dict[str, Any]) -> "Shelf | None":
    if not stock["stock"]:
        return None
    from kalathi.cli.merchant_parts import PartError, StockForm, stock_of
    from kalathi.merchant.client import AsyncClient, CallError
    from kalathi.merchant.client.network import AsyncNetwork
    from kalathi.merchant.stock import StockError

    if stock["stock"] == "warehouse":
        fail("--stock warehouse: the marketplace itself counts those pieces. Name the shop's own source.")

    async def read() -> "Shelf":
        network = AsyncNetwork(timeout_seconds=30.0)
        client = AsyncClient("http://unused", "", transport=network)
        form = StockForm(stock["stock_encoding"], stock["stock_decimal"] or None)
        try:
            return await stock_of(stock["stock"], stock["stock_query"], client, network, form).read()
        finally:
            await network.close()

    try:
        return asyncio.run(read())
    except (PartError, StockError, CallError) as error:
        fail(f"{error}.")


def _show(place: str, checker: "FeedChecker", kept: "dict[Fault, list[Finding]]") -> None:
    from kalathi.merchant.feed.checking import WARNINGS

    for fault, count in sorted(checker.counts.items(), key=lambda entry: (entry[0] in WARNINGS, -entry[1])):
        name = str(fault).replace("_", " ")
        title = f"{'Warning' if fault in WARNINGS else 'Refused'}: {name} ({count})"
        click.echo(style(title, fg="yellow" if fault in WARNINGS else "red", bold=True))
        shown = kept[fault]
        for finding in shown:
            line = f"line {finding.line}, " if finding.line else ""
            product = f"{finding.product[:60]}: " if finding.product else ""
            click.echo(f"  {line}{in_one_line(product)}{in_one_line(finding.sentence)}")
        if count > len(shown):
            click.echo(f"  and {count - len(shown)} more")
    refused = sum(count for fault, count in checker.counts.items() if fault not in WARNINGS)
    products = "1 product" if checker.products == 1 else f"{checker.products} products"
    click.echo(f"{products} in {place}: {refused} faults, {checker.counts.total() - refused} warnings.")


def _show_json(checker: "FeedChecker", kept: "dict[Fault, list[Finding]]", *, is_refused: bool) -> None:
    from msgspec import to_builtins

    every = [finding for found in kept.values() for finding in found]
    findings = [to_builtins(finding) | {"warning": finding.is_warning} for finding in every]
    counts = {str(fault): count for fault, count in sorted(checker.counts.items())}
    echo_json({"products": checker.products, "refused": is_refused, "counts": counts, "findings": findings})
