"""The second forms of statements that Citus cannot run as they are, or runs at a higher price (docs/decisions/0069).

| statement | on one server | on several |
|---|---|---|
| shop of a token or a code, then its rows | a subquery in one statement | two statements |
| rows of several shops | a list | the same on each node, with its own shops |
| rows of several keys | a lateral join over arrays | the same on each node, over its own keys |
| search in all shards (`View.each_shard`) | as it is | on each node, once for each of its shards |
| several updates or deletes | over arrays | the same, and only in the shards of these shops |
| conditions without a change | over arrays | one by one |
| several inserts | from arrays | VALUES, because Citus copies the result of a SELECT |
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from kalathi.marketplace.kernel.storage.changes import Holds, Value
from kalathi.marketplace.kernel.storage.postgres_forms import (
    Shape,
    Statement,
    array_source,
    finish_batch,
    plain,
    plain_column,
    quoted,
    sql_type,
)
from kalathi.marketplace.kernel.storage.spread.shard_map import ShardMap
from kalathi.marketplace.kernel.storage.spread.tables import BY_COLUMN, REFERENCE
from kalathi.marketplace.kernel.storage.statements import positional

_LOOKUP: Final = re.compile(r"\(SELECT shop_id FROM (\w+) WHERE (\w+) = :(\w+)\)")
_FOUND: Final = "looked_up_shop_id"
_TABLE: Final = re.compile(rf"\b(FROM|JOIN) ({'|'.join(BY_COLUMN)})\b")
# The form that keeps one server from using the index of the key (webhooks/log.py). Citus would ask all shards.
UNINDEXED: Final = "shop_id || '' = "
_LIST: Final = re.compile(r"\bshop_id IN \((?::\w+(?:, )?)+\)")
# An equality with a parameter, by the column of distribution.
_PLACES: Final = {column: re.compile(rf"\b{column} = :(\w+)") for column in set(BY_COLUMN.values())}
_REFERENCE: Final = re.compile(rf"\b(FROM|JOIN) ({'|'.join(sorted(REFERENCE))})\b")
# Databases limit the parameters of a statement.
_MOST_PARAMETERS: Final = 30_000


class Lookup(NamedTuple):
    """The first of two statements: it finds the shop, which the second one names as the parameter `parameter`."""

    first: str
    second: str
    parameter: str = _FOUND


@lru_cache(maxsize=1024)
def split_lookup(sql: str) -> Lookup | None:
    """Return the two statements for one that looks its shop up; None for any other."""
    found = _LOOKUP.search(sql)
    if found is None:
        return None
    return Lookup(found.group(0)[1:-1], sql.replace(found.group(0), f":{_FOUND}"))


@lru_cache(maxsize=64)
def on_copies(sql: str, shard_map: ShardMap) -> str:
    """Return a statement about reference tables alone for their copies on the node that the URL names. PostgreSQL plans
    it by itself, which takes a third of the time of Citus (0.06 ms instead of 0.17)."""
    return _REFERENCE.sub(
        lambda found: (
            f"{found[1]} {found[2]}_{shard_map.copies[found[2]]}" if found[2] in shard_map.copies else found[0]
        ),
        sql,
    )


@lru_cache(maxsize=1024)
def find_place(sql: str) -> str | None:
    """Return the name of the parameter by which the rows of a statement are distributed; None if it names none, so that
    it may read several nodes."""
    tables = {found[2] for found in _TABLE.finditer(sql)}
    columns = {BY_COLUMN[table] for table in tables}
    if len(columns) != 1:
        return None
    named = set(_PLACES[columns.pop()].findall(sql))
    return named.pop() if len(named) == 1 else None


@lru_cache(maxsize=1024)
def find_list(sql: str) -> tuple[str, ...]:
    """Return the names of the parameters in a statement's list of shops; empty if it has none."""
    found = _LIST.search(sql)
    return tuple(re.findall(r":(\w+)", found[0])) if found else ()


@lru_cache(maxsize=4096)
def with_list(sql: str, names: tuple[str, ...]) -> str:
    """Return the statement with another list of shops."""
    return _LIST.sub(f"shop_id IN ({', '.join(f':{name}' for name in names)})", sql)


@lru_cache(maxsize=1024)
def reads_shards(sql: str) -> bool:
    """Whether a statement reads tables that are distributed by a column."""
    return _TABLE.search(sql) is not None


@lru_cache(maxsize=1024)
def on_shard(sql: str, shard: int, shard_map: ShardMap) -> str:
    """Return the statement for one shard's own tables on its node."""
    return _TABLE.sub(lambda found: f"{found[1]} {found[2]}_{shard_map.id_of(found[2], shard)}", sql)


