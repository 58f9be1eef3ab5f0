"""Whether a database is spread, and the statements that move its tables."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Final

from psycopg import Connection

from kalathi.marketplace.kernel.storage.spread.tables import BY_COLUMN, ON_COORDINATOR, REFERENCE

# Enough for as many nodes, and few enough that a search in all of them is quick.
SHARDS: Final = 32
# The table that the others are colocated with.
_FIRST: Final = "shops"
# Of Alembic; it must be readable on each node.
SHAPE: Final = "alembic_version"


class DistributeError(ValueError):
    """This database cannot be spread or used now; the message names the first step."""


class Target(StrEnum):
    """Where the rows of a table go."""

    SHARDS = "shards"
    EVERY_NODE = "every node"
    COORDINATOR = "coordinator"


def list_targets() -> Iterator[tuple[str, Target, str]]:
    """Return each table, where its rows go, and the column by which they are distributed, in the sequence in which the
    tables are moved."""
    yield _FIRST, Target.SHARDS, BY_COLUMN[_FIRST]
    for table, column in BY_COLUMN.items():
        if table != _FIRST:
            yield table, Target.SHARDS, column
    for table in sorted(REFERENCE):
        yield table, Target.EVERY_NODE, ""
    for table in (*sorted(ON_COORDINATOR), SHAPE):
        yield table, Target.COORDINATOR, ""


def make_statement(table: str, target: Target, column: str, shards: int) -> bytes:
    """Return the statement that moves a table."""
    if target is Target.EVERY_NODE:
        return f"SELECT create_reference_table('{table}')".encode()
    if target is Target.COORDINATOR:
        return f"SELECT citus_add_local_table_to_metadata('{table}')".encode()
    first = f"shard_count := {shards}, colocate_with := 'none'"
    where = first if table == _FIRST else f"colocate_with := '{_FIRST}'"
    return f"SELECT create_distributed_table('{table}', '{column}', {where})".encode()


def is_spread(connection: Connection[Any]) -> bool:
    """Whether the tables are spread. Raises DistributeError if `kalathi distribute` was interrupted."""
    moved = _list_moved(connection)
    wanted = {table for table, _, _ in list_targets()}
    if not moved & wanted:
        return False
    if wanted - moved:
        raise DistributeError(
            f"Some tables are spread over nodes, and {len(wanted - moved)} are not. Run `kalathi distribute` again; it"
            " goes on where it was interrupted."
        )
    return True


def check_coordinator(connection: Connection[Any]) -> None:
    """Raise DistributeError if this server is a node, where tables cannot be changed."""
    if has_citus(connection) and fetch(connection, "SELECT groupid FROM pg_dist_local_group")[0][0] != 0:
        raise DistributeError("This server is not the coordinator of its cluster. Name the coordinator.")


def distribute_new(connection: Connection[Any]) -> None:
    """Move the tables that a migration has created in a spread database, in its transaction."""
    moved = _list_moved(connection)
    if _FIRST not in moved:
        return
    for table, target, column in list_targets():
        if table not in moved:
            connection.execute(make_statement(table, target, column, SHARDS))


def has_citus(connection: Connection[Any]) -> bool:
    """Whether the database has the extension."""
    return bool(fetch(connection, "SELECT 1 FROM pg_extension WHERE extname = 'citus'"))


def fetch(connection: Connection[Any], sql: str, values: Sequence[Any] = ()) -> list[Any]:
    """Return the rows of a statement."""
    return connection.execute(sql.encode(), [*values]).fetchall()


def _list_moved(connection: Connection[Any]) -> set[str]:
    if not has_citus(connection):
        return set()
    return {row[0] for row in fetch(connection, "SELECT logicalrelid::text FROM pg_dist_partition")}
