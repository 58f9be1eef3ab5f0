"""Jobs: each fetches an order or a return and runs its next step. A job stays due until it is finished, so that a
killed connector runs it again after its restart."""

import sqlite3
from typing import NamedTuple

from kalathi.merchant.inbox.subjects import Subject


class Job(NamedTuple):
    """An order or return to fetch. `planned` counts how often it was planned: if it is planned again while the job
    runs, the job stays due. `note` is the last message to a person."""

    kind: Subject
    code: str
    tries: int
    planned: int
    note: str


class Jobs:
    """The jobs of the merchant's file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def plan(self, kind: Subject, code: str) -> None:
        """Plan to fetch this order or return now."""
        self._connection.execute(
            "INSERT INTO looks (kind, code, state, wanted, tries, not_before, note, seen, warned, has_left)"
            " VALUES (?, ?, 'due', 1, 0, 0, '', '', 0, 0) ON CONFLICT (kind, code)"
            " DO UPDATE SET state = 'due', wanted = wanted + 1, tries = 0, not_before = 0",
            (kind, code),
        )

    def plan_again(self, code: str | None = None) -> int:
        """Plan to fetch the order or return with this code, or, without a code, every one that waits for a person.
        Return their number."""
        return self._connection.execute(
            "UPDATE looks SET state = 'due', wanted = wanted + 1, tries = 0, not_before = 0"
            " WHERE CASE WHEN ?1 IS NULL THEN state = 'person' ELSE code = ?1 END",
            (code,),
        ).rowcount

    def due(self, now: float) -> list[Job]:
        """The due jobs. `now` is in seconds since 1970."""
        rows = self._connection.execute(
            "SELECT kind, code, tries, wanted, note FROM looks WHERE state = 'due' AND not_before <= ?"
            " ORDER BY not_before, kind, code LIMIT 100",
            (now,),
        )
        return [Job(Subject(kind), *rest) for kind, *rest in rows]

    def postpone(self, job: Job, not_before: float, failure: str = "") -> None:
        """Store the failure and the time of the next attempt, unless the job was planned again in the meantime."""
        self._connection.execute(
            "UPDATE looks SET tries = tries + 1, not_before = ?, failure = ?"
            " WHERE kind = ? AND code = ? AND wanted = ?",
            (not_before, failure, job.kind, job.code, job.planned),
        )

    def finish(self, job: Job, now: float, note: str = "") -> None:
        """Mark the job as done, or, with a note, as waiting for a person. A job that was planned again stays due."""
        state = "person" if note else "done"
        self._connection.execute(
            "UPDATE looks SET note = ?, looked_at = ?, state = CASE WHEN wanted = ? THEN ? ELSE state END"
            " WHERE kind = ? AND code = ?",
            (note, now, job.planned, state, job.kind, job.code),
        )

    def forget(self, job: Job) -> None:
        """Delete the row of a code that was never fetched, unless the job was planned again in the meantime."""
        self._connection.execute(
            "DELETE FROM looks WHERE kind = ? AND code = ? AND wanted = ? AND seen = ''",
            (job.kind, job.code, job.planned),
        )

    def list_due_codes(self, kind: Subject) -> list[str]:
        """Return every order or return that is to be fetched, now or later."""
        rows = self._connection.execute("SELECT code FROM looks WHERE state = 'due' AND kind = ?", (kind,))
        return [row[0] for row in rows]

    def waiting_for_person(self) -> list[tuple[Subject, str]]:
        """Return every order and return that waits for a person."""
        rows = self._connection.execute("SELECT kind, code FROM looks WHERE state = 'person' ORDER BY code")
        return [(Subject(kind), code) for kind, code in rows]
