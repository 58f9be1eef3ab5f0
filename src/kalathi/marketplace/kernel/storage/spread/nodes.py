"""The nodes of a spread database: which of them has a shop, and which of them answer.

Each process connects to every node at the address that the coordinator has for it. One thread for each node asks it
every second whether it answers. All other threads rely on that: a call for a shop of a node that is down fails at once,
and the connections to it are cut, so that no thread waits for it.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import psycopg
import structlog
from psycopg import Connection

from kalathi.marketplace.kernel.storage.changes import StorageError
from kalathi.marketplace.kernel.storage.database import Row
from kalathi.marketplace.kernel.storage.postgres_connecting import KEEPALIVE, OF_EACH_CONNECTION, set_up
from kalathi.marketplace.kernel.storage.spread.shard_map import Node, ShardMap, load_shards

_log = structlog.get_logger("kalathi.database")

_ASK_SECONDS: Final = 1.0
_GUARD_SECONDS: Final = 0.5
# A node that has not answered for this long counts as down.
_PATIENCE_SECONDS: Final = 2.0
_MAP_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 2
# A map that is younger is not read again by a thread that found it old.
_YOUNG_SECONDS: Final = 0.2
# A node that is not in the map for so long is watched no longer.
_ABSENT_SECONDS: Final = 60.0
_THREADS_OF_A_NODE: Final = 2

# One connection of Citus to each node, so that a transaction of one node has one part; and an end for statements that
# wait for another node.
OF_CITUS: Final = (
    "SET citus.max_adaptive_executor_pool_size = 1; SET citus.multi_shard_modify_mode = 'sequential';"
    " SET statement_timeout = 10000"
)


class NodeDownError(StorageError):
    """The node with the rows does not answer."""

    def __init__(self, node: Node) -> None:
        super().__init__(f"The database node {node.host}:{node.port} does not answer.")


class OpenConnections:
    """The connections of several threads to one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Connection[Any]] = []

    def add(self, connection: Connection[Any]) -> None:
        """Add a connection, and forget those that were closed."""
        with self._lock:
            self._open = [*(one for one in self._open if not one.closed), connection]

    def cut(self) -> None:
        """Cut all of them. Threads that wait at one get an error at once, and close it."""
        for connection in self._list():
            # A connection that another thread uses must not be closed here.
            with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as same:
                same.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all of them. No thread may use them any more."""
        for connection in self._list():
            connection.close()

    def _list(self) -> list[Connection[Any]]:
        with self._lock:
            return list(self._open)


class NodeLostError(NodeDownError):
    """The connection to the node was lost during a read. Another one may be had at once."""


class _Watched:
    """One node: whether it answers, its connections, and threads that read from it."""

    def __init__(self, node: Node, url: str) -> None:
        self.node = node
        self._url = url
        self._local = threading.local()
        self._open = OpenConnections()
        self._ends = threading.Event()
        self._hurry = threading.Event()
        self._answers = True
        self._asked_at: float | None = None
        self.was_down = False
        name = f"kalathi-node-{node.host}:{node.port}"
        self._readers = ThreadPoolExecutor(max_workers=_THREADS_OF_A_NODE, thread_name_prefix=name)
        self._thread = threading.Thread(target=self._ask, name=name, daemon=True)
        self._thread.start()

    def is_down(self) -> bool:
        """Whether the node does not answer now."""
        asked_at = self._asked_at
        return not self._answers or (asked_at is not None and time.monotonic() - asked_at > _PATIENCE_SECONDS)

    def doubt(self) -> None:
        """Ask the node now, because a statement has failed."""
        self._hurry.set()

    def connect(self) -> Connection[Any]:
        """Return a new connection to the node, which is cut when the node is down. Raises psycopg.Error."""
        connection = psycopg.connect(
            self._url,
            host=self.node.host,
            port=self.node.port,
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            **KEEPALIVE,
        )
        self._open.add(connection)
        set_up(connection, f"{OF_EACH_CONNECTION}; {OF_CITUS}")
        return connection

    def own_connection(self) -> Connection[Any]:
        """Return this thread's connection to the node. Raises psycopg.Error."""
        connection: Connection[Any] | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            connection = self._local.connection = self.connect()
        return connection

    def read(self, text: bytes, values: Sequence[Any]) -> Future[list[Row]]:
        """Run a statement on one of the node's threads."""
        return self._readers.submit(self._run, text, values)

    def cut(self) -> None:
        """Cut all connections, so that no thread waits for an answer."""
        self._open.cut()

    def leave(self) -> None:
        """Watch the node no longer, because it has no shards any more. Others may still use its connections."""
        self._ends.set()
        self._hurry.set()
        self._readers.shutdown(wait=False)

    def close(self) -> None:
        """End the threads, and close the connections. No other thread may use them any more."""
        self._ends.set()
        self._hurry.set()
        self._open.cut()
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._thread.join()
        self._open.close()

    def _run(self, text: bytes, values: Sequence[Any]) -> list[Row]:
        for is_last in (False, True):
            connection = self.own_connection()
            try:
                return connection.execute(text, values, binary=True).fetchall()
            except psycopg.Error:
                connection.close()
                # The connection may be of before a restart of the node.
                if is_last or self._ends.is_set():
                    raise
        raise AssertionError("the loop returns or raises")

    def _ask(self) -> None:
        connection: Connection[Any] | None = None
        while not self._ends.is_set():
            self._hurry.wait(_ASK_SECONDS)
            self._hurry.clear()
            self._asked_at = time.monotonic()
            connection = self._ask_once(connection)
            if connection is None:
                # The old connection may have ended for any reason. Only a new one shows that the node is away.
                connection = self._ask_once(None)
            self._answers = connection is not None
            self._asked_at = None

    def _ask_once(self, connection: Connection[Any] | None) -> Connection[Any] | None:
        """Return a connection on which the node has answered; None if it has not."""
        try:
            if connection is None or connection.closed:
                connection = self.connect()
            connection.execute("SELECT 1")
        except Exception as error:  # noqa: BLE001  (without this thread the node would never count as up or down again)
            if not isinstance(error, psycopg.Error):
                _log.exception("node_not_asked")
            if connection is not None:
                connection.close()
            return None
        return connection


