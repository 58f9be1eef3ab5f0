"""Stock from a CSV file with the columns shop_uid and quantity: the pieces that lie on the shelf.

Pieces of accepted orders still lie there until the courier takes them, so they are subtracted here; once an order has
been dispatched they no longer are, and the file is expected to count without them.
"""

import csv
from pathlib import Path

from kalathi.merchant.inbox import Inbox


class StockError(Exception):
    """The file cannot be read; the sentence says where."""


class CsvStock:
    """Reads the file again when it has changed."""

    def __init__(self, path: Path, inbox: Inbox) -> None:
        self._path = path
        self._inbox = inbox
        self._read_at: tuple[int, int] | None = None
        self._shelf: dict[str, int] = {}

    def available(self) -> dict[str, int]:
        """Free pieces by shop_uid. Raises StockError."""
        self._refresh()
        reserved = self._inbox.reserved_pieces()
        return {shop_uid: quantity - reserved.get(shop_uid, 0) for shop_uid, quantity in self._shelf.items()}

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
