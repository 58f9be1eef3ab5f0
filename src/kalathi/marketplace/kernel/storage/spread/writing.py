"""Write groups to a spread database: one lane for each node, so that a node that is down holds up no other.

A change set goes to the lane of its node, and a group is then a transaction of one node. The few sets that change rows
on several nodes share one more lane, whose transactions need a two-phase commit.

The mark of a group (`postgres_writing.py`) is a row on the group's own node, in the same transaction. Citus commits on
a single node before the coordinator does, and only warns if the answer is lost; so a warning, like a lost connection,
makes the writer look for the mark. It waits there for the row's lock: the transaction may still be running.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.errors import Diagnostic

from kalathi.marketplace.kernel.clock import real_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Holds, Insert, InsertMany, Part, StorageError
from kalathi.marketplace.kernel.storage.group import GroupWriter, Outcomes
from kalathi.marketplace.kernel.storage.postgres_forms import plain
from kalathi.marketplace.kernel.storage.postgres_sending import find_refused, list_kept, send_guarded, send_inserts
from kalathi.marketplace.kernel.storage.postgres_writing import MARKS_KEPT_MILLIS, LostError, PostgresWriter, is_lost
from kalathi.marketplace.kernel.storage.spread.nodes import NodeDownError, Nodes
from kalathi.marketplace.kernel.storage.spread.shard_map import Node, ShardMap
from kalathi.marketplace.kernel.storage.spread.statements import SpreadForms
from kalathi.marketplace.kernel.storage.spread.tables import BY_COLUMN, ON_COORDINATOR

# The lane of a change set: its node, or one of these.
COORDINATOR: Final = "coordinator"
SEVERAL: Final = "several"


class Fenced(NamedTuple):
    """The lane of results at a node: they have conditions on the coordinator, and must not hold up other sets when it
    does not answer."""

    node: Node


Lane = Node | Fenced | str

_FIRST_MARK: Final = "INSERT INTO node_marks (writer, mark, at) VALUES (%s, 0, %s) ON CONFLICT (writer) DO NOTHING"
_MARK: Final = (
    "INSERT INTO node_marks (writer, mark, at) VALUES (%s, %s, %s)"
    " ON CONFLICT (writer) DO UPDATE SET mark = EXCLUDED.mark, at = EXCLUDED.at"
)
_MARKED: Final = "SELECT mark FROM node_marks WHERE writer = %s FOR UPDATE"
_FORGET_MARKS: Final = "DELETE FROM node_marks WHERE at < %s"
_FIND_MARK_SECONDS: Final = 10.0
_ASK_AGAIN_SECONDS: Final = 0.2
# Errors of connections, resources and the server itself, after which a sent COMMIT may have succeeded.
_UNCERTAIN: Final = ("08", "53", "57", "58", "XX")


def choose_lane(changes: ChangeSet, node_of: Callable[[str], Node]) -> Lane:
    """Return the lane of a change set."""
    nodes: set[Node] = set()
    of_coordinator = is_fenced = of_all = False
    for part in _list_parts(changes):
        column = BY_COLUMN.get(part.table)
        if column is not None:
            values = list_values(part, column)
            of_all |= values is None
            nodes.update(map(node_of, values or ()))
        elif part.table in ON_COORDINATOR:
            # A condition changes nothing, so it does not make a second node of the transaction.
            is_fenced = True
            of_coordinator |= not isinstance(part, Holds)
        else:
            of_all = True
    if of_all or len(nodes) > 1 or (nodes and of_coordinator):
        return SEVERAL
    if not nodes:
        return COORDINATOR
    return Fenced(nodes.pop()) if is_fenced else nodes.pop()


def list_nodes(changes: ChangeSet, shard_map: ShardMap) -> set[Node]:
    """Return the nodes that must answer if a change set is to be written, with the coordinator."""
    nodes: set[Node] = set()
    for part in _list_parts(changes):
        column = BY_COLUMN.get(part.table)
        values = list_values(part, column) if column is not None else None
        if values is not None:
            nodes.update(map(shard_map.node_of, values))
        elif part.table in ON_COORDINATOR:
            nodes |= {shard_map.coordinator} if shard_map.coordinator else set()
        else:
            nodes.update(shard_map.nodes)
    return nodes


def list_values(part: Part, column: str) -> set[str] | None:
    """Return a part's values of the distribution column; None if it does not name one."""
    if isinstance(part, Insert):
        return {plain(part.row[column])}
    if isinstance(part, InsertMany):
        at = part.columns.index(column)
        return {plain(row[at]) for row in part.rows}
    if isinstance(part.key, tuple):
        if column not in part.key:
            return None
        at = len(getattr(part, "values", ())) + part.key.index(column)
        return {plain(row[at]) for row in part.rows}
    return {plain(part.key[column])} if column in part.key else None


