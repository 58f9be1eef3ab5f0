"""The nodes of a spread database: which of them has a shop, and which of them answer.

Each process connects to every node at the address that the coordinator has for it. One thread for each node asks it
every second whether it answers. All other threads rely on that: a call for a shop of a node that is down fails at once,
and the connections to it are cut, so that no thread waits for it.
"""

import bisect
import contextlib
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import psycopg
import structlog
from psycopg import Connection

from kalathi.marketplace.kernel.storage.changes import StorageError
from kalathi.marketplace.kernel.storage.database import Row
from kalathi.marketplace.kernel.storage.spread.hashing import hash_text

_log = structlog.get_logger("kalathi.database")

_ASK_SECONDS: Final = 1.0
_GUARD_SECONDS: Final = 0.5
# A node that has not answered for this long counts as down.
_PATIENCE_SECONDS: Final = 2.0
_MAP_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 2
_THREADS_OF_A_NODE: Final = 2
_PROBE: Final = "1:Καλάθι, a basket"

# One connection of Citus to each node, so that a transaction of one node has one part; and an end for statements that
# wait for another node.
OF_EACH_CONNECTION: Final = (
    "SET citus.max_adaptive_executor_pool_size = 1; SET citus.multi_shard_modify_mode = 'sequential';"
    " SET statement_timeout = 10000"
)
_SHARDS: Final = """
SELECT s.logicalrelid::text, s.shardid, s.shardminvalue::int, n.groupid, n.nodename, n.nodeport
FROM pg_dist_shard s JOIN pg_dist_placement p ON p.shardid = s.shardid JOIN pg_dist_node n ON n.groupid = p.groupid
WHERE s.shardminvalue IS NOT NULL AND n.noderole = 'primary' ORDER BY s.shardminvalue::int"""
# The copies of reference tables on the node that the URL names.
_COPIES: Final = """
SELECT s.logicalrelid::text, s.shardid FROM pg_dist_shard s JOIN pg_dist_partition t ON t.logicalrelid = s.logicalrelid
JOIN pg_dist_placement p ON p.shardid = s.shardid JOIN pg_dist_local_group g ON g.groupid = p.groupid
WHERE t.partmethod = 'n' AND t.repmodel = 't'"""
_COORDINATOR: Final = "SELECT groupid, nodename, nodeport FROM pg_dist_node WHERE groupid = 0 AND noderole = 'primary'"


class Node(NamedTuple):
    """A server of the cluster. The group of the coordinator is 0."""

    group: int
    host: str
    port: int


class ShardMap:
    """The shards of the tables: shard `n` of each table has the same range of hashes, and is on the same node."""

    def __init__(
        self,
        rows: Sequence[tuple[str, int, int, Node]],
        coordinator: Node | None,
        copies: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Each row is a shard: its table, id, lowest hash and node, in the order of the hashes. `copies` are the ids of
        the reference tables' copies on the node that the URL names."""
        self.coordinator = coordinator
        self.copies = copies
        self._lowest = sorted({row[2] for row in rows})
        places = {lowest: place for place, lowest in enumerate(self._lowest)}
        self._nodes: dict[int, Node] = {places[lowest]: node for _, _, lowest, node in rows}
        self._ids: dict[tuple[str, int], int] = {(table, places[lowest]): shard for table, shard, lowest, _ in rows}
        self.nodes = sorted(set(self._nodes.values()))

    def shard_of(self, value: str) -> int:
        """Return the place of the shard with this value of the distribution column."""
        return bisect.bisect_right(self._lowest, hash_text(value)) - 1

    def node_of(self, value: str) -> Node:
        """Return the node with this value."""
        return self._nodes[self.shard_of(value)]

    def shards_on(self, node: Node) -> list[int]:
        """Return the places of a node's shards."""
        return [place for place, at in self._nodes.items() if at == node]

    def id_of(self, table: str, shard: int) -> int:
        """Return the id of a table's shard; its table on the node is `<table>_<id>`."""
        return self._ids[table, shard]


def load_shards(connection: Connection[Any]) -> ShardMap:
    """Read the map from any node. Raises psycopg.Error, and StorageError if this server hashes texts differently."""
    row = connection.execute('SELECT hashtext(%s::text COLLATE "C")', [_PROBE]).fetchone()
    if row is None or row[0] != hash_text(_PROBE):
        raise StorageError("This PostgreSQL hashes texts in another way, so the nodes of shops are not known.")
    found = [
        (table, shard, lowest, Node(*node)) for table, shard, lowest, *node in connection.execute(_SHARDS).fetchall()
    ]
    first = connection.execute(_COORDINATOR).fetchone()
    copies = dict(connection.execute(_COPIES).fetchall())
    return ShardMap(found, Node(*first) if first else None, copies)


class NodeDownError(StorageError):
    """The node with the rows does not answer."""

    def __init__(self, node: Node) -> None:
        super().__init__(f"The database node {node.host}:{node.port} does not answer.")


def cut_all(connections: Iterable[Connection[Any]]) -> None:
    """Cut connections at which other threads may wait; these get an error at once."""
    for connection in tuple(connections):
        # A connection that another thread uses must not be closed here.
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)


