"""The merchant's one file. Each part has its own tables; this class opens the file and answers questions about several
parts."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from kalathi.merchant.inbox.events import Events, InboxEvent
from kalathi.merchant.inbox.handovers import Handovers
from kalathi.merchant.inbox.jobs import Jobs
from kalathi.merchant.inbox.notices import Notices
from kalathi.merchant.inbox.printed import PrintedVouchers
from kalathi.merchant.inbox.publications import Publications
from kalathi.merchant.inbox.reservations import Reservations
from kalathi.merchant.inbox.subjects import Subject, Subjects
from kalathi.merchant.inbox.tables import lock, prepare
from kalathi.system.files import make_private_folder

# The failure of a code that the marketplace does not know.
UNKNOWN_CODE: Final = "the marketplace does not know this code"


class Inbox:
    """One SQLite file of the merchant."""

    def __init__(self, path: Path, *, beside: bool = False) -> None:
        """Open the file, and create it if it is missing.

        Set `beside` in a process other than the connector: one that reads, requests something or receives webhooks.
        Then single calls are allowed from any thread. Raises InboxInUseError if another connector uses the file, and
        InboxVersionError.
        """
        self._lock: IO[str] | None = None
        make_private_folder(path.parent)
        if not beside:
            self._lock = lock(path.with_name(path.name + ".lock"))
        path.touch(mode=0o600, exist_ok=True)  # The file contains customers' addresses.
        # The connector's transactions have several statements, so only one thread may use its connection.
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=not beside)
        self.events = Events(self._connection)
        self.jobs = Jobs(self._connection)
        self.subjects = Subjects(self._connection)
        self.handovers = Handovers(self._connection, self._transaction)
        self.reservations = Reservations(self._connection, self._transaction)
        self.notices = Notices(self._connection)
        self.publications = Publications(self._connection, self._transaction)
        self.vouchers = PrintedVouchers(self._connection, self._transaction)
        try:
            prepare(self._connection, path, may_upgrade=not beside)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file and release its lock."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def plan_from_event(self, event: InboxEvent, kind: Subject, code: str, answer_until: float | None = None) -> None:
        """Mark the event as read and plan to fetch its order or return. Until the first fetch succeeds, the event's own
        deadline is watched (seconds since 1970)."""
        with self._transaction():
            self._connection.execute(
                "UPDATE events SET state = 'done', note = ? WHERE id = ?", (f"{kind} {code}", event.id)
            )
            self.jobs.plan(kind, code)
            self._connection.execute(
                "UPDATE looks SET answer_until = ? WHERE kind = ? AND code = ? AND seen = ''",
                (answer_until, kind, code),
            )

    def next_at(self, *, handovers: bool = True) -> float | None:
        """Return the due time of the next event, job or, with `handovers`, hand-over, in seconds since 1970. None if
        there is none."""
        row = self._connection.execute(
            "SELECT min(at) FROM (SELECT min(not_before) AS at FROM looks WHERE state = 'due'"
            " UNION ALL SELECT min(h.not_before) FROM handovers h WHERE ? AND NOT EXISTS"
            " (SELECT 1 FROM handovers e WHERE e.code = h.code AND e.id < h.id)"
            " UNION ALL SELECT 0 FROM events WHERE state = 'new')",
            (handovers,),
        ).fetchone()
        return None if row is None else row[0]

    def bring_forward(self, latest: float) -> None:
        """Make work due now that is planned for later than `latest` (seconds since 1970). A clock that was ahead has
        planned it."""
        with self._transaction():
            self._connection.execute("UPDATE looks SET not_before = 0 WHERE not_before > ?", (latest,))
            self._connection.execute("UPDATE handovers SET not_before = 0 WHERE not_before > ?", (latest,))

    def aside(self) -> list[tuple[bytes, str]]:
        """Return the events, orders and returns that wait for a person: the unreadable body or the code, and the
        note."""
        unread = self._connection.execute(
            "SELECT body, note FROM events WHERE state = 'aside' ORDER BY id LIMIT 100"
        ).fetchall()
        waiting = self._connection.execute(
            # A note stays visible while its order is fetched again.
            "SELECT code, note FROM looks WHERE note <> '' AND state IN ('person', 'due') ORDER BY looked_at, code"
        ).fetchall()
        return unread + [(code.encode(), note) for code, note in waiting]

    def failing(self) -> list[tuple[str, int, str]]:
        """Return work that failed more than twice and is retried: its title, the attempts, and the last failure. Omit
        codes that the marketplace does not know: they may be forged, and are deleted within minutes."""
        return self._connection.execute(
            "SELECT upper(substr(kind, 1, 1)) || substr(kind, 2) || ' ' || code, tries, failure FROM looks"
            " WHERE state = 'due' AND tries > 2 AND NOT (seen = '' AND failure = ?)"
            " UNION ALL SELECT 'Hand-over of ' || code, tries, failure FROM handovers WHERE tries > 2"
            " ORDER BY 2 DESC LIMIT 50",
            (UNKNOWN_CODE,),
        ).fetchall()

    def counts(self) -> dict[str, int]:
        """Count the rows: events by state, jobs by state, waiting hand-overs, printed vouchers."""
        counted = dict(self._connection.execute("SELECT 'events_' || state, count(*) FROM events GROUP BY state"))
        counted |= dict(self._connection.execute("SELECT 'looks_' || state, count(*) FROM looks GROUP BY state"))
        return counted | {
            "handovers": self._connection.execute("SELECT count(*) FROM handovers").fetchone()[0],
            "printed": self._connection.execute("SELECT count(*) FROM printed").fetchone()[0],
        }

    def moment(self, name: str) -> float | None:
        """Return the stored time of this name, in seconds since 1970, or None."""
        row = self._connection.execute("SELECT at FROM moments WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def mark_moment(self, name: str, at: float) -> None:
        """Store a time (seconds since 1970) under this name, for example `reconciled`."""
        self._connection.execute("INSERT OR REPLACE INTO moments VALUES (?, ?)", (name, at))

    def forget_moment(self, name: str) -> None:
        """Delete the stored time of this name."""
        self._connection.execute("DELETE FROM moments WHERE name = ?", (name,))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
