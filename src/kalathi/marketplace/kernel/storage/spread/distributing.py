"""Spread the tables of a PostgreSQL database over the nodes of a Citus cluster, one table at a time.

Each table is moved in a transaction of its own. So after an interruption the same call goes on with the next table.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from kalathi.marketplace.kernel.storage.spread.targets import (
    SHAPE,
    SHARDS,
    DistributeError,
    Target,
    check_coordinator,
    fetch,
    has_citus,
    list_targets,
    make_statement,
)

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
AND COALESCE(backend_type, 'client backend') = 'client backend' AND application_name NOT LIKE 'citus%%'"""
_NODES: Final = """
SELECT groupid, nodename, nodeport, isactive, shouldhaveshards FROM pg_dist_node WHERE noderole = 'primary'
ORDER BY groupid"""


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


def make_plan(url: str, shape: str) -> Plan:
    """Return the plan of `distribute`. `shape` is that of this version (migrating.py). Raises DistributeError,
    psycopg.Error."""
    with closing(_connect(url)) as connection:
        return _plan(connection, shape)


def distribute(url: str, shape: str, *, shards: int = SHARDS, begun: Progress, ended: Progress) -> Plan:
    """Move each table that is not moved yet, and return the plan of before. `begun` and `ended` are called for each.
    No process of a marketplace may use the database meanwhile. Raises DistributeError, psycopg.Error."""
    with closing(_connect(url)) as connection:
        if not fetch(connection, "SELECT pg_try_advisory_lock(%s)", [_LOCK])[0][0]:
            raise DistributeError("Another `kalathi distribute` is running on this database.")
        plan = _plan(connection, shape)
        if plan.remaining and (others := fetch(connection, _OTHERS)[0][0]):
            raise DistributeError(
                f"{others} other connections use this database. Stop every process of Kalathi, and other programs, then"
                " try again."
            )
        for table in plan.remaining:
            begun(table)
            _move(connection, table, shards)
            ended(table)
        return plan


def _connect(url: str) -> Connection[Any]:
    return psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_SECONDS)


def _read_tables(connection: Connection[Any]) -> dict[str, tuple[str, int, int, int]]:
    """Return for each table its method of distribution (empty for none), rows, bytes, and bytes of its local rows."""
    return {row[0]: tuple(row[1:]) for row in fetch(connection, _TABLES)}


def _plan(connection: Connection[Any], shape: str) -> Plan:
    if not has_citus(connection):
        raise DistributeError(
            "This database has no Citus. Install it on each server, and run CREATE EXTENSION citus in this database on"
            " each of them (docs/scale.md)."
        )
    nodes = [ClusterNode(*row) for row in fetch(connection, _NODES)]
    _check_nodes(connection, nodes)
    present = _read_tables(connection)
    found = fetch(connection, "SELECT version_num FROM alembic_version") if SHAPE in present else []
    if not found or found[0][0] != shape:
        raise DistributeError("The tables are missing or of another version. Run `kalathi db upgrade` first.")
    tables = []
    for table, target, column in list_targets():
        method, rows, size, local_size = present[table]
        # The rows that were copied stay on this server until they are removed.
        is_done = bool(method) and not (local_size and target is not Target.COORDINATOR)
        tables.append(TablePlan(table, target, column, rows, size, is_done))
    return Plan(nodes, tables)


def _check_nodes(connection: Connection[Any], nodes: Sequence[ClusterNode]) -> None:
    check_coordinator(connection)
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
        connection.execute(make_statement(plan.table, plan.target, plan.column, shards))
    if plan.target is not Target.COORDINATOR:
        connection.execute("SELECT truncate_local_data_after_distributing_table(%s::regclass)", [plan.table])
    connection.execute(SQL("ANALYZE {}").format(Identifier(plan.table)))
