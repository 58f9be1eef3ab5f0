"""The printed vouchers: link, order, file and time."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple


class Printed(NamedTuple):
    """A printed voucher, on paper or in its folder. `path` is empty while the result of printing is unknown;
    `printed_at` is in seconds since 1970."""

    url: str
    code: str
    path: str
    printed_at: float


class PrintedVouchers:
    """The printed vouchers of the merchant's file."""

    def __init__(self, connection: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._connection = connection
        self._transaction = transaction

    def find_printed(self, url: str) -> Printed | None:
        """Return the record of the voucher with this link, or None."""
        row = self._connection.execute("SELECT * FROM printed WHERE url = ?", (url,)).fetchone()
        return Printed(*row) if row else None

    def list_printed(self, start: float, end: float) -> list[Printed]:
        """Return the vouchers printed from `start` to before `end` (seconds since 1970), the oldest first."""
        rows = self._connection.execute(
            "SELECT * FROM printed WHERE printed_at >= ? AND printed_at < ? AND path <> '' ORDER BY printed_at, code",
            (start, end),
        )
        return [Printed(*row) for row in rows]

    def mark_printed(self, url: str, code: str, path: str, printed_at: float = 0.0) -> None:
        """Record that a voucher is printed, so that it is not printed again. It replaces earlier vouchers of its order.
        With an empty path, record that printing begins now."""
        with self._transaction():
            if path:
                self._connection.execute("DELETE FROM printed WHERE code = ? AND url <> ?", (code, url))
            row = (url, code, path, printed_at)
            self._connection.execute("INSERT OR REPLACE INTO printed VALUES (?, ?, ?, ?)", row)

    def forget_printing(self, url: str) -> None:
        """Delete the record of a printing that has begun and failed."""
        self._connection.execute("DELETE FROM printed WHERE url = ? AND path = ''", (url,))

    def was_printed(self, code: str) -> bool:
        """Whether a voucher of this order was printed before."""
        return self._connection.execute("SELECT 1 FROM printed WHERE code = ?", (code,)).fetchone() is not None

    def unmark_printed(self, code: str) -> int:
        """Delete the records of the order's vouchers, so that they are printed again. Return their number."""
        return self._connection.execute("DELETE FROM printed WHERE code = ?", (code,)).rowcount
