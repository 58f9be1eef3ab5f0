"""Hand-overs: the changes of orders and returns that the shop's own system receives."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from kalathi.merchant.inbox.subjects import Subject


class Handover(NamedTuple):
    """A change for the shop's own system."""

    id: int
    code: str
    body: bytes
    tries: int


class Handovers:
    """The queue of hand-overs in the merchant's file."""

    def __init__(self, connection: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._connection = connection
        self._transaction = transaction

    def queue(self, kind: Subject, code: str, body: bytes) -> bool:
        """Queue a hand-over to the shop's own system, unless it repeats the last one."""
        digest = hashlib.sha256(body).digest()
        with self._transaction():
            changed = self._connection.execute(
                "UPDATE looks SET handed = ? WHERE kind = ? AND code = ? AND handed IS NOT ?",
                (digest, kind, code, digest),
            ).rowcount
            if changed:
                self._connection.execute(
                    "INSERT INTO handovers (code, body, tries, not_before) VALUES (?, ?, 0, 0)", (code, body)
                )
        return bool(changed)

    def due(self, now: float) -> list[Handover]:
        """The due hand-overs, the oldest of each code."""
        rows = self._connection.execute(
            "SELECT h.id, h.code, h.body, h.tries FROM handovers h WHERE h.not_before <= ?"
            " AND NOT EXISTS (SELECT 1 FROM handovers e WHERE e.code = h.code AND e.id < h.id) ORDER BY h.id LIMIT 100",
            (now,),
        )
        return [Handover(*row) for row in rows]

    def finish(self, handover: Handover) -> None:
        """Remove a hand-over that succeeded."""
        self._connection.execute("DELETE FROM handovers WHERE id = ?", (handover.id,))

    def postpone(self, handover: Handover, not_before: float, failure: str = "") -> None:
        """Store the failure of a hand-over and the time of the next attempt."""
        self._connection.execute(
            "UPDATE handovers SET tries = tries + 1, not_before = ?, failure = ? WHERE id = ?",
            (not_before, failure, handover.id),
        )
