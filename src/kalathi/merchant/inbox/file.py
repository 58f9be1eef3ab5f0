"""The merchant's one file: received events, the orders and returns to look at, reservations, printed labels and
hand-overs. Every step is a row, so that a killed process continues where it was.

An event is on disk before it is answered. The wire gives events no id, so an event is known by the digest of its bytes:
a retry and a resend have the same ones. An event is only the reason to look at its order or return, and many events of
one order lead to one look.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from kalathi.merchant.inbox_rows import (
    HAS_LEFT,
    EventState,
    Handover,
    InboxEvent,
    Known,
    Look,
    Subject,
)
from kalathi.merchant.inbox_tables import lock, prepare
from kalathi.merchant.notices import Notices
from kalathi.merchant.printed import PrintedVouchers
from kalathi.merchant.reservations import Reservations
from kalathi.private_files import make_private_folder

# The failure of a code that the marketplace does not know.
UNKNOWN_CODE: Final = "the marketplace does not know this code"


class Inbox:
    """One SQLite file of the merchant."""

    def __init__(self, path: Path, *, beside: bool = False) -> None:
        """`beside` is for a process that reads, requests something or receives webhooks while the connector works on
        this file; then single calls may come from any thread. Raises InboxInUseError if another connector works on it,
        and InboxVersionError."""
        self._lock: IO[str] | None = None
        make_private_folder(path.parent)
        if not beside:
            self._lock = lock(path.with_name(path.name + ".lock"))
        path.touch(mode=0o600, exist_ok=True)  # It holds customers' addresses.
        # The connector's transactions have several statements, between which no other thread may come.
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=not beside)
        self.reservations = Reservations(self._connection, self._transaction)
        self.notices = Notices(self._connection)
        self.vouchers = PrintedVouchers(self._connection, self._transaction)
        try:
            prepare(self._connection, path, may_upgrade=not beside)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    # Events

    def put(self, body: bytes, received_at: float = 0.0, *, is_verified: bool = False) -> bool:
        """Return when the event is on disk; False if the same event is there already and no person waits for it.

        A resend after a problem was solved is a new reason to look at an order that waited for a person. `received_at`
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

    def last_events(self, limit: int) -> list[tuple[float, EventState, str]]:
        """The newest events first: their time in seconds since 1970, and their order or return, or their problem."""
        rows = self._connection.execute(
            "SELECT received_at, state, note FROM events ORDER BY id DESC LIMIT ?", (limit,)
        )
        return [(at, EventState(state), note) for at, state, note in rows]

    def look_again_at_events(self) -> int:
        """Read unreadable events again; return their number."""
        return self._connection.execute("UPDATE events SET state = 'new', note = '' WHERE state = 'aside'").rowcount

    def new_events(self) -> list[InboxEvent]:
        """The unread events, in the order of their arrival."""
        rows = self._connection.execute(
            "SELECT id, body, is_verified FROM events WHERE state = 'new' ORDER BY id LIMIT 100"
        )
        return [InboxEvent(number, body, bool(is_verified)) for number, body, is_verified in rows]

    def take(self, event: InboxEvent, kind: Subject, code: str, answer_until: float | None = None) -> None:
        """Mark the event as read and plan to fetch its order or return. Until the first fetch succeeds, the event's own
        deadline is watched (seconds since 1970)."""
        with self._transaction():
            self._connection.execute(
                "UPDATE events SET state = 'done', note = ? WHERE id = ?", (f"{kind} {code}", event.id)
            )
            self._want(kind, code)
            self._connection.execute(
                "UPDATE looks SET answer_until = ? WHERE kind = ? AND code = ? AND seen = ''",
                (answer_until, kind, code),
            )

    def put_aside(self, event: InboxEvent, note: str) -> None:
        """The event cannot be read; a person has to look at it."""
        self._connection.execute("UPDATE events SET state = 'aside', note = ? WHERE id = ?", (note, event.id))

    def settle_events(self) -> int:
        """Mark the unreadable events as read, because a person has dealt with them. Return their number."""
        return self._connection.execute("UPDATE events SET state = 'done' WHERE state = 'aside'").rowcount

    def forget_events(self, keep: int) -> int:
        """Forgets read events but for the newest; gives how many went. Their orders stay known."""
        cursor = self._connection.execute(
            "DELETE FROM events WHERE state = 'done' AND id <= (SELECT max(id) FROM events) - ?", (keep,)
        )
        return cursor.rowcount

    # Looks

    def want(self, kind: Subject, code: str) -> None:
        """It is to be looked at now."""
        with self._transaction():
            self._want(kind, code)

    def _want(self, kind: Subject, code: str) -> None:
        self._connection.execute(
            "INSERT INTO looks (kind, code, state, wanted, tries, not_before, note, seen, warned, has_left)"
            " VALUES (?, ?, 'due', 1, 0, 0, '', '', 0, 0) ON CONFLICT (kind, code)"
            " DO UPDATE SET state = 'due', wanted = wanted + 1, tries = 0, not_before = 0",
            (kind, code),
        )

    def was_seen(self, kind: Subject, code: str) -> bool:
        """Whether a fetch of it ever succeeded."""
        row = self._connection.execute("SELECT seen FROM looks WHERE kind = ? AND code = ?", (kind, code)).fetchone()
        return row is not None and row[0] != ""

    def waiting_for_person(self) -> list[tuple[Subject, str]]:
        """Return every order and return that waits for a person."""
        rows = self._connection.execute("SELECT kind, code FROM looks WHERE state = 'person' ORDER BY code")
        return [(Subject(kind), code) for kind, code in rows]

    def forget(self, look: Look) -> None:
        """Delete the row of a code that was never fetched, unless a newer event came in between."""
        self._connection.execute(
            "DELETE FROM looks WHERE kind = ? AND code = ? AND wanted = ? AND seen = ''",
            (look.kind, look.code, look.wanted),
        )

    def saw(self, kind: Subject, code: str, seen: str, answer_until: float | None) -> None:
        """Record the state and the deadline in which the order was seen, whatever the look leads to. A person who was
        warned of another deadline is warned of this one too."""
        has_left = kind is Subject.ORDER and seen in HAS_LEFT
        self._connection.execute(
            "UPDATE looks SET seen = ?1, answer_until = ?2, warned = warned AND answer_until IS ?2,"
            " has_left = has_left OR ?3 WHERE kind = ?4 AND code = ?5",
            (seen, answer_until, has_left, kind, code),
        )

    def watch_deadline(self, code: str, answer_until: float | None) -> None:
        """Watch the deadline (seconds since 1970) of an order with other unreadable members."""
        self._connection.execute(
            "UPDATE looks SET warned = warned AND answer_until IS ?1, answer_until = ?1"
            " WHERE kind = 'order' AND code = ?2",
            (answer_until, code),
        )

    def note_left(self, code: str) -> None:
        """Mark an order as dispatched, permanently: a later cancellation does not put its pieces back on the shelf. The
        order must already have a row."""
        self._connection.execute("UPDATE looks SET has_left = 1 WHERE kind = 'order' AND code = ?", (code,))

    def has_left(self, code: str) -> bool:
        """Whether the courier has had this order, as far as was ever seen or noted."""
        row = self._connection.execute("SELECT has_left FROM looks WHERE kind = 'order' AND code = ?", (code,))
        return bool((row.fetchone() or (0,))[0])

    def want_again(self, code: str | None = None) -> int:
        """The order or return of this code, or all that wait for a person, are looked at again; gives how many."""
        return self._connection.execute(
            "UPDATE looks SET state = 'due', wanted = wanted + 1, tries = 0, not_before = 0"
            " WHERE CASE WHEN ?1 IS NULL THEN state = 'person' ELSE code = ?1 END",
            (code,),
        ).rowcount

    def due_looks(self, now: float) -> list[Look]:
        """The orders and returns to look at now."""
        rows = self._connection.execute(
            "SELECT kind, code, tries, wanted, note FROM looks WHERE state = 'due' AND not_before <= ?"
            " ORDER BY not_before, kind, code LIMIT 100",
            (now,),
        )
        return [Look(Subject(kind), *rest) for kind, *rest in rows]

    def next_at(self, *, handovers: bool = True) -> float | None:
        """When the next event, look or, with `handovers`, change to hand over is to be tried, in seconds; None when
        nothing waits."""
        row = self._connection.execute(
            "SELECT min(at) FROM (SELECT min(not_before) AS at FROM looks WHERE state = 'due'"
            " UNION ALL SELECT min(h.not_before) FROM handovers h WHERE ? AND NOT EXISTS"
            " (SELECT 1 FROM handovers e WHERE e.code = h.code AND e.id < h.id)"
            " UNION ALL SELECT 0 FROM events WHERE state = 'new')",
            (handovers,),
        ).fetchone()
        return None if row is None else row[0]

    def bring_forward(self, latest: float) -> None:
        """Make work due that is planned for later than `latest` (seconds since 1970), because it was planned by a clock
        that was ahead."""
        with self._transaction():
            self._connection.execute("UPDATE looks SET not_before = 0 WHERE not_before > ?", (latest,))
            self._connection.execute("UPDATE handovers SET not_before = 0 WHERE not_before > ?", (latest,))

    def doubt(self, look: Look) -> None:
        """The marketplace does not know this code. Until a fetch succeeds, its event's deadline is not watched, because
        the event may be forged."""
        self._connection.execute(
            "UPDATE looks SET answer_until = NULL WHERE kind = ? AND code = ? AND seen = ''", (look.kind, look.code)
        )

    def postpone(self, look: Look, not_before: float, failure: str = "") -> None:
        """Store the failure and the time of the next attempt, unless a newer event came in between."""
        self._connection.execute(
            "UPDATE looks SET tries = tries + 1, not_before = ?, failure = ?"
            " WHERE kind = ? AND code = ? AND wanted = ?",
            (not_before, failure, look.kind, look.code, look.wanted),
        )

    def settle(self, look: Look, now: float, note: str = "") -> None:
        """It is up to date, or waits for a person, for whom the note is; unless there is a newer reason to look."""
        state = "person" if note else "done"
        self._connection.execute(
            "UPDATE looks SET note = ?, looked_at = ?, state = CASE WHEN wanted = ? THEN ? ELSE state END"
            " WHERE kind = ? AND code = ?",
            (note, now, look.wanted, state, look.kind, look.code),
        )

    def aside(self) -> list[tuple[bytes, str]]:
        """What waits for a person: an unreadable body or a code, and the note."""
        unread = self._connection.execute(
            "SELECT body, note FROM events WHERE state = 'aside' ORDER BY id LIMIT 100"
        ).fetchall()
        waiting = self._connection.execute(
            # A note stays visible while its order is fetched again.
            "SELECT code, note FROM looks WHERE note <> '' AND state IN ('person', 'due') ORDER BY looked_at, code"
        ).fetchall()
        return unread + [(code.encode(), note) for code, note in waiting]

    def failing(self) -> list[tuple[str, int, str]]:
        """Return work that failed more than twice and is retried: its title, the attempts, and the last failure. Codes
        that the marketplace does not know are left out: they may be forged, and are forgotten within minutes."""
        return self._connection.execute(
            "SELECT upper(substr(kind, 1, 1)) || substr(kind, 2) || ' ' || code, tries, failure FROM looks"
            " WHERE state = 'due' AND tries > 2 AND NOT (seen = '' AND failure = ?)"
            " UNION ALL SELECT 'Hand-over of ' || code, tries, failure FROM handovers WHERE tries > 2"
            " ORDER BY 2 DESC LIMIT 50",
            (UNKNOWN_CODE,),
        ).fetchall()

    def known(self, seen: str) -> list[Known]:
        """Every order and return that was in this state when it was looked at last."""
        rows = self._connection.execute(
            "SELECT kind, code, state, seen, answer_until, note FROM looks WHERE seen = ? ORDER BY code", (seen,)
        )
        return [Known(Subject(kind), *rest) for kind, *rest in rows]

    def to_be_answered(self, limit: int) -> list[Known]:
        """The unanswered orders and returns, the most urgent first."""
        rows = self._connection.execute(
            "SELECT kind, code, state, seen, answer_until, note FROM looks WHERE answer_until IS NOT NULL"
            " ORDER BY answer_until, code LIMIT ?",
            (limit,),
        )
        return [Known(Subject(kind), *rest) for kind, *rest in rows]

    def states(self, kind: Subject) -> dict[str, int]:
        """How many orders, or returns, were seen last in each state; without a state those not looked at yet."""
        return dict(self._connection.execute("SELECT seen, count(*) FROM looks WHERE kind = ? GROUP BY seen", (kind,)))

    def is_known(self, kind: Subject, code: str, seen: str, answer_until: float | None, told: bytes | None) -> bool:
        """Whether it was last seen in this state and with this deadline, and, with hand-overs, whether this was handed
        over."""
        row = self._connection.execute(
            "SELECT handed FROM looks WHERE kind = ? AND code = ? AND seen = ? AND answer_until IS ?",
            (kind, code, seen, answer_until),
        ).fetchone()
        return row is not None and (told is None or row[0] == hashlib.sha256(told).digest())

    def to_be_warned(self, before: float, soon: float) -> list[Known]:
        """Return the orders without a warning that must be answered by this time. A code whose first fetch is still to
        come is left out until `soon`: its event may be forged."""
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
        """A person was warned of this deadline."""
        self._connection.execute(
            "UPDATE looks SET warned = 1 WHERE kind = ? AND code = ? AND answer_until IS ?",
            (known.kind, known.code, known.answer_until),
        )

    def next_deadline(self) -> float | None:
        """Until when the most urgent order is to be answered, in seconds since 1970; None when nothing waits."""
        row = self._connection.execute("SELECT min(answer_until) FROM looks WHERE answer_until IS NOT NULL").fetchone()
        return row[0] if row else None

    def counts(self) -> dict[str, int]:
        """How many of each there are: events by state, looks by state, handovers that wait."""
        counted = dict(self._connection.execute("SELECT 'events_' || state, count(*) FROM events GROUP BY state"))
        counted |= dict(self._connection.execute("SELECT 'looks_' || state, count(*) FROM looks GROUP BY state"))
        return counted | {
            "handovers": self._connection.execute("SELECT count(*) FROM handovers").fetchone()[0],
            "printed": self._connection.execute("SELECT count(*) FROM printed").fetchone()[0],
        }

    # Handovers

    def hand_over(self, kind: Subject, code: str, body: bytes) -> bool:
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

    def was_told(self, code: str) -> bool:
        """Whether this order was handed over to the shop's own system, or is about to be."""
        row = self._connection.execute("SELECT handed FROM looks WHERE kind = 'order' AND code = ?", (code,)).fetchone()
        return row is not None and row[0] is not None

    def due_handovers(self, now: float) -> list[Handover]:
        """The due hand-overs, the oldest of each code."""
        rows = self._connection.execute(
            "SELECT h.id, h.code, h.body, h.tries FROM handovers h WHERE h.not_before <= ?"
            " AND NOT EXISTS (SELECT 1 FROM handovers e WHERE e.code = h.code AND e.id < h.id) ORDER BY h.id LIMIT 100",
            (now,),
        )
        return [Handover(*row) for row in rows]

    def handed(self, handover: Handover) -> None:
        """The hand-over succeeded."""
        self._connection.execute("DELETE FROM handovers WHERE id = ?", (handover.id,))

    def postpone_handover(self, handover: Handover, not_before: float, failure: str = "") -> None:
        """Store the failure of a hand-over and the time of the next attempt."""
        self._connection.execute(
            "UPDATE handovers SET tries = tries + 1, not_before = ?, failure = ? WHERE id = ?",
            (not_before, failure, handover.id),
        )

    def moment(self, name: str) -> float | None:
        """When this was done last, in seconds since 1970."""
        row = self._connection.execute("SELECT at FROM moments WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def mark_moment(self, name: str, at: float) -> None:
        """It was done at this time."""
        self._connection.execute("INSERT OR REPLACE INTO moments VALUES (?, ?)", (name, at))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
