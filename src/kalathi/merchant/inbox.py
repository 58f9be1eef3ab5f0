"""The durable inbox: what the marketplace has sent is on disk before it is answered, and handled from there.

The wire gives events no id, so an event is known by the digest of its bytes: a retry and a resend carry the same ones.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL, state TEXT NOT NULL, note TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_new ON events (id) WHERE state = 'new';
CREATE TABLE IF NOT EXISTS reservations (
  code TEXT NOT NULL, shop_uid TEXT NOT NULL, quantity INTEGER NOT NULL, PRIMARY KEY (code, shop_uid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS printed (url TEXT PRIMARY KEY, code TEXT NOT NULL, path TEXT NOT NULL) WITHOUT ROWID;
"""


class EventState(StrEnum):
    """What has become of an event."""

    NEW = "new"
    DONE = "done"
    ASIDE = "aside"  # it waits for a person, with a note that says why


class InboxEvent(NamedTuple):
    """An event as it came."""

    id: int
    body: bytes


class Inbox:
    """One SQLite file of the merchant: events, and what has been reserved and printed because of them."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def put(self, body: bytes) -> bool:
        """On disk when this returns; False when the very same event is there already."""
        cursor = self._connection.execute(
            "INSERT INTO events (digest, body, state, note) VALUES (?, ?, ?, '') ON CONFLICT (digest) DO NOTHING",
            (hashlib.sha256(body).digest(), body, EventState.NEW),
        )
        return cursor.rowcount == 1

    def pending(self) -> list[InboxEvent]:
        """What has not been handled, in the order in which it came."""
        rows = self._connection.execute("SELECT id, body FROM events WHERE state = 'new' ORDER BY id LIMIT 100")
        return [InboxEvent(*row) for row in rows]

    def finish(self, event: InboxEvent, state: EventState, note: str = "") -> None:
        """The event is handled, or put aside for a person."""
        self._connection.execute("UPDATE events SET state = ?, note = ? WHERE id = ?", (state, note, event.id))

    def aside(self) -> list[tuple[bytes, str]]:
        """What waits for a person: body and note."""
        return self._connection.execute("SELECT body, note FROM events WHERE state = 'aside' ORDER BY id").fetchall()

    def reserve(self, code: str, quantities: dict[str, int]) -> None:
        """The pieces of an order are spoken for. Again for the same order changes nothing."""
        rows = [(code, shop_uid, quantity) for shop_uid, quantity in quantities.items()]
        with self._transaction():
            self._connection.executemany("INSERT OR IGNORE INTO reservations VALUES (?, ?, ?)", rows)

    def release(self, code: str) -> None:
        """The pieces of an order are free again, or have left the shelf with it."""
        self._connection.execute("DELETE FROM reservations WHERE code = ?", (code,))

    def reserved(self, code: str) -> dict[str, int]:
        """The pieces that this order holds."""
        return dict(self._connection.execute("SELECT shop_uid, quantity FROM reservations WHERE code = ?", (code,)))

    def reserved_pieces(self) -> dict[str, int]:
        """How many pieces of each product are spoken for, over all orders."""
        return dict(self._connection.execute("SELECT shop_uid, sum(quantity) FROM reservations GROUP BY shop_uid"))

    def printed_path(self, url: str) -> str | None:
        """Where the voucher behind this link was printed to, or None."""
        row = self._connection.execute("SELECT path FROM printed WHERE url = ?", (url,)).fetchone()
        return row[0] if row else None

    def mark_printed(self, url: str, code: str, path: str) -> None:
        """This voucher is printed; it is not printed again."""
        self._connection.execute("INSERT OR IGNORE INTO printed VALUES (?, ?, ?)", (url, code, path))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
