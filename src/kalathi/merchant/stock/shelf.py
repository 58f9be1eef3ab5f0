"""The shelf: the content of a stock source at one moment, and the interface of a source.

A product is counted, unreadable or unknown. It is unreadable if the source names it without a usable number, and
unknown if the source does not name it. The difference matters: an unreadable size must not be sold under its product's
number.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal, Protocol

import structlog
from msgspec import Struct, field

from kalathi.merchant.stock.quantities import DecimalSign, UnreadableNumberError, read_price, read_quantity

_log = structlog.get_logger("kalathi.merchant")

# If a product is in a source many times, the message names only this many places.
_PLACES_NAMED: Final = 5
_PLURALS: Final = {"line": "lines", "row": "rows", "entry": "entries"}
_LOGGED: Final = 5


class StockError(Exception):
    """The source cannot be read at the moment; the sentence says where and why."""


class StockSetupError(StockError):
    """The source cannot be read until the shop changes something, such as a column's name or a setting."""


class Shelf(Struct, frozen=True):
    """The content of a source at one moment, by shop_uid. Unreadable products have a reason and a place."""

    pieces: dict[str, int] = field(default_factory=dict)
    # In euros, for the products with a price in the source.
    prices: dict[str, Decimal] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    unreadable_prices: dict[str, str] = field(default_factory=dict)
    # The product of each variation, for the sources that name it. A product's own number is that of its variations.
    products: dict[str, str] = field(default_factory=dict)

    def names(self, shop_uid: str) -> bool:
        """Whether the source names this product, readable or not."""
        return shop_uid in self.pieces or shop_uid in self.unreadable

    def has_price(self, shop_uid: str) -> bool:
        """Whether the source gives a price of this product, readable or not."""
        return shop_uid in self.prices or shop_uid in self.unreadable_prices

    def is_empty(self) -> bool:
        """Whether the source names no product at all."""
        return not (self.pieces or self.unreadable)

    def uid_of(self, uids: Sequence[str]) -> str | None:
        """Return the first of these uids that the source names: a size, then a variation, then the product."""
        return next((uid for uid in uids if self.names(uid)), None)


class Stock(Protocol):
    """A source of stock."""

    # Whether the shop can dispatch these pieces itself.
    sends_itself: bool
    # Whether the source counts dispatched pieces for some time, as a file does.
    lags: bool
    # The pause between two readings that look for changes.
    poll_seconds: float

    async def read(self) -> Shelf:
        """Return the shelf, which may be a few seconds old. Raises StockError, and of the warehouse CallError."""
        ...

    async def refresh(self) -> Shelf:
        """Return the shelf, read after this call. Raises what `read` raises."""
        ...


def clean_uid(uid: str) -> str:
    """Return the uid without characters that neither JSON in UTF-8 nor a database can have."""
    return uid.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


class ShelfBuilder:
    """Collect a source's rows. An unreadable row makes only its own product unreadable."""

    def __init__(
        self, source: str, decimal_sign: DecimalSign | None, place: Literal["line", "row", "entry"] = "line"
    ) -> None:
        """`source` and `place` are for the reasons: `stock.csv, line 7`."""
        self._source = source
        self._decimal_sign = decimal_sign
        self._place = place
        self._shelf = Shelf()
        self._places: dict[str, int] = {}
        self._repeated: dict[str, list[int]] = {}
        self._nameless: list[int] = []
        self._shifted: dict[str, str] = {}

    def add(self, shop_uid: str, quantity: object, price: object, number: int, product_uid: str = "") -> None:
        """Add a row. `number` is the number of its line, row or entry. `product_uid` is the product of a variation."""
        if clean_uid(shop_uid) != shop_uid or clean_uid(product_uid) != product_uid:
            self.add_unreadable(shop_uid, number, "its uid has a character that no order can have", product_uid)
            return
        if not self._is_first(shop_uid, number):
            return
        if product_uid and product_uid != shop_uid:
            self._shelf.products[shop_uid] = product_uid
        try:
            self._shelf.pieces[shop_uid] = read_quantity(quantity, self._decimal_sign)
        except UnreadableNumberError as error:
            self._shelf.unreadable[shop_uid] = self._reason(number, str(error))
        try:
            read = read_price(price, self._decimal_sign)
        except UnreadableNumberError as error:
            self._shelf.unreadable_prices[shop_uid] = self._reason(number, str(error))
        else:
            if read is not None:
                self._shelf.prices[shop_uid] = read

    def add_unreadable(self, shop_uid: str, number: int, reason: str, product_uid: str = "") -> None:
        """Add a row with nothing but a trustworthy uid, and that of its product if it is known."""
        shop_uid, product_uid = clean_uid(shop_uid), clean_uid(product_uid)
        if self._is_first(shop_uid, number):
            self._shelf.unreadable[shop_uid] = self._reason(number, reason)
            if product_uid and product_uid != shop_uid:
                self._shelf.products[shop_uid] = product_uid

    def add_shifted(self, cells: Sequence[str], number: int, reason: str) -> None:
        """Add a row with too many or too few cells. Any cell could be its uid, so make the product of each cell
        unreadable, unless the product has a row of its own."""
        for cell in dict.fromkeys(cell.strip() for cell in cells):
            if cell:
                self._shifted.setdefault(cell, self._reason(number, reason))

    def shelf(self) -> Shelf:
        """Return the shelf of all rows."""
        for shop_uid, reason in self._shifted.items():
            # A product's own row takes precedence, because a shifted cell is often a plain word or number.
            if shop_uid not in self._shelf.pieces:
                self._shelf.unreadable.setdefault(shop_uid, reason)
        for shop_uid, numbers in self._repeated.items():
            self._shelf.pieces.pop(shop_uid, None)
            self._shelf.prices.pop(shop_uid, None)
            self._shelf.unreadable_prices.pop(shop_uid, None)
            named = ", ".join(str(number) for number in numbers[:_PLACES_NAMED])
            more = ", ..." if len(numbers) > _PLACES_NAMED else ""
            self._shelf.unreadable[shop_uid] = f"{self._source}: it stands on {_PLURALS[self._place]} {named}{more}"
        faults = [*self._shelf.unreadable.items(), *self._shelf.unreadable_prices.items()]
        if faults:
            first = [f"{shop_uid[:40]}: {reason}" for shop_uid, reason in faults[:_LOGGED]]
            _log.warning("stock_rows_not_read", source=self._source, count=len(faults), first=first)
        if self._nameless:
            first_rows = self._nameless[:_PLACES_NAMED]
            _log.warning("stock_rows_without_uid", source=self._source, count=len(self._nameless), first=first_rows)
        return self._shelf

    def _is_first(self, shop_uid: str, number: int) -> bool:
        if not shop_uid:
            self._nameless.append(number)
            return False
        first = self._places.setdefault(shop_uid, number)
        if first == number:
            return True
        self._repeated.setdefault(shop_uid, [first]).append(number)
        return False

    def _reason(self, number: int, reason: str) -> str:
        return f"{self._source}, {self._place} {number}: {reason}"
