"""NOTIFY and LISTEN: processes that share a PostgreSQL database notify each other of due jobs."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import psycopg
import structlog
from psycopg import Connection

from kalathi.marketplace.kernel.storage.changes import NewJob, StorageError

_log = structlog.get_logger("kalathi.database")

_CHANNEL: Final = "kalathi"
# PostgreSQL's own limit is 8,000 bytes.
_LONGEST_PAYLOAD: Final = 7_900
_UNKNOWN_JOBS: Final = "?"
_LISTEN_AGAIN_SECONDS: Final = 0.5


def _read_payload(payload: str) -> list[NewJob] | None:
    """Return the due rows of a NOTIFY, also of another version."""
    if not payload:
        return []
    parts = [entry.split(" ") for entry in payload.split(",")]
    if not all(len(part) == 3 and part[2].isascii() and part[2].isdigit() for part in parts):
        return None
    return [NewJob(kind, shop_id, int(due_at)) for kind, shop_id, due_at in parts]


class Notifier:
    """Send one NOTIFY after each group, with the new due rows, and receive those of other processes. Each side has its
    own thread and connection."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        closing: threading.Event,
        heard: Callable[[list[NewJob] | None], None],
    ) -> None:
        """`heard` is called on a thread, with the new due rows of another process; with None if they are not known."""
        self._connect = connect
        self._closing = closing
        self._heard = heard
        self._wanted = threading.Event()
        self._jobs: deque[list[NewJob] | None] = deque()
        self._own_pid = 0
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._send, "kalathi-notify"), (self._listen, "kalathi-listen"))
        ]
        for thread in self._threads:
            thread.start()

    def notify(self, jobs: list[NewJob] | None) -> None:
        """Wake the other processes. Many calls become one NOTIFY."""
        if jobs is None or jobs:
            self._jobs.append(jobs)
        self._wanted.set()

    def close(self) -> None:
        """End the threads. The caller must have set `closing` before."""
        self._wanted.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        connection: Connection | None = None
        ends = False
        while not ends:
            self._wanted.wait()
            self._wanted.clear()
            # The last NOTIFY wakes our own listener, so that it ends.
            ends = self._closing.is_set()
            try:
                if connection is None or connection.closed:
                    connection = self._connect()
                    self._own_pid = connection.info.backend_pid
                connection.execute("SELECT pg_notify(%s, %s)", [_CHANNEL, self._take_payload()])
            except (psycopg.Error, StorageError):
                _log.warning("notify_failed")  # Other processes poll as well.
        if connection is not None:
            connection.close()

    def _take_payload(self) -> str:
        """Return the new due rows since the last NOTIFY, as one text."""
        jobs: list[NewJob] = []
        is_known = True
        while self._jobs:
            more = self._jobs.popleft()
            is_known = is_known and more is not None
            jobs += more or ()
        text = ",".join(f"{kind} {shop_id} {due_at}" for kind, shop_id, due_at in jobs)
        return text if is_known and len(text) <= _LONGEST_PAYLOAD else _UNKNOWN_JOBS

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    self._heard(None)  # Notifications may have been missed before.
                    while not self._closing.is_set():
                        for notice in connection.notifies(timeout=0.5):
                            if notice.pid != self._own_pid:
                                self._heard(_read_payload(notice.payload))
                            if self._closing.is_set():
                                break
            except (psycopg.Error, StorageError):
                if not self._closing.wait(_LISTEN_AGAIN_SECONDS):
                    _log.warning("listen_connection_lost")
