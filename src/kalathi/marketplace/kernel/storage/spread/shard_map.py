"""The shards of a spread database, and the nodes that have them."""

import bisect
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from psycopg import Connection

from kalathi.marketplace.kernel.storage.changes import StorageError
from kalathi.marketplace.kernel.storage.spread.hashing import hash_text
from kalathi.marketplace.kernel.storage.spread.tables import BY_COLUMN

_PROBE: Final = "1:Καλάθι, a basket"

_SHARDS: Final = """
SELECT s.logicalrelid::text, s.shardid, s.shardminvalue::int, n.groupid, n.nodename, n.nodeport
FROM pg_dist_shard s JOIN pg_dist_placement p ON p.shardid = s.shardid JOIN pg_dist_node n ON n.groupid = p.groupid
WHERE s.logicalrelid::text = ANY(%s) AND n.noderole = 'primary' ORDER BY s.shardminvalue::int"""
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
    rows = connection.execute(_SHARDS, [list(BY_COLUMN)]).fetchall()
    found = [(table, shard, lowest, Node(*node)) for table, shard, lowest, *node in rows]
    first = connection.execute(_COORDINATOR).fetchone()
    copies = dict(connection.execute(_COPIES).fetchall())
    return ShardMap(found, Node(*first) if first else None, copies)