def _list_parts(changes: ChangeSet) -> Iterable[Part]:
    return (*changes.guarded, *changes.guarded_many, *changes.inserts, *changes.inserts_many)


class NodeWriter(PostgresWriter):
    """The writer of one lane."""

    def __init__(self, connect: Callable[[], Connection[Any]], nodes: Nodes, lane: Lane) -> None:
        super().__init__(self._connect_and_listen, SpreadForms())
        self._connect_bare = connect
        self._nodes = nodes
        self._lane = lane
        self._own_node = lane if isinstance(lane, Node) else lane.node if isinstance(lane, Fenced) else None
        self._names: dict[Node, str] = {}
        self._present: set[str] = set()
        self._warnings = 0

    def write(self, sets: Sequence[ChangeSet]) -> list[Exception | None]:
        """See PostgresWriter. Sets that need a node which is known to be down are refused without an attempt."""
        outcomes: list[Exception | None] = [self._find_refusal(changes) for changes in sets]
        possible = [place for place, refusal in enumerate(outcomes) if refusal is None]
        if possible:
            written = super().write([sets[place] for place in possible])
            for place, outcome in zip(possible, written, strict=True):
                outcomes[place] = outcome
            if any(isinstance(outcome, StorageError) for outcome in written):
                self._nodes.doubt()
        return outcomes

    def _find_refusal(self, changes: ChangeSet) -> Exception | None:
        nodes = {self._lane} if isinstance(self._lane, Node) else list_nodes(changes, self._nodes.map)
        down = self._nodes.find_down(nodes)
        return None if down is None else NodeDownError(down)

    def _write_group(self, connection: Connection[Any], group: Sequence[ChangeSet]) -> tuple[list[int], bool]:
        name = self._name_mark(connection, group)
        sent_name: str | None = None
        refused: list[int] = []
        warnings = self._warnings
        try:
            with connection.pipeline():
                connection.execute("BEGIN")
                # First, because after a statement of one shard on its own node, Citus runs all others of the
                # transaction there as well, and not over connections to itself, which have transactions of their own.
                connection.execute(_MARK, [name, self._mark, real_millis()])
                sent = send_guarded(connection, group, self._forms)
            refused, again = find_refused(group, sent)
            if again:
                connection.execute("ROLLBACK")
                return refused, False
            with connection.pipeline():
                send_inserts(connection, list_kept(group, refused), self._forms)
                sent_name = name
                connection.execute("COMMIT")
        except psycopg.Error as error:
            if is_lost(connection, error):
                raise LostError(sent_name, refused) from error
            is_uncertain = sent_name is not None and (error.sqlstate or "").startswith(_UNCERTAIN)
            if is_uncertain and self._has_happened(name, 0):
                return refused, True
            raise
        if self._warnings > warnings:
            raise LostError(name, refused)
        return refused, True

    def _forget_marks(self, connection: Connection[Any]) -> None:
        """Our names are new; `Lanes.forget_marks` deletes those of ended processes."""

    def _connect_and_listen(self) -> Connection[Any]:
        connection = self._connect_bare()
        connection.add_notice_handler(self._note_notice)
        return connection

    def _note_notice(self, notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings += 1

    def _name_mark(self, connection: Connection[Any], group: Sequence[ChangeSet]) -> str:
        """Return the name of our mark on a node of the group, whose row exists."""
        node = self._own_node or self._find_node(group)
        name = self._names.get(node, "")
        if not name or self._nodes.map.node_of(name) != node:
            # Draw names until one is on the node. A name has a shard, as a shop has.
            while self._nodes.map.node_of(name := secrets.token_hex(8)) != node:
                pass
            self._names[node] = name
        if name not in self._present:
            connection.execute(_FIRST_MARK, [name, real_millis()])
            self._present.add(name)
        return name

    def _find_node(self, group: Sequence[ChangeSet]) -> Node:
        for changes in group:
            for part in _list_parts(changes):
                values = list_values(part, BY_COLUMN[part.table]) if part.table in BY_COLUMN else None
                if values:
                    return self._nodes.map.node_of(min(values))
        nodes = self._nodes.map.nodes
        return next((node for node in nodes if not self._nodes.is_down(node)), nodes[0])

    def _has_happened(self, transaction: str, pid: int) -> bool:
        """Return whether the group with the mark of this name is on disk. Raises StorageError if the node does not
        answer within ten seconds."""
        del pid
        ends_at = time.monotonic() + _FIND_MARK_SECONDS
        self.close()
        while True:
            try:
                connection = self._connection = self._connect()
                # A mark that was deleted for its age cannot be waited for, but the key of a new one can.
                connection.execute(_FIRST_MARK, [transaction, real_millis()])
                row = connection.execute(_MARKED, [transaction]).fetchone()
                return row is not None and row[0] == self._mark
            except (psycopg.Error, StorageError) as error:
                self.close()
                if time.monotonic() > ends_at:
                    raise StorageError(str(error)) from error
            time.sleep(_ASK_AGAIN_SECONDS)


class Lanes:
    """The writers of a process: one for each node, one for the coordinator, and one for sets of several nodes."""

    def __init__(
        self,
        nodes: Nodes,
        make: Callable[[PostgresWriter], GroupWriter],
        connect: Callable[[], Connection[Any]],
        connect_coordinator: Callable[[], Connection[Any]],
    ) -> None:
        """`make` makes the group writer around a lane's writer; `connect` connects to the node that the URL names."""
        self._nodes = nodes
        self._make = make
        self._connect = connect
        self._connect_coordinator = connect_coordinator
        self._lanes: dict[Lane, GroupWriter] = {}
        self._writers: list[PostgresWriter] = []
        self.is_closed = False

    def waiting(self) -> int:
        """Return the number of waiting callers."""
        return sum(lane.waiting() for lane in self._lanes.values())

    def forget_marks(self) -> None:
        """Delete the marks of processes that ended long ago; not if a node is down now."""
        with contextlib.suppress(psycopg.Error, StorageError), self._connect() as connection:
            connection.execute(_FORGET_MARKS, [real_millis() - MARKS_KEPT_MILLIS])

    async def commit(self, sets: Sequence[ChangeSet]) -> Outcomes:
        """Write each set in its lane. See GroupWriter."""
        node_of = self._nodes.map.node_of
        chosen = [choose_lane(changes, node_of) for changes in sets]
        if len(set(chosen)) == 1:
            return await self._lane(chosen[0]).commit(sets)
        by_lane: dict[Lane, list[int]] = {}
        for place, lane in enumerate(chosen):
            by_lane.setdefault(lane, []).append(place)
        written = await asyncio.gather(
            *(self._lane(lane).commit([sets[place] for place in places]) for lane, places in by_lane.items())
        )
        outcomes: Outcomes = [None] * len(sets)
        for places, some in zip(by_lane.values(), written, strict=True):
            for place, outcome in zip(places, some, strict=True):
                outcomes[place] = outcome
        return outcomes

    async def close(self) -> None:
        """Write all waiting sets, then end the threads and close the connections."""
        self.is_closed = True
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))
        for writer in self._writers:
            writer.close()

    def _lane(self, lane: Lane) -> GroupWriter:
        writer = self._lanes.get(lane)
        if writer is None:
            bare: PostgresWriter
            if isinstance(lane, Node | Fenced):
                node = lane if isinstance(lane, Node) else lane.node
                bare = NodeWriter(partial(self._nodes.connect, node), self._nodes, lane)
            elif lane == SEVERAL:
                bare = NodeWriter(self._connect, self._nodes, lane)
            else:
                bare = PostgresWriter(self._connect_coordinator, SpreadForms())
            self._writers.append(bare)
            writer = self._lanes[lane] = self._make(bare)
        return writer
