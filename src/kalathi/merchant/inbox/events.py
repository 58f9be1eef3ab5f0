"""The received events.

The receiver writes an event to disk before it answers 200. Events have no id on the wire, so the inbox identifies an
event by the digest of its bytes, which are the same in a retry and a resend. An event only causes a fetch of its order
or return. Many events of one order cause one fetch.
"""

import hashlib
import sqlite3
from enum import StrEnum
from typing import NamedTuple


class EventState(StrEnum):
    """The states of an event in the inbox."""

    NEW = "new"
    DONE = "done"
    ASIDE = "aside"  # The event is unreadable and waits for a person.


class InboxEvent(NamedTuple):
    """An event as received. `is_verified`: its signature or its source address proves that the marketplace sent it."""

    id: int
    body: bytes
    is_verified: bool


class Events:
    """The events of the merchant's file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, body: bytes, received_at: float = 0.0, *, is_verified: bool = False) -> bool:
        """Write the event to disk. Return whether it is to be processed: False for a duplicate.

        A duplicate is processed again if the event was unreadable, or if its order or return waits for a person. So a
        resend helps after the problem is solved. `received_at` is in seconds since 1970.
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
        """Mark an unreadable event, so that it waits for a person. `note` is the reason."""
        self._connection.execute("UPDATE events SET state = 'aside', note = ? WHERE id = ?", (note, event.id))

    def newest(self, limit: int) -> list[tuple[float, EventState, str]]:
        """Return the newest events, the newest first: time in seconds since 1970, state, and order, return or
        problem."""
        rows = self._connection.execute(
            "SELECT received_at, state, note FROM events ORDER BY id DESC LIMIT ?", (limit,)
        )
        return [(at, EventState(state), note) for at, state, note in rows]

    def read_again(self) -> int:
        """Mark the unreadable events as new, so that they are read again. Return their number."""
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
