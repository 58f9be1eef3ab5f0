"""The vouchers that were printed: which, when, and into which file."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple


class Printed(NamedTuple):
    """A voucher on paper, or in its folder. Its path is empty as long as the result of the printing is unknown;
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
        """The known facts of the voucher behind this link."""
        row = self._connection.execute("SELECT * FROM printed WHERE url = ?", (url,)).fetchone()
        return Printed(*row) if row else None

    def list_printed(self, start: float, end: float) -> list[Printed]:
        """The vouchers of this time, seconds since 1970, in their order."""
        rows = self._connection.execute(
            "SELECT * FROM printed WHERE printed_at >= ? AND printed_at < ? AND path <> '' ORDER BY printed_at, code",
            (start, end),
        )
        return [Printed(*row) for row in rows]

    def mark_printed(self, url: str, code: str, path: str, printed_at: float = 0.0) -> None:
        """This voucher is printed and is not printed again, and takes the place of an earlier one of its order; or,
        without a path, its printing begins now."""
        with self._transaction():
            if path:
                self._connection.execute("DELETE FROM printed WHERE code = ? AND url <> ?", (code, url))
            row = (url, code, path, printed_at)
            self._connection.execute("INSERT OR REPLACE INTO printed VALUES (?, ?, ?, ?)", row)

    def forget_printing(self, url: str) -> None:
        """Its printing has begun and failed."""
        self._connection.execute("DELETE FROM printed WHERE url = ? AND path = ''", (url,))

    def was_printed(self, code: str) -> bool:
        """Whether a voucher of this order was printed before."""
        return self._connection.execute("SELECT 1 FROM printed WHERE code = ?", (code,)).fetchone() is not None

    def unmark_printed(self, code: str) -> int:
        """The order's vouchers are to be printed again; gives how many there are."""
        return self._connection.execute("DELETE FROM printed WHERE code = ?", (code,)).rowcount
