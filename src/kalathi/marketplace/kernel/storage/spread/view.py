"""Reads of a spread database. The statements that Citus cannot run get their second forms here."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import Connection

from kalathi.marketplace.kernel.storage.changes import Value
from kalathi.marketplace.kernel.storage.database import Row, pad_rows
from kalathi.marketplace.kernel.storage.postgres import PostgresView, make_for_each
from kalathi.marketplace.kernel.storage.postgres_forms import plain
from kalathi.marketplace.kernel.storage.postgres_writing import is_lost
from kalathi.marketplace.kernel.storage.spread.nodes import NodeLostError, Nodes
from kalathi.marketplace.kernel.storage.spread.shard_map import Node, ShardMap
from kalathi.marketplace.kernel.storage.spread.statements import (
    UNINDEXED,
    find_list,
    find_place,
    for_keys,
    on_copies,
    on_shards,
    reads_shards,
    split_lookup,
    with_list,
)
from kalathi.marketplace.kernel.storage.statements import positional


class SpreadView(PostgresView):
    """A view whose statements run on the node of their shop, or else on the node that the URL names. Only statements
    about shops of one node are of one snapshot."""

    __slots__ = ("_nodes",)

    def __init__(self, connection: Connection[Any], nodes: Nodes, *, snapshot: bool) -> None:
        super().__init__(connection, snapshot=snapshot)
        self._nodes = nodes

    def all(self, sql: str, parameters: Mapping[str, Value]) -> list[Row]:
        """See View. Raises NodeDownError if the statement names a shop on a node that does not answer."""
        lookup = split_lookup(sql)
        if lookup is not None:
            found = self.all(on_copies(lookup.first, self._nodes.map), parameters)
            if not found:
                return []
            sql, parameters = lookup.second, {**parameters, lookup.parameter: found[0][0]}
        sql = sql.replace(UNINDEXED, "shop_id = ")
        if listed := find_list(sql):
            return self._of_shops(sql, parameters, listed)
        place = find_place(sql)
        if place is not None:
            return self._on_node(self._nodes.map.node_of(plain(parameters[place])), sql, parameters)
        if reads_shards(sql):
            self._nodes.check_all()
        text, names = positional(sql, "%s")
        return self._fetch(self._connection, text.encode(), [parameters[name] for name in names])

    def _of_shops(self, sql: str, parameters: Mapping[str, Value], listed: Sequence[str]) -> list[Row]:
        by_node: dict[Node, list[str]] = {}
        for name in listed:
            by_node.setdefault(self._nodes.map.node_of(plain(parameters[name])), []).append(name)
        rows: list[Row] = []
        for node, names in by_node.items():
            rows += self._on_node(node, with_list(sql, tuple(pad_rows(names))), parameters)
        return rows

    def _on_node(self, node: Node, sql: str, parameters: Mapping[str, Value]) -> list[Row]:
        text, names = positional(sql, "%s")
        return self._fetch_on(node, text.encode(), [parameters[name] for name in names])

    def _fetch_on(self, node: Node, text: bytes, values: list[Any]) -> list[Row]:
        connection = self._nodes.own_connection(node)
        try:
            return self._fetch(connection, text, values)
        except psycopg.Error as error:
            if not is_lost(connection, error):
                raise
            connection.close()
            self._nodes.doubt()
            raise NodeLostError(node) from error

    def for_each(
        self,
        names: Sequence[str],
        keys: Sequence[tuple[str | int, ...]],
        sql: str,
        parameters: Mapping[str, Value],
        *,
        is_complete: bool = True,
    ) -> list[Row]:
        """See View. Keys with a shop are read on their nodes."""
        if "shop_id" not in names:
            text, values = make_for_each(names, keys, sql, parameters)
            place = find_place(sql)
            if place is None or place in names:
                self._nodes.check_all()
                return self._fetch(self._connection, text, values)
            return self._fetch_on(self._nodes.map.node_of(plain(parameters[place])), text, values)
        shard_map, at = self._nodes.map, list(names).index("shop_id")
        by_node: dict[Node, dict[int, list[tuple[str | int, ...]]]] = {}
        for key in keys:
            shop_id = plain(key[at])
            by_shard = by_node.setdefault(shard_map.node_of(shop_id), {})
            by_shard.setdefault(shard_map.shard_of(shop_id), []).append(key)
        statements = {node: for_keys(names, by_shard, sql, parameters, shard_map) for node, by_shard in by_node.items()}
        return self._nodes.read_each(statements, is_complete=is_complete)

    def each_shard(self, sql: str, parameters: Mapping[str, Value], *, is_complete: bool = False) -> list[Row]:
        """See View. The nodes have no common snapshot. So a complete answer is read twice: work that moves from one
        node to another between two reads is then in one of them."""
        shard_map = self._nodes.map
        statements = {node: _over_shards(sql, parameters, node, shard_map) for node in shard_map.nodes}
        rows = self._nodes.read_each(statements, is_complete=is_complete)
        return rows + self._nodes.read_each(statements, is_complete=True) if is_complete else rows


def _over_shards(
    sql: str, parameters: Mapping[str, Value], node: Node, shard_map: ShardMap
) -> tuple[bytes, list[Value]]:
    text, names = on_shards(sql, tuple(shard_map.shards_on(node)), shard_map)
    return text, [plain(parameters[name]) for name in names]
