"""The durable inbox: what the marketplace has sent is on disk before it is answered, and handled from there.

The wire gives events no id, so an event is known by the digest of its bytes: a retry and a resend carry the same ones.
"""

import contextlib
import fcntl
import hashlib
import sqlite3
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO, Final, NamedTuple

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL, state TEXT NOT NULL, note TEXT NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS events_new ON events (not_before) WHERE state = 'new';
CREATE TABLE IF NOT EXISTS reservations (
  code TEXT NOT NULL, shop_uid TEXT NOT NULL, quantity INTEGER NOT NULL, PRIMARY KEY (code, shop_uid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS printed (url TEXT PRIMARY KEY, code TEXT NOT NULL, path TEXT NOT NULL) WITHOUT ROWID;
"""


class InboxInUseError(Exception):
    """Another connector works on this inbox; two would answer every order twice."""


class EventState(StrEnum):
    """What has become of an event."""

    NEW = "new"
    DONE = "done"
    ASIDE = "aside"  # it waits for a person, with a note that says why


class InboxEvent(NamedTuple):
    """An event as it came, and how often it was tried in vain."""

    id: int
    body: bytes
    tries: int


class Inbox:
    """One SQLite file of the merchant: events, and what has been reserved and printed because of them."""

    def __init__(self, path: Path) -> None:
        """Raises InboxInUseError when another connector works on this file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(path.with_name(path.name + ".lock"))
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()
        self._lock.close()

    def put(self, body: bytes) -> bool:
        """On disk when this returns; False when the very same event is there already.

        An event that was put aside is new again: somebody has pressed "resend" after mending what was wrong.
        """
        cursor = self._connection.execute(
            "INSERT INTO events (digest, body, state, note) VALUES (?, ?, 'new', '') ON CONFLICT (digest)"
            " DO UPDATE SET state = 'new', note = '', tries = 0, not_before = 0 WHERE state = 'aside'",
            (hashlib.sha256(body).digest(), body),
        )
        return cursor.rowcount == 1

    def pending(self, now: float) -> list[InboxEvent]:
        """What has not been handled and does not wait for its next try, in the order in which it came."""
        rows = self._connection.execute(
            "SELECT id, body, tries FROM events WHERE state = 'new' AND not_before <= ? ORDER BY id LIMIT 100", (now,)
        )
        return [InboxEvent(*row) for row in rows]

    def next_at(self) -> float | None:
        """When the next postponed event is to be tried, in seconds; None when nothing waits."""
        row = self._connection.execute("SELECT min(not_before) FROM events WHERE state = 'new'").fetchone()
        return None if row is None else row[0]

    def postpone(self, event: InboxEvent, not_before: float) -> None:
        """The event was tried in vain and waits until then."""
        self._connection.execute(
            "UPDATE events SET tries = tries + 1, not_before = ? WHERE id = ?", (not_before, event.id)
        )

    def finish(self, event: InboxEvent, state: EventState, note: str = "") -> None:
        """The event is handled, or put aside for a person."""
        self._connection.execute("UPDATE events SET state = ?, note = ? WHERE id = ?", (state, note, event.id))

    def settle(self, beginning: str) -> None:
        """Nobody has to look any more at what was put aside with a note that begins so."""
        self._connection.execute(
            "UPDATE events SET state = 'done', note = '' WHERE state = 'aside' AND substr(note, 1, ?) = ?",
            (len(beginning), beginning),
        )

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


def _lock(path: Path) -> IO[str]:
    handle = path.open("w", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise InboxInUseError(f"Another connector works on this inbox ({path} is locked). Stop it first.") from None
    return handle
