"""Spread the tables of a PostgreSQL database over the nodes of a Citus cluster, one table at a time.

Each table is moved in a transaction of its own. So after an interruption the same call goes on with the next table.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from enum import StrEnum
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from kalathi.marketplace.kernel.storage.migrating import HEAD
from kalathi.marketplace.kernel.storage.spread.tables import BY_COLUMN, ON_COORDINATOR, REFERENCE

SHARDS: Final = 64
# The table that the others are colocated with.
_FIRST: Final = "shops"
# Of Alembic; it must be readable on each node.
_SHAPE: Final = "alembic_version"
# Any number that no other program uses for its own lock on this database.
_LOCK: Final = 0x6B616C73707264
_CONNECT_SECONDS: Final = 10

_TABLES: Final = """
SELECT c.relname, COALESCE(p.partmethod, ''), GREATEST(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid),
  pg_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_dist_partition p ON p.logicalrelid = c.oid
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')"""
_OTHERS: Final = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
AND backend_type = 'client backend' AND application_name NOT LIKE 'citus%%'"""
_NODES: Final = """
SELECT groupid, nodename, nodeport, isactive, shouldhaveshards FROM pg_dist_node WHERE noderole = 'primary'
ORDER BY groupid"""


class DistributeError(Exception):
    """The database cannot be spread now; the message says what to do first."""


class Target(StrEnum):
    """Where the rows of a table go."""

    SHARDS = "shards"
    EVERY_NODE = "every node"
    COORDINATOR = "coordinator"


class TablePlan(NamedTuple):
    """A table, where its rows go (by this column, if to shards), an estimate of its rows, its bytes on this server, and
    whether it is there already."""

    table: str
    target: Target
    column: str
    rows: int
    size: int
    is_done: bool


class ClusterNode(NamedTuple):
    """A server of the cluster; group 0 is the coordinator."""

    group: int
    host: str
    port: int
    is_active: bool
    has_shards: bool


class Plan(NamedTuple):
    """The nodes and the tables in their sequence."""

    nodes: list[ClusterNode]
    tables: list[TablePlan]

    @property
    def remaining(self) -> list[TablePlan]:
        """The tables that are still to be moved."""
        return [plan for plan in self.tables if not plan.is_done]


Progress = Callable[[TablePlan], None]


def make_plan(url: str) -> Plan:
    """Return what `distribute` would do. Raises DistributeError, psycopg.Error."""
    with closing(_connect(url)) as connection:
        return _plan(connection)


def distribute(url: str, *, shards: int = SHARDS, begun: Progress, ended: Progress) -> Plan:
    """Move each table that is not moved yet, and return the plan of before. `begun` and `ended` are called for each.
    No process of a marketplace may use the database meanwhile. Raises DistributeError, psycopg.Error."""
    with closing(_connect(url)) as connection:
        if not _fetch(connection, "SELECT pg_try_advisory_lock(%s)", [_LOCK])[0][0]:
            raise DistributeError("Another `kalathi distribute` is running on this database.")
        plan = _plan(connection)
        if plan.remaining and (others := _fetch(connection, _OTHERS)[0][0]):
            raise DistributeError(
                f"{others} other connections use this database. Stop every process of Kalathi, and other programs, then"
                " try again."
            )
        for table in plan.remaining:
            begun(table)
            _move(connection, table, shards)
            ended(table)
        return plan


def distribute_new(connection: Connection[Any]) -> None:
    """Move tables that a migration has created in a spread database, in its transaction."""
    present = _read_tables(connection)
    for table, target, column in _list_targets():
        if table in present and not present[table][0]:
            for statement in _statements(table, target, column, SHARDS):
                connection.execute(statement)


def is_spread(connection: Connection[Any]) -> bool:
    """Whether the tables are spread. Raises DistributeError if `kalathi distribute` was interrupted, or if this server
    is not the coordinator and the tables are not spread."""
    if not _has_citus(connection):
        return False
    moved = {row[0] for row in _fetch(connection, "SELECT logicalrelid::text FROM pg_dist_partition")}
    wanted = {table for table, _, _ in _list_targets()}
    if not moved & wanted:
        return False
    if wanted - moved:
        raise DistributeError(
            f"Some tables are spread over nodes, and {len(wanted - moved)} are not. Run `kalathi distribute` again; it"
            " goes on where it was interrupted."
        )
    return True


def _list_targets() -> Iterator[tuple[str, Target, str]]:
    yield _FIRST, Target.SHARDS, BY_COLUMN[_FIRST]
    for table, column in BY_COLUMN.items():
        if table != _FIRST:
            yield table, Target.SHARDS, column
    for table in sorted(REFERENCE):
        yield table, Target.EVERY_NODE, ""
    for table in (*sorted(ON_COORDINATOR), _SHAPE):
        yield table, Target.COORDINATOR, ""


def _connect(url: str) -> Connection[Any]:
    return psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_SECONDS)


def _fetch(connection: Connection[Any], sql: str, values: Sequence[Any] = ()) -> list[Any]:
    return connection.execute(sql.encode(), [*values]).fetchall()


def _has_citus(connection: Connection[Any]) -> bool:
    return bool(_fetch(connection, "SELECT 1 FROM pg_extension WHERE extname = 'citus'"))


def _read_tables(connection: Connection[Any]) -> dict[str, tuple[str, int, int, int]]:
    """Return for each table its method of distribution (empty for none), rows, bytes, and bytes of its local rows."""
    return {row[0]: tuple(row[1:]) for row in _fetch(connection, _TABLES)}


def _plan(connection: Connection[Any]) -> Plan:
    if not _has_citus(connection):
        raise DistributeError(
            "This database has no Citus. Install it on each server, and run CREATE EXTENSION citus in this database on"
            " each of them (docs/scale.md)."
        )
    nodes = [ClusterNode(*row) for row in _fetch(connection, _NODES)]
    _check_nodes(connection, nodes)
    present = _read_tables(connection)
    shape = _fetch(connection, "SELECT version_num FROM alembic_version") if _SHAPE in present else []
    if not shape or shape[0][0] != HEAD:
        raise DistributeError("The tables are missing or of another version. Run `kalathi db upgrade` first.")
    tables = []
    for table, target, column in _list_targets():
        method, rows, size, local_size = present[table]
        # The rows that were copied stay on this server until they are removed.
        is_done = bool(method) and not (local_size and target is not Target.COORDINATOR)
        tables.append(TablePlan(table, target, column, rows, size, is_done))
    return Plan(nodes, tables)


def _check_nodes(connection: Connection[Any], nodes: Sequence[ClusterNode]) -> None:
    if _fetch(connection, "SELECT groupid FROM pg_dist_local_group")[0][0] != 0:
        raise DistributeError("This server is not the coordinator of its cluster. Name the coordinator.")
    if not any(node.group == 0 for node in nodes):
        raise DistributeError(
            "The coordinator is not in the list of nodes, so small tables cannot be read on the others. Run this on it,"
            " with the address at which the others reach it: SELECT citus_set_coordinator_host('HOST', PORT);"
        )
    if not any(node.has_shards and node.is_active for node in nodes):
        raise DistributeError(
            "The cluster has no node for shops. Run this on the coordinator for each: SELECT citus_add_node('HOST',"
            " PORT);"
        )


def _move(connection: Connection[Any], plan: TablePlan, shards: int) -> None:
    if not _read_tables(connection)[plan.table][0]:
        for statement in _statements(plan.table, plan.target, plan.column, shards):
            connection.execute(statement)
    if plan.target is not Target.COORDINATOR:
        connection.execute("SELECT truncate_local_data_after_distributing_table(%s::regclass)", [plan.table])
    connection.execute(SQL("ANALYZE {}").format(Identifier(plan.table)))


def _statements(table: str, target: Target, column: str, shards: int) -> Iterator[bytes]:
    if target is Target.EVERY_NODE:
        yield f"SELECT create_reference_table('{table}')".encode()
    elif target is Target.COORDINATOR:
        yield f"SELECT citus_add_local_table_to_metadata('{table}')".encode()
    else:
        where = (
            f"shard_count := {shards}, colocate_with := 'none'" if table == _FIRST else f"colocate_with := '{_FIRST}'"
        )
        yield f"SELECT create_distributed_table('{table}', '{column}', {where})".encode()