class NodeLostError(NodeDownError):
    """The connection to the node was lost during a read. Another one may be had at once."""


class _Watched:
    """One node: whether it answers, its connections, and threads that read from it."""

    def __init__(self, node: Node, connect: Callable[[Node], Connection[Any]]) -> None:
        self.node = node
        self._connect = connect
        self._local = threading.local()
        self._open: weakref.WeakSet[Connection[Any]] = weakref.WeakSet()
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
        connection = self._connect(self.node)
        self._open.add(connection)
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
        cut_all(self._open)

    def close(self) -> None:
        """End the threads, and close the connections."""
        self._ends.set()
        self._hurry.set()
        self.cut()
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._thread.join()
        for connection in tuple(self._open):
            connection.close()

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
            try:
                if connection is None or connection.closed:
                    connection = self.connect()
                connection.execute("SELECT 1")
                self._answers = True
            except psycopg.Error:
                if connection is not None:
                    connection.close()
                self._answers = False
            self._asked_at = None


class Nodes:
    """The nodes as a process sees them. Its methods may be called on every thread."""

    def __init__(self, url: str, *, changed: Callable[[], None] = lambda: None) -> None:
        """Read the map, and begin to watch the nodes. `changed` is called on a thread when a node goes or comes back.
        Raises psycopg.Error, StorageError."""
        self._url = url
        self._changed = changed
        self._ends = threading.Event()
        with psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection:
            self.map = load_shards(connection)
        self._watched: dict[Node, _Watched] = {}
        self._watch_all()
        self._thread = threading.Thread(target=self._guard, name="kalathi-nodes", daemon=True)
        self._thread.start()

    def is_down(self, node: Node) -> bool:
        """Whether a node does not answer."""
        watched = self._watched.get(node)
        return watched is not None and watched.is_down()

    def check_all(self) -> None:
        """Raise NodeDownError if a node does not answer."""
        for node in self._watched:
            if self.is_down(node):
                raise NodeDownError(node)

    def doubt(self) -> None:
        """Ask all nodes now, because a statement has failed."""
        for watched in self._watched.values():
            watched.doubt()

    def connect(self, node: Node) -> Connection[Any]:
        """Return a new connection to a node. Raises NodeDownError."""
        return self._reach(node, _Watched.connect)

    def own_connection(self, node: Node) -> Connection[Any]:
        """Return this thread's connection to a node. Raises NodeDownError."""
        return self._reach(node, _Watched.own_connection)

    def connect_coordinator(self) -> Connection[Any]:
        """Return a new connection to the coordinator, also if the URL names another node. Raises StorageError."""
        coordinator = self.map.coordinator
        try:
            return psycopg.connect(self._url) if coordinator is None else self._connect(coordinator)
        except psycopg.Error as error:
            raise StorageError(str(error)) from error

    def read_each(self, statements: Mapping[Node, tuple[bytes, Sequence[Any]]], *, is_complete: bool) -> list[Row]:
        """Run a statement on each of these nodes, side by side, and return all rows. Nodes that do not answer are left
        out, or with `is_complete` raise NodeDownError."""
        asked: dict[Node, Future[list[Row]]] = {}
        for node, (text, values) in statements.items():
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
                self._read_map()
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
        for watched in self._watched.values():
            watched.close()

    def _connect(self, node: Node) -> Connection[Any]:
        connection = psycopg.connect(
            self._url, host=node.host, port=node.port, autocommit=True, connect_timeout=_CONNECT_SECONDS
        )
        connection.execute(OF_EACH_CONNECTION)
        return connection

    def _reach(self, node: Node, connect: Callable[[_Watched], Connection[Any]]) -> Connection[Any]:
        watched = self._watched.get(node)
        if watched is None or watched.is_down():
            raise NodeDownError(node)
        try:
            return connect(watched)
        except psycopg.Error as error:
            watched.doubt()
            raise NodeDownError(node) from error

    def _watch_all(self) -> None:
        present = set(self.map.nodes)
        gone = [watched for node, watched in self._watched.items() if node not in present]
        kept = {node: watched for node, watched in self._watched.items() if node in present}
        self._watched = kept | {node: _Watched(node, self._connect) for node in present - kept.keys()}
        for watched in gone:
            watched.close()

    def _guard(self) -> None:
        """Cut the connections of nodes that have gone down, and read the map again from time to time, because shards
        are moved while processes run."""
        read_at = time.monotonic()
        while not self._ends.wait(_GUARD_SECONDS):
            for watched in self._watched.values():
                self._note(watched)
            if time.monotonic() - read_at >= _MAP_SECONDS:
                read_at = time.monotonic()
                self._read_map()

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
        try:
            with psycopg.connect(self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection:
                self.map = load_shards(connection)
        except (psycopg.Error, StorageError) as error:
            _log.warning("map_of_nodes_not_read", error=str(error))
        else:
            self._watch_all()
