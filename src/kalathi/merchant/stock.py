"""Where the number of free pieces comes from: a CSV file with the columns shop_uid and quantity, which is what lies on
the shelf, or the marketplace's own warehouse.

Pieces of accepted orders still lie there until the courier takes them, so they are subtracted here; once an order has
been dispatched they no longer are, and the source is expected to count without them.
"""

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from kalathi.merchant.client import AsyncClient
from kalathi.merchant.inbox import Inbox

# The warehouse is asked again after so many seconds: a burst of orders asks once.
_AGAIN_SECONDS: Final = 5.0


class StockError(Exception):
    """The source cannot be read; the sentence says where."""


class Stock(Protocol):
    """A source of stock; `sends_itself` is whether the shop can send what lies there."""

    sends_itself: bool

    async def available(self) -> dict[str, int]:
        """Free pieces by shop_uid. Raises StockError, and of the warehouse what its client raises."""
        ...


class CsvStock:
    """Reads the file again when it has changed."""

    sends_itself = True

    def __init__(self, path: Path, inbox: Inbox) -> None:
        self._path = path
        self._inbox = inbox
        self._read_at: tuple[int, int] | None = None
        self._shelf: dict[str, int] = {}

    async def available(self) -> dict[str, int]:
        """Free pieces by shop_uid. Raises StockError."""
        self._refresh()
        return _free(self._shelf, self._inbox)

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._read_at:
                self._shelf = _read(self._path)
                self._read_at = stamp
        except OSError as error:
            raise StockError(f"{self._path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise StockError(f"{self._path}: the file must be saved as UTF-8") from error
        except csv.Error as error:
            raise StockError(f"{self._path}: {error}") from error


class WarehouseStock:
    """What lies in the marketplace's warehouse (contract, section 9), for a shop that has no shelf of its own. Orders
    of what lies there whole never come to the shop: of the others it tells what is missing."""

    sends_itself = False

    def __init__(self, client: AsyncClient, inbox: Inbox, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._client = client
        self._inbox = inbox
        self._clock = clock
        self._asked_at: float | None = None
        self._shelf: dict[str, int] = {}

    async def available(self) -> dict[str, int]:
        """Free pieces by shop_uid. Raises MarketplaceError, UnreachableError."""
        now = self._clock()
        if self._asked_at is None or now >= self._asked_at + _AGAIN_SECONDS:
            self._shelf = {product.shop_uid: product.quantity async for product in self._client.all_products()}
            self._asked_at = now
        return _free(self._shelf, self._inbox)


def _free(shelf: dict[str, int], inbox: Inbox) -> dict[str, int]:
    reserved = inbox.reserved_pieces()
    return {shop_uid: quantity - reserved.get(shop_uid, 0) for shop_uid, quantity in shelf.items()}


def _read(path: Path) -> dict[str, int]:
    shelf: dict[str, int] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"shop_uid", "quantity"} <= set(rows.fieldnames or ()):
            raise StockError(f"{path}: the first line must name the columns shop_uid and quantity")
        for row in rows:
            quantity = (row["quantity"] or "").strip()
            if not quantity.isdecimal():
                raise StockError(f"{path}, line {rows.line_num}: {quantity!r} is not a quantity")
            shop_uid = (row["shop_uid"] or "").strip()
            if shop_uid in shelf:
                raise StockError(f"{path}, line {rows.line_num}: {shop_uid} stands there twice")
            shelf[shop_uid] = int(quantity)
    return shelf
