"""The received events.

An event is on disk before it is answered. The wire gives events no id, so an event is known by the digest of its bytes:
a retry and a resend have the same ones. An event is only the reason to fetch its order or return, and many events of
one order lead to one fetch.
"""

import hashlib
import sqlite3
from enum import StrEnum
from typing import NamedTuple


class EventState(StrEnum):
    """The states of an event in the inbox."""

    NEW = "new"
    DONE = "done"
    ASIDE = "aside"  # it cannot be read, and waits for a person


class InboxEvent(NamedTuple):
    """An event as it came. `is_verified`: its signature or its source shows that the marketplace has sent it."""

    id: int
    body: bytes
    is_verified: bool


class Events:
    """The events of the merchant's file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, body: bytes, received_at: float = 0.0, *, is_verified: bool = False) -> bool:
        """Return when the event is on disk; False if the same event is there already and no person waits for it.

        A resend after a problem was solved plans the order anew that waited for a person. `received_at`
        is in seconds since 1970; `is_verified` is of InboxEvent.
        """
        cursor = self._connection.execute(
            "INSERT INTO events (digest, body, received_at, state, note, is_verified) VALUES (?, ?, ?, 'new', '', ?)"
            " ON CONFLICT (digest)"
            " DO UPDATE SET state = 'new', note = '' WHERE state = 'aside' OR EXISTS (SELECT 1 FROM looks"
            " WHERE looks.state = 'person' AND looks.kind || ' ' || looks.code = events.note)",
            (hashlib.sha256(body).digest(), body, received_at, is_verified),
        )
        return cursor.rowcount == 1

    def unread(self) -> list[InboxEvent]:
        """The unread events, in the order of their arrival."""
        rows = self._connection.execute(
            "SELECT id, body, is_verified FROM events WHERE state = 'new' ORDER BY id LIMIT 100"
        )
        return [InboxEvent(number, body, bool(is_verified)) for number, body, is_verified in rows]

    def put_aside(self, event: InboxEvent, note: str) -> None:
        """Mark an event that cannot be read, so that a person looks at it."""
        self._connection.execute("UPDATE events SET state = 'aside', note = ? WHERE id = ?", (note, event.id))

    def newest(self, limit: int) -> list[tuple[float, EventState, str]]:
        """The newest events first: their time in seconds since 1970, and their order or return, or their problem."""
        rows = self._connection.execute(
            "SELECT received_at, state, note FROM events ORDER BY id DESC LIMIT ?", (limit,)
        )
        return [(at, EventState(state), note) for at, state, note in rows]

    def read_again(self) -> int:
        """Read unreadable events again; return their number."""
        return self._connection.execute("UPDATE events SET state = 'new', note = '' WHERE state = 'aside'").rowcount

    def settle_unreadable(self) -> int:
        """Mark the unreadable events as read, because a person has dealt with them. Return their number."""
        return self._connection.execute("UPDATE events SET state = 'done' WHERE state = 'aside'").rowcount

    def forget_read(self, keep: int) -> int:
        """Delete read events except for the newest; return their number. Their orders stay known."""
        cursor = self._connection.execute(
            "DELETE FROM events WHERE state = 'done' AND id <= (SELECT max(id) FROM events) - ?", (keep,)
        )
        return cursor.rowcount
