"""The listings of a shop as CSV, pure.

The file is written with semicolons, decimal commas and a byte order mark, so that Excel with Greek settings opens it.
It is read with commas, semicolons or tabs, and with a comma or a point before the decimals.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Protocol

from msgspec import UNSET

from kalathi.contract.products import ProductUpdate, VariationUpdate
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.spreadsheets import escape_formula, unescape_formula
from kalathi.marketplace.products.refusals import BadListingLine, BadListingsFile
from kalathi.marketplace.shops.store import ListingInStock, VariationsByListing

COLUMNS: Final = ("shop_uid", "variation_id", "product_name", "price", "quantity", "enabled")
_NEEDED: Final = ("shop_uid", "price", "quantity")
_SEPARATORS: Final = (";", "\t", ",")
_PRICE: Final = re.compile(r"([0-9]{1,8})(?:[.,]([0-9]{1,2}))?")
_QUANTITY: Final = re.compile(r"[0-9]{1,7}")
_SWITCHES: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("", "1", "yes", "true", "ναι"), True),
    **dict.fromkeys(("0", "no", "false", "όχι"), False),
}


class _Reader(Protocol):
    """The type of `csv.reader`'s result."""

    line_num: int

    def __next__(self) -> list[str]: ...


class _Row(NamedTuple):
    product_id: str
    variation_id: str
    price: int
    quantity: int
    enabled: bool


def render_listings(listings: Iterable[ListingInStock], variations: VariationsByListing) -> bytes:
    """Return the listings, each followed by its variations."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for listing, quantity in listings:
        price, name = _show_price(int(listing.unit_price * 100)), escape_formula(listing.product_name)
        writer.writerow((escape_formula(listing.shop_uid), "", name, price, quantity, int(listing.enabled)))
        for variation, pieces in variations.get(listing.shop_uid, {}).values():
            price = _show_price(int(variation.unit_price * 100))
            uid, own = escape_formula(listing.shop_uid), escape_formula(variation.variation_id)
            writer.writerow((uid, own, name, price, pieces, int(variation.enabled)))
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def read_listings(content: bytes) -> list[ProductUpdate]:
    """Return the products of a file, with their variations. Raises INVALID_PARAMETER for a file without the needed
    columns, and for the first line that cannot be read."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise refuse(BadListingsFile()) from None
    lines = text.splitlines()
    separator = next((sign for sign in _SEPARATORS if lines and sign in lines[0]), ";")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = [name.strip().lower() for name in next(rows, [])]
    except csv.Error:
        raise refuse(BadListingsFile()) from None
    if not set(_NEEDED) <= set(names):
        raise refuse(BadListingsFile())
    products: dict[str, ProductUpdate] = {}
    variations: dict[str, list[VariationUpdate]] = {}
    for number, row in _read_rows(rows, names):
        if row is None:
            raise refuse(BadListingLine(number))
        if not row.variation_id:
            products[row.product_id] = ProductUpdate(
                product_id=row.product_id, quantity=row.quantity, enabled=row.enabled, price=row.price
            )
            continue
        own = VariationUpdate(
            variation_id=row.variation_id, quantity=row.quantity, enabled=row.enabled, price=row.price
        )
        variations.setdefault(row.product_id, []).append(own)
        if row.product_id not in products:
            raise refuse(BadListingLine(number))
    return [
        ProductUpdate(
            product_id=product.product_id,
            quantity=product.quantity,
            enabled=product.enabled,
            price=product.price,
            variations=variations.get(product.product_id, UNSET),
        )
        for product in products.values()
    ]


def _read_rows(rows: _Reader, names: list[str]) -> Iterator[tuple[int, _Row | None]]:
    """Yield the line number of each row, and the row, or None if it cannot be read. Blank lines are left out."""
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:  # A cell is too long, for example after a quote that is not closed.
            yield rows.line_num, None
            return
        if not any(cell.strip() for cell in cells):
            continue
        row = {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
        price = _PRICE.fullmatch(row.get("price", ""))
        switch = _SWITCHES.get(row.get("enabled", "").lower())
        is_whole = price is not None and _QUANTITY.fullmatch(row.get("quantity", "")) and row.get("shop_uid")
        if not is_whole or price is None or switch is None:
            yield rows.line_num, None
            continue
        cents = int(price[1]) * 100 + int((price[2] or "0").ljust(2, "0"))
        uid, variation_id = unescape_formula(row["shop_uid"]), unescape_formula(row.get("variation_id", ""))
        yield rows.line_num, _Row(uid, variation_id, cents, int(row["quantity"]), switch)


def _show_price(cents: int) -> str:
    return f"{cents // 100},{cents % 100:02}"
