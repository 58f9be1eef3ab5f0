"""`kalathi listing`: the products that a shop offers in a running marketplace."""

from pathlib import Path
from typing import Any, Final

import click

from kalathi.cli.lazy_commands import LazyCommands
from kalathi.cli.operating import Market, operate, operator_options, show
from kalathi.cli.shop_choice import find_only_shop, shop_option
from kalathi.cli.tables import render_table
from kalathi.terminal import in_one_line

_FLAGS: Final = {"product_name": "name", "unit_price": "price"}
# A new listing needs these members.
_NEEDED: Final = {"product_name": "--name", "unit_price": "--price", "quantity": "--quantity"}


@click.command("list")
@shop_option
@operator_options
def listing_list(shop_id: str, data: Path, url: str, token: str, as_json: bool) -> None:
    """List the listings of a shop, with price and stock."""
    market = Market(data, url, token)
    chosen = shop_id or find_only_shop(market)
    listings = operate(*market, lambda operator: operator.listings(chosen))
    rows = [
        (entry["shop_uid"], entry["product_name"], f"{entry['unit_price']:.2f}", entry["quantity"])
        for entry in listings
    ]
    table = render_table(("shop_uid", "product", "price", "quantity"), rows)
    show(as_json, {"listings": listings}, table if rows else "No listings yet: kalathi listing set --help")


@click.command("set")
@click.argument("uid")
@shop_option
@operator_options
def listing_set(uid: str, shop_id: str, data: Path, url: str, token: str, as_json: bool, **given: Any) -> None:
    """Add a listing, or change the named members of an existing one. Other listings stay unchanged. UID is the shop's
    own id of the product.

    \b
    kalathi listing set MEM-64 --name "USB Stick 64GB" --price 10.40 --quantity 5
    kalathi listing set MEM-64 --quantity 3
    """
    from kalathi.cli.struct_options import read_body
    from kalathi.marketplace.shops.model import NewListing

    market = Market(data, url, token)
    chosen = shop_id or find_only_shop(market)
    changes = read_body(NewListing, given)

    async def change(operator: Any) -> dict[str, Any]:
        present = [entry for entry in await operator.listings(chosen) if entry["shop_uid"] == uid]
        listing: dict[str, Any] = {**(present[0] if present else {}), **changes, "shop_uid": uid}
        missing = [flag for member, flag in _NEEDED.items() if member not in listing]
        if missing:
            raise click.UsageError(f"{uid} is a new listing. Give {', '.join(missing)}.")
        await operator.put_listings(chosen, [listing])
        return listing

    listing = operate(*market, change)
    text = f"Listing {in_one_line(uid)}: {in_one_line(listing['product_name'])}, {float(listing['unit_price']):.2f} €"
    show(as_json, {"listing": listing}, f"{text}, {listing['quantity']} in stock")


def _commands() -> list[click.Command]:
    from kalathi.cli.struct_options import make_options
    from kalathi.marketplace.shops.model import NewListing

    options = make_options(NewListing, flags=_FLAGS, optional=tuple(_NEEDED), leave_out=("shop_uid",))
    listing_set.params[1:1] = options
    return [listing_list, listing_set]


listing = click.Group(
    "listing",
    commands=LazyCommands(_commands),
    short_help="A shop's listings: list, add, change.",
    help="""The products that a shop offers in a running marketplace: list them, add one, change one.

    \b
    kalathi listing list
    kalathi listing set MEM-64 --name "USB Stick 64GB" --price 10.40 --quantity 5
    """,
)
