"""The last fetched state of each order and return, its deadline, and the warnings about the deadline."""

import hashlib
import sqlite3
from enum import StrEnum
from typing import Final, NamedTuple

from kalathi.contract.words import OrderState

# States of an order after its pickup by the courier.
HAS_LEFT: Final = frozenset(
    {
        OrderState.DISPATCHED,
        OrderState.DELIVERED,
        OrderState.PARTIALLY_DELIVERED,
        OrderState.FOR_RETURN,
        OrderState.PARTIALLY_RETURNED,
        OrderState.RETURNED,
    }
)


class Subject(StrEnum):
    """The subject of events: an order or a return."""

    ORDER = "order"
    RETURN = "return"


class Known(NamedTuple):
    """A known order or return: the state of its job, its last fetched state (`seen`), its deadline (seconds since
    1970), and the reason to wait for a person, if there is one."""

    kind: Subject
    code: str
    state: str
    seen: str
    answer_until: float | None
    note: str


class Subjects:
    """The orders and returns of the merchant's file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def note_state(self, kind: Subject, code: str, seen: str, answer_until: float | None) -> None:
        """Record the fetched state and deadline (seconds since 1970). If the deadline changed, a person is warned
        again."""
        has_left = kind is Subject.ORDER and seen in HAS_LEFT
        self._connection.execute(
            "UPDATE looks SET seen = ?1, answer_until = ?2, warned = warned AND answer_until IS ?2,"
            " has_left = has_left OR ?3 WHERE kind = ?4 AND code = ?5",
            (seen, answer_until, has_left, kind, code),
        )

    def was_fetched(self, kind: Subject, code: str) -> bool:
        """Whether a fetch of this order or return ever succeeded."""
        return self.last_seen(kind, code) != ""

    def last_seen(self, kind: Subject, code: str) -> str:
        """Return the last fetched state of an order or return; empty if it was never fetched."""
        row = self._connection.execute("SELECT seen FROM looks WHERE kind = ? AND code = ?", (kind, code)).fetchone()
        return "" if row is None else str(row[0])

    def is_unchanged(
        self, kind: Subject, code: str, seen: str, answer_until: float | None, handed: bytes | None
    ) -> bool:
        """Whether the last fetch had this state and deadline. With `handed`, also whether this body was the last one
        queued for hand-over."""
        row = self._connection.execute(
            "SELECT handed FROM looks WHERE kind = ? AND code = ? AND seen = ? AND answer_until IS ?",
            (kind, code, seen, answer_until),
        ).fetchone()
        return row is not None and (handed is None or row[0] == hashlib.sha256(handed).digest())

    def note_left(self, code: str) -> None:
        """Mark an order as dispatched, permanently: a later cancellation does not put its pieces back on the shelf. The
        order must already have a row."""
        self._connection.execute("UPDATE looks SET has_left = 1 WHERE kind = 'order' AND code = ?", (code,))

    def has_left(self, code: str) -> bool:
        """Whether the courier ever picked this order up, according to the fetched states and verified events."""
        row = self._connection.execute("SELECT has_left FROM looks WHERE kind = 'order' AND code = ?", (code,))
        return bool((row.fetchone() or (0,))[0])

    def was_handed_over(self, code: str) -> bool:
        """Whether this order was handed over to the shop's own system, or is queued for it."""
        row = self._connection.execute("SELECT handed FROM looks WHERE kind = 'order' AND code = ?", (code,)).fetchone()
        return row is not None and row[0] is not None

    def in_state(self, seen: str) -> list[Known]:
        """Return every order and return that was last fetched in this state."""
        rows = self._connection.execute(
            "SELECT kind, code, state, seen, answer_until, note FROM looks WHERE seen = ? ORDER BY code", (seen,)
        )
        return [Known(Subject(kind), *rest) for kind, *rest in rows]

    def states(self, kind: Subject) -> dict[str, int]:
        """Count the orders, or returns, by their last fetched state. The key of those never fetched is empty."""
        return dict(self._connection.execute("SELECT seen, count(*) FROM looks WHERE kind = ? GROUP BY seen", (kind,)))

    def watch_deadline(self, code: str, answer_until: float | None) -> None:
        """Record the deadline (seconds since 1970) of an order with other, unreadable members."""
        self._connection.execute(
            "UPDATE looks SET warned = warned AND answer_until IS ?1, answer_until = ?1"
            " WHERE kind = 'order' AND code = ?2",
            (answer_until, code),
        )

    def drop_deadline(self, kind: Subject, code: str) -> None:
        """Delete the deadline from an event, because the marketplace does not know the code and the event may be
        forged. A successful fetch sets the deadline again."""
        self._connection.execute(
            "UPDATE looks SET answer_until = NULL WHERE kind = ? AND code = ? AND seen = ''", (kind, code)
        )

    def list_unanswered(self, limit: int) -> list[Known]:
        """The unanswered orders and returns, the most urgent first."""
        rows = self._connection.execute(
            "SELECT kind, code, state, seen, answer_until, note FROM looks WHERE answer_until IS NOT NULL"
            " ORDER BY answer_until, code LIMIT ?",
            (limit,),
        )
        return [Known(Subject(kind), *rest) for kind, *rest in rows]

    def next_deadline(self) -> float | None:
        """Return the nearest deadline, in seconds since 1970, or None if nothing waits for an answer."""
        row = self._connection.execute("SELECT min(answer_until) FROM looks WHERE answer_until IS NOT NULL").fetchone()
        return row[0] if row else None

    def list_unwarned(self, before: float, soon: float) -> list[Known]:
        """Return the orders with a deadline until `before` and without a warning. Until the first attempt to fetch a
        code, omit it unless its deadline is until `soon`, because its event may be forged. Times are in seconds since
        1970."""
        rows = self._connection.execute(
            "SELECT kind, code, state, seen, answer_until, note FROM looks WHERE warned = 0 AND answer_until <= ?"
            " AND (seen <> '' OR tries > 0 OR answer_until <= ?) ORDER BY answer_until LIMIT 100",
            (before, soon),
        ).fetchall()
        return [Known(Subject(kind), *rest) for kind, *rest in rows]

    def is_warned(self, known: Known) -> bool:
        """Whether this deadline was reported."""
        row = self._connection.execute(
            "SELECT warned FROM looks WHERE kind = ? AND code = ? AND answer_until IS ?",
            (known.kind, known.code, known.answer_until),
        ).fetchone()
        return row is not None and bool(row[0])

    def mark_warned(self, known: Known) -> None:
        """Record that a person was warned of this deadline."""
        self._connection.execute(
            "UPDATE looks SET warned = 1 WHERE kind = ? AND code = ? AND answer_until IS ?",
            (known.kind, known.code, known.answer_until),
        )