class Nodes:
    """The nodes as a process sees them. Its methods may be called on every thread."""

    def __init__(self, url: str, *, changed: Callable[[], None] = lambda: None) -> None:
        """Read the map, and begin to watch the nodes. `changed` is called on a thread when a node goes or comes back.
        Raises psycopg.Error, StorageError."""
        self._url = url
        self._changed = changed
        self._ends = threading.Event()
        self._reading_map = threading.Lock()
        self.map = self._load_map()
        self._read_at = time.monotonic()
        self._watching = threading.Lock()
        self._watched: dict[Node, _Watched] = {}
        # The monotonic time at which a node was last in the map; nodes that were left.
        self._seen_at: dict[Node, float] = {}
        self._left: list[_Watched] = []
        self._watch_all()
        self._thread = threading.Thread(target=self._guard, name="kalathi-nodes", daemon=True)
        self._thread.start()

    def is_down(self, node: Node) -> bool:
        """Whether a node does not answer."""
        watched = self._watched.get(node)
        return watched is not None and watched.is_down()

    def find_down(self, nodes: Iterable[Node]) -> Node | None:
        """Return one of these nodes that does not answer; None if all do."""
        return next((node for node in nodes if self.is_down(node)), None)

    def check_all(self) -> None:
        """Raise NodeDownError if a node with shops does not answer."""
        down = self.find_down(self.map.nodes)
        if down is not None:
            raise NodeDownError(down)

    def doubt(self) -> None:
        """Ask all nodes now, because a statement has failed."""
        for watched in self._list_watched():
            watched.doubt()

    def connect(self, node: Node) -> Connection[Any]:
        """Return a new connection to a node. Raises NodeDownError."""
        return self._reach(node, _Watched.connect)

    def own_connection(self, node: Node) -> Connection[Any]:
        """Return this thread's connection to a node. Raises NodeDownError."""
        return self._reach(node, _Watched.own_connection)

    def connect_coordinator(self) -> Connection[Any]:
        """Return a new connection to the coordinator, also if the URL names another node. Raises StorageError."""
        if self.map.coordinator is None:
            raise StorageError("The cluster's list of nodes has no coordinator (citus_set_coordinator_host).")
        return self._reach(self.map.coordinator, _Watched.connect)

    def read_each(self, statements: Mapping[Node, tuple[bytes, Sequence[Any]]], *, is_complete: bool) -> list[Row]:
        """Run a statement on each of these nodes, side by side, and return all rows. Nodes that do not answer are left
        out, or with `is_complete` raise NodeDownError."""
        asked: dict[Node, Future[list[Row]]] = {}
        for node, (text, values) in statements.items():
            if node not in self._watched:
                self._watch_all()
            watched = self._watched.get(node)
            if watched is not None and not watched.is_down():
                asked[node] = watched.read(text, values)
            elif is_complete:
                raise NodeDownError(node)
        rows: list[Row] = []
        for node, answer in asked.items():
            try:
                rows += answer.result()
            except psycopg.errors.UndefinedTable as error:
                # A shard has moved to another node, and its table here is gone.
                self.refresh()
                raise NodeLostError(node) from error
            except psycopg.OperationalError as error:
                self.doubt()
                if is_complete:
                    raise NodeDownError(node) from error
        return rows

    def close(self) -> None:
        """End the threads and close the connections."""
        self._ends.set()
        self._thread.join()
        for watched in (*self._list_watched(), *self._left):
            watched.close()

    def refresh(self) -> None:
        """Read the map now, because a shard was not where it should be. Nodes that are new are watched a moment
        later."""
        with self._reading_map, contextlib.suppress(psycopg.Error, StorageError):
            if time.monotonic() - self._read_at > _YOUNG_SECONDS:
                self.map = self._load_map()
                self._read_at = time.monotonic()

    def _load_map(self) -> ShardMap:
        with psycopg.connect(self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS, **KEEPALIVE) as connection:
            return load_shards(connection)

    def _reach(self, node: Node, connect: Callable[[_Watched], Connection[Any]]) -> Connection[Any]:
        if node not in self._watched:
            self._watch_all()  # It has just got its first shard.
        watched = self._watched.get(node)
        if watched is None or watched.is_down():
            raise NodeDownError(node)
        try:
            return connect(watched)
        except psycopg.Error as error:
            watched.doubt()
            raise NodeDownError(node) from error

    def _watch_all(self) -> None:
        """Watch each node with shops, and the coordinator. A node may have none for a while, when shards are moved."""
        present = {*self.map.nodes, *([self.map.coordinator] if self.map.coordinator else [])}
        now = time.monotonic()
        with self._watching:
            for node in present:
                self._seen_at[node] = now
            for node in [node for node in self._watched if now - self._seen_at[node] > _ABSENT_SECONDS]:
                self._left.append(self._watched[node])
                self._watched[node].leave()
                del self._watched[node]
            for node in present - self._watched.keys():
                self._watched[node] = _Watched(node, self._url)

    def _list_watched(self) -> list[_Watched]:
        with self._watching:
            return [*self._watched.values()]

    def _guard(self) -> None:
        """Cut the connections of nodes that have gone down, and read the map again from time to time, because shards
        are moved while processes run."""
        while not self._ends.wait(_GUARD_SECONDS):
            try:
                for watched in self._list_watched():
                    self._note(watched)
                if time.monotonic() - self._read_at >= _MAP_SECONDS:
                    self._read_map()
                self._watch_all()
            except Exception:  # noqa: BLE001  (without this thread, no lost node would be noticed)
                _log.exception("nodes_not_guarded")

    def _note(self, watched: _Watched) -> None:
        is_down = watched.is_down()
        if is_down:
            watched.cut()
        if is_down is not watched.was_down:
            watched.was_down = is_down
            event = "node_down" if is_down else "node_answers"
            _log.warning(event, host=watched.node.host, port=watched.node.port)
            self._changed()

    def _read_map(self) -> None:
        with self._reading_map:
            self._read_at = time.monotonic()
            try:
                self.map = self._load_map()
            except (psycopg.Error, StorageError) as error:
                _log.warning("map_of_nodes_not_read", error=str(error))
