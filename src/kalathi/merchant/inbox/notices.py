"""Notices about open problems, and counts of refused webhooks by reason.

A notice stays until it is settled. `status`, `/metrics` and `/healthz` show the same notices. The rows are in the inbox
file, so that `kalathi merchant status` can read them from another process.
"""

import sqlite3
from typing import Final, NamedTuple

from kalathi.merchant.refusals import Refusal, RefusalReason

# A flood of refused calls must not become a flood of writes.
_WRITE_AGAIN_SECONDS: Final = 1.0
_LONGEST_DETAIL: Final = 300


class Notice(NamedTuple):
    """An open problem that needs a person. `topic` is its key, such as `stock` or `label 261128-0000001`; `since` is in
    seconds since 1970."""

    topic: str
    text: str
    since: float


def label_topic(code: str) -> str:
    """Return the topic of the notice that an earlier label of this order must be thrown away."""
    return f"label {code}"


class RefusedWebhooks(NamedTuple):
    """The number of webhooks that were refused for one reason. `last_at` is in seconds since 1970."""

    reason: RefusalReason
    status: int
    times: int
    detail: str
    last_at: float


class Notices:
    """The notices and the refused webhooks of one inbox file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # By reason: the time of the last write, and the refusals since then with the last of them.
        self._unwritten: dict[RefusalReason, tuple[float, int, Refusal]] = {}

    def add(self, topic: str, text: str, at: float) -> bool:
        """Store a notice until `settle`. Return whether its topic is new or its text has changed."""
        cursor = self._connection.execute(
            "INSERT INTO notices (topic, text, since) VALUES (?, ?, ?)"
            " ON CONFLICT (topic) DO UPDATE SET text = excluded.text, since = excluded.since"
            " WHERE text <> excluded.text",
            (topic, text, at),
        )
        return cursor.rowcount == 1

    def settle(self, topic: str) -> bool:
        """Remove a notice. Return whether there was one."""
        return self._connection.execute("DELETE FROM notices WHERE topic = ?", (topic,)).rowcount == 1

    def open(self) -> list[Notice]:
        """Return every notice that is not settled, the oldest first."""
        rows = self._connection.execute("SELECT topic, text, since FROM notices ORDER BY since, topic LIMIT 100")
        return [Notice(*row) for row in rows]

    def count_refusal(self, refusal: Refusal, at: float) -> None:
        """Count a refused webhook. Calls of browsers and scanners are not counted."""
        if not refusal.is_webhook:
            return
        written_at, unwritten, _ = self._unwritten.get(refusal.reason, (None, 0, refusal))
        if written_at is not None and 0 <= at - written_at < _WRITE_AGAIN_SECONDS:
            self._unwritten[refusal.reason] = (written_at, unwritten + 1, refusal)
            return
        self._write(refusal, unwritten + 1, at)

    def write_refusals(self, at: float) -> None:
        """Write the refusals that were counted since the last write. The connector calls this every second and when it
        stops."""
        for _, unwritten, refusal in list(self._unwritten.values()):
            if unwritten:
                self._write(refusal, unwritten, at)

    def _write(self, refusal: Refusal, count: int, at: float) -> None:
        self._unwritten[refusal.reason] = (at, 0, refusal)
        self._connection.execute(
            "INSERT INTO refused (reason, status, count, detail, last_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (reason)"
            " DO UPDATE SET status = excluded.status, count = count + excluded.count, detail = excluded.detail,"
            " last_at = excluded.last_at",
            (refusal.reason, refusal.status, count, refusal.detail[:_LONGEST_DETAIL], at),
        )

    def list_refused(self, since: float) -> list[RefusedWebhooks]:
        """Return the refused webhooks by reason, for reasons with a refusal since then (seconds since 1970)."""
        rows = self._connection.execute(
            "SELECT reason, status, count, detail, last_at FROM refused WHERE last_at >= ? ORDER BY last_at DESC",
            (since,),
        )
        return [RefusedWebhooks(RefusalReason(reason), *rest) for reason, *rest in rows]