@lru_cache(maxsize=256)
def on_shards(sql: str, shards: tuple[int, ...], shard_map: ShardMap) -> tuple[bytes, tuple[str, ...]]:
    """Return the statement over several shards of one node, and the names of its parameters."""
    text = " UNION ALL ".join(f"({on_shard(sql, shard, shard_map)})" for shard in shards)
    parts, names = positional(text, "%s")
    return parts.encode(), names


def for_keys(
    names: Sequence[str],
    by_shard: Mapping[int, Sequence[tuple[str | int, ...]]],
    sql: str,
    parameters: Mapping[str, Value],
    shard_map: ShardMap,
) -> Statement:
    """Return the statement for the keys of each of a node's shards."""
    texts: list[str] = []
    values: list[Any] = []
    for shard, keys in by_shard.items():
        types = tuple("bigint" if isinstance(value, int) else "text" for value in keys[0])
        text, others = _for_keys_of_shard(tuple(names), types, sql, shard, shard_map)
        texts.append(text)
        values += [plain_column(column) for column in zip(*keys, strict=True)]
        values += [plain(parameters[name]) for name in others]
    return " UNION ALL ".join(texts).encode(), values


@lru_cache(maxsize=1024)
def _for_keys_of_shard(
    names: tuple[str, ...], types: tuple[str, ...], sql: str, shard: int, shard_map: ShardMap
) -> tuple[str, tuple[str, ...]]:
    each = re.sub(rf":({'|'.join(names)})\b", r"k.\1", on_shard(sql, shard, shard_map))
    text, others = positional(each, "%s")
    arrays = ", ".join(f"%b::{type_}[]" for type_ in types)
    # OFFSET as in postgres.py.
    return f"(SELECT r.* FROM unnest({arrays}) k({', '.join(names)}) CROSS JOIN LATERAL ({text} OFFSET 0) r)", others  # noqa: S608  (names only)


class SpreadForms:
    """The writes of a group (`WriteForms`)."""

    def write_parts(self, shape: Shape, rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
        """See WriteForms."""
        kind, table, values, key, _ = shape
        column = BY_COLUMN.get(table)
        if column is None:
            yield _batch_sql(shape, ""), [plain_column(part) for part in zip(*rows, strict=True)]
        elif kind == Holds.__name__ or len(rows) == 1 or column not in key:
            for row in rows:
                ordered = row if kind == Holds.__name__ else (*row[1:], row[0])
                yield _single_sql(shape), [*map(plain, ordered)]
        else:
            at = 1 + len(values) + key.index(column)
            own = list({plain(row[at]) for row in rows})
            yield _batch_sql(shape, column), [*(plain_column(part) for part in zip(*rows, strict=True)), own]

    def write_inserts(self, table: str, names: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
        """See WriteForms."""
        at = 0
        while at < len(rows):
            # Powers of two, so that there are few different statements.
            count = 1 << (min(len(rows) - at, _MOST_PARAMETERS // len(names)).bit_length() - 1)
            some = rows[at : at + count]
            at += count
            yield _values_sql(table, names, count), [plain(value) for row in some for value in row]


@cache
def _batch_sql(shape: Shape, column: str) -> bytes:
    kind, table, values, key, when = shape
    conditions = [f"t.{name} = v.k_{name}" for name in key] + [f"t.{name} = v.w_{name}" for name in when]
    if column:
        conditions.append(f"t.{column} = ANY(%b::text[])")
    return finish_batch(kind, table, values, array_source(shape), " AND ".join(conditions))


@cache
def _single_sql(shape: Shape) -> bytes:
    """Return the statement for one row. The parameter for the place of its set is the first one of a condition, else
    the last one."""
    kind, table, values, key, when = shape
    where = " AND ".join(f"{name} = %b::{sql_type(table, name)}" for name in (*key, *when))
    place = "%b::bigint"
    if kind == "Holds":
        return f"SELECT {place} FROM {table} WHERE {where} FOR SHARE".encode()  # noqa: S608  (names only)
    if kind == "Delete":
        return f"DELETE FROM {table} WHERE {where} RETURNING {place}".encode()  # noqa: S608  (names only)
    new = ", ".join(f"{name} = %b::{sql_type(table, name)}" for name in values)
    return f"UPDATE {table} SET {new} WHERE {where} RETURNING {place}".encode()  # noqa: S608  (names only)


@cache
def _values_sql(table: str, names: tuple[str, ...], count: int) -> bytes:
    row = "(" + ", ".join(f"%b::{sql_type(table, name)}" for name in names) + ")"
    return f"INSERT INTO {table} ({quoted(names)}) VALUES {', '.join([row] * count)}".encode()  # noqa: S608  (names only)
