"""Publish stock and prices: the options of `kalathi merchant`, and its commands `stock` and `allow-price`."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kalathi.cli.merchant_overview import data_option, json_option, open_inbox
from kalathi.cli.operating import fail, show
from kalathi.cli.sharing import SharingCommand
from kalathi.cli.tables import render_table
from kalathi.terminal import in_one_line

if TYPE_CHECKING:
    from kalathi.contract.products import ProductUpdate
    from kalathi.merchant.inbox.publications import Publication
    from kalathi.merchant.stock_rehearsal import Rehearsal

_SHOWN: Final = 50

PUBLISH_OPTIONS = (
    click.option(
        "--publish-stock",
        envvar="KALATHI_PUBLISH_STOCK",
        is_flag=True,
        help="Publish the stock and the prices of --stock at the marketplace, minus the pieces that orders hold.",
    ),
    click.option(
        "--products-token",
        envvar="KALATHI_PRODUCTS_TOKEN",
        default="",
        help="The shop's token of the Products API, for --publish-stock.",
    ),
    click.option(
        "--products-token-file",
        envvar="KALATHI_PRODUCTS_TOKEN_FILE",
        type=click.Path(path_type=Path),
        help="A file that holds that token.",
    ),
)


@click.command("stock", cls=SharingCommand)
@click.argument("product_ids", nargs=-1, metavar="[PRODUCT]...")
@data_option
@click.option("--failed", "only_failed", is_flag=True, help="Only products that the marketplace has not taken.")
@json_option
def stock(product_ids: tuple[str, ...], data: Path, *, only_failed: bool, as_json: bool) -> None:
    """Show the published stock: pieces of the source, pieces that orders hold, buffer, published number and price, and
    the marketplace's last answer.

    \b
    kalathi merchant stock               the first fifty products
    kalathi merchant stock MEM-64        these products
    kalathi merchant stock --failed
    """
    with open_inbox(data) as inbox:
        publications = inbox.publications
        if product_ids:
            found = publications.of(product_ids)
            rows = [found[product_id] for product_id in product_ids if product_id in found]
        else:
            rows = publications.list_failed(_SHOWN) if only_failed else publications.page("", _SHOWN)
        published, _ = publications.counts()
    missing = [product_id for product_id in product_ids if product_id not in {row.product_id for row in rows}]
    if missing:
        fail(f"{', '.join(missing)} was never published. See: kalathi merchant status")
    empty = "No stock is published yet: kalathi merchant --publish-stock --help"
    table = render_table(_COLUMNS, [_render(row) for row in rows]) if rows else "None." if only_failed else empty
    more = f"\n{published} products are published." if len(rows) == _SHOWN else ""
    show(as_json, {"products": [_as_json(row) for row in rows], "published": published}, f"{table}{more}")


@click.command("allow-price", cls=SharingCommand)
@click.argument("product_ids", nargs=-1, metavar="[PRODUCT]...")
@data_option
@click.option("--all", "everything", is_flag=True, help="Every price that waits.")
@json_option
def allow_price(product_ids: tuple[str, ...], data: Path, *, everything: bool, as_json: bool) -> None:
    """Publish a price that waits for a person, because it falls by more than the policy allows. The connector does it
    within seconds.

    \b
    kalathi merchant allow-price MEM-64
    kalathi merchant allow-price --all
    """
    if bool(product_ids) is everything:
        fail("give the products, or --all.")
    with open_inbox(data) as inbox:
        allowed = inbox.publications.allow_prices(product_ids)
    text = f"To be published: {', '.join(map(in_one_line, allowed))}." if allowed else "No such price waits."
    show(as_json, {"allowed": allowed}, text)


_COLUMNS: Final = ("product", "source", "held", "buffer", "published", "price", "at", "answer")


def _render(row: "Publication") -> tuple[object, ...]:
    update = row.update
    return (
        in_one_line(row.product_id),
        *row.counted,
        "" if update is None else update.quantity,
        "" if update is None else f"{update.price / 100:.2f}",
        _time(row),
        in_one_line(_answer(row)),
    )


def _time(row: "Publication") -> str:
    from kalathi.contract.reading import ATHENS

    return "" if row.published_at is None else f"{datetime.fromtimestamp(row.published_at, ATHENS):%d/%m %H:%M:%S}"


def _answer(row: "Publication") -> str:
    if row.waiting_price is not None:
        return f"the price {row.waiting_price / 100:.2f} waits for a person"
    return row.answer if row.is_confirmed else "not published yet"


def _as_json(row: "Publication") -> dict[str, Any]:
    from msgspec import to_builtins

    return {
        "product_id": row.product_id,
        **row.counted._asdict(),
        "published": None if row.update is None else to_builtins(row.update),
        "published_at": row.published_at,
        "is_confirmed": row.is_confirmed,
        "answer": row.answer,
        "waiting_price": row.waiting_price,
    }


def render_rehearsal(rehearsal: "Rehearsal") -> str:
    """Return the lines of a dry run: the products that would change, those that cannot be published, and the
    marketplace's errors."""
    changes = rehearsal.changes
    if not changes:
        lines = ["would publish nothing: the marketplace has these numbers already"]
    else:
        rows = [(in_one_line(after.product_id), _values(before), _values(after)) for before, after in changes[:_SHOWN]]
        lines = [f"would publish {len(changes)} products:", render_table(("product", "published", "new"), rows)]
        if len(changes) > _SHOWN:
            lines.append(f"and {len(changes) - _SHOWN} more")
    lines += [
        f"would not publish {in_one_line(entry.product_id)}: {in_one_line(entry.detail)}"
        for entry in rehearsal.blocked[:_SHOWN]
    ]
    note = "A dry run does not subtract the pieces of open orders. The connector does, before it publishes."
    return "\n".join([*lines, *_failures(rehearsal.failures), note])


def _failures(failures: Sequence[str]) -> list[str]:
    return [f"the marketplace would refuse this: {in_one_line(failure)}" for failure in failures]


def _values(update: "ProductUpdate | None") -> str:
    if update is None:
        return "-"
    return f"{update.quantity} at {update.price / 100:.2f}{'' if update.enabled else ', off sale'}"
