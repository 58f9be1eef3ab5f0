"""A database that is spread over the nodes of a Citus cluster: the same interface, with the second forms."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from psycopg import Connection

from kalathi.marketplace.kernel.storage.changes import ChangeSet, StorageError
from kalathi.marketplace.kernel.storage.database import T
from kalathi.marketplace.kernel.storage.group import GroupWriter
from kalathi.marketplace.kernel.storage.postgres import PostgresDatabase
from kalathi.marketplace.kernel.storage.postgres_connecting import set_up
from kalathi.marketplace.kernel.storage.postgres_writing import PostgresWriter
from kalathi.marketplace.kernel.storage.spread.nodes import OF_CITUS, NodeLostError, Nodes, OpenConnections
from kalathi.marketplace.kernel.storage.spread.view import SpreadView
from kalathi.marketplace.kernel.storage.spread.writing import Lanes

_MOST_ATTEMPTS: Final = 3
_PATIENCE_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.1


class SpreadDatabase(PostgresDatabase):
    """One process's access to a spread database."""

    def __init__(self, url: str) -> None:
        """Read the map of the nodes. Raises psycopg.Error, StorageError."""
        # Connections to the node that the URL names.
        self._entries = OpenConnections()
        self._nodes = Nodes(url, changed=self._note_change_of_nodes)
        super().__init__(url)
        self._lanes = Lanes(
            self._nodes, self._make_group_writer, self._connect_patiently, self._connect_coordinator_patiently
        )
        self.metrics.watch_queue(self._lanes.waiting)
        # A node that does not answer must not hold up the start.
        threading.Thread(target=self._lanes.forget_marks, name="kalathi-marks", daemon=True).start()

    def place_of(self, key: str) -> str:
        """See Database."""
        node = self._nodes.map.node_of(key)
        return f"{node.host}:{node.port}"

    def count_places(self) -> int:
        """See Database."""
        return len(self._nodes.map.nodes)

    async def commit_each(self, sets: Sequence[ChangeSet]) -> list[Exception | None]:
        """See Database."""
        if self._lanes.is_closed:
            raise StorageError("The database is closed.")
        return await self._lanes.commit(sets)

    async def close(self) -> None:
        """See Database."""
        self._hurried.set()
        await self._lanes.close()
        await super().close()
        self._nodes.close()

    def _make_view(self, connection: Connection[Any], *, snapshot: bool) -> SpreadView:
        return SpreadView(connection, self._nodes, snapshot=snapshot)

    def _make_group_writer(self, writer: PostgresWriter) -> GroupWriter:
        return GroupWriter(
            lambda sets: partial(writer.write, sets),
            written=self._note_written,
            answered=lambda _count: None,
            measured=self.metrics.note_group,
        )

    def _on_a_connection(self, work: Callable[[Connection[Any]], T]) -> T:
        for _ in range(_MOST_ATTEMPTS - 1):
            with contextlib.suppress(NodeLostError):
                return super()._on_a_connection(work)
        return super()._on_a_connection(work)

    def _connect_once(self) -> Connection[Any]:
        connection = super()._connect_once()
        self._entries.add(connection)
        set_up(connection, OF_CITUS)
        return connection

    def _connect_coordinator_patiently(self) -> Connection[Any]:
        """Wait ten seconds for a coordinator that restarts. Raises StorageError."""
        ends_at = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._nodes.connect_coordinator()
            except StorageError:
                if time.monotonic() > ends_at or self._hurried.wait(_PAUSE_SECONDS):
                    raise

    def _connect_notifier(self) -> Connection[Any]:
        """All processes send and receive at the coordinator, because a NOTIFY does not reach other servers."""
        return self._nodes.connect_coordinator()

    def _note_change_of_nodes(self) -> None:
        """Wake the worker: a node has gone or come back. Cut the connections whose statements may wait for it. Runs on
        a thread."""
        self._entries.cut()
        self._notify_all(None)
