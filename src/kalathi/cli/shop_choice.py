"""The shop of a command: that of --shop, or else the only shop of the marketplace."""

from typing import Final

import click

from kalathi.cli.completing import complete_shops
from kalathi.cli.operating import Market, fail, operate

shop_option: Final = click.option(
    "--shop",
    "shop_id",
    default="",
    help="The shop's id; optional if there is only one shop.",
    shell_complete=complete_shops,
)


def find_only_shop(market: Market) -> str:
    """Return the id of the only shop. End with a message if there are several or none."""
    shops = operate(*market, lambda operator: operator.shops())
    if not shops:
        fail("there is no shop yet. Add one: kalathi shop add --help")
    if len(shops) != 1:
        fail(f"there are {len(shops)} shops: name one with --shop (kalathi shop list).")
    return str(shops[0]["id"])
