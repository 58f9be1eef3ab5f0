"""The SQL for the parts of a change set: compiled once per shape with SQLAlchemy Core, then run on the bare driver.

The logger `kalathi.statements` gets each new statement at the level DEBUG, which no setting of the product shows. The
tests check there that a statement names its shop (tests/statement_shapes.py).
"""

import logging
import re
from functools import cache, lru_cache
from typing import Any, Final

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, delete, insert, true, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from kalathi.marketplace.kernel.storage.changes import (
    Add,
    AtLeast,
    Guarded,
    GuardedMany,
    Holds,
    Insert,
    InsertMany,
    Update,
    UpdateMany,
)
from kalathi.marketplace.kernel.storage.schema import METADATA

Parameters = list[Any]
SQLITE: Final[Dialect] = sqlite.dialect(paramstyle="qmark")
_Conditions = tuple[tuple[str, bool], ...]
_log = logging.getLogger("kalathi.statements")


def insert_statement(part: Insert) -> tuple[str, Parameters]:
    """The SQL and its positional parameters."""
    row = part.row
    return _insert_sql(part.table, tuple(row)), list(row.values())


def make_guarded_statement(part: Guarded, dialect: Dialect = SQLITE) -> tuple[str, Parameters]:
    """The SQL and its positional parameters, in the order values, key, conditions."""
    key = tuple(part.key)
    when = tuple((name, isinstance(value, AtLeast)) for name, value in part.when.items()) if part.when else ()
    parameters: Parameters = []
    if isinstance(part, Update):
        values = tuple((name, isinstance(value, Add)) for name, value in part.values.items())
        sql = _update_sql(dialect, part.table, values, key, when)
        parameters += [value.amount if isinstance(value, Add) else value for value in part.values.values()]
    elif isinstance(part, Holds):
        sql = _holds_sql(dialect, part.table, key, when)
    else:
        sql = _delete_sql(dialect, part.table, key, when)
    parameters += part.key.values()
    if when:
        parameters += [value.amount if isinstance(value, AtLeast) else value for value in part.when.values()]
    return sql, parameters


def many_statement(part: GuardedMany) -> str:
    """Return SQLite's SQL for one row of the part. The row's values are its parameters."""
    when = tuple((name, False) for name in part.when)
    if isinstance(part, UpdateMany):
        return _update_sql(SQLITE, part.table, tuple((name, False) for name in part.values), part.key, when)
    return _delete_sql(SQLITE, part.table, part.key, when)


def insert_many_statement(part: InsertMany) -> str:
    """Return SQLite's SQL for one row of the part. The row's values are its parameters."""
    return _insert_sql(part.table, part.columns)


# Bounded, because an IN list makes a new text for each length.
@lru_cache(maxsize=1024)
def positional(sql: str, placeholder: str = "?") -> tuple[str, tuple[str, ...]]:
    """Return a read's SQL with positional parameters, and their names in order. Named parameters cost the driver 3 µs a
    call."""
    _log.debug("%s", sql)
    return re.sub(r":(\w+)", placeholder, sql), tuple(re.findall(r":(\w+)", sql))


@cache
def _insert_sql(table: str, columns: tuple[str, ...]) -> str:
    row: dict[str, BindParameter[Any]] = {name: bindparam(f"v_{name}") for name in columns}
    return _compile(SQLITE, insert(METADATA.tables[table]).values(row), columns)


@cache
def _update_sql(dialect: Dialect, table: str, values: _Conditions, key: tuple[str, ...], when: _Conditions) -> str:
    target = METADATA.tables[table]
    new: dict[str, ColumnElement[Any] | BindParameter[Any]] = {
        name: target.c[name] + bindparam(f"v_{name}", type_=target.c[name].type) if adds else bindparam(f"v_{name}")
        for name, adds in values
    }
    return _compile(
        dialect, update(target).values(new).where(_where(table, key, when)), tuple(name for name, _ in values)
    )


@cache
def _delete_sql(dialect: Dialect, table: str, key: tuple[str, ...], when: _Conditions) -> str:
    return _compile(dialect, delete(METADATA.tables[table]).where(_where(table, key, when)), ())


@cache
def _holds_sql(dialect: Dialect, table: str, key: tuple[str, ...], when: _Conditions) -> str:
    """Return an update that changes nothing, because drivers count the rows of updates only."""
    target = METADATA.tables[table]
    return _compile(dialect, update(target).values({key[0]: target.c[key[0]]}).where(_where(table, key, when)), ())


def _where(table: str, key: tuple[str, ...], when: _Conditions) -> ColumnElement[bool]:
    columns = METADATA.tables[table].c
    return and_(
        true(),  # An empty key means every row; Core leaves this out of the SQL otherwise.
        *(columns[name] == bindparam(f"k_{name}") for name in key),
        *(
            columns[name] >= bindparam(f"w_{name}") if at_least else columns[name] == bindparam(f"w_{name}")
            for name, at_least in when
        ),
    )


def _compile(dialect: Dialect, statement: ClauseElement, values: tuple[str, ...]) -> str:
    compiled = statement.compile(dialect=dialect)
    positions: list[str] = compiled.positiontup or []  # type: ignore[attr-defined]  # of SQLCompiler, not its base
    # Core writes SET columns in the table's own order; the parameters are given in the part's. Catch a mismatch here,
    # once per shape, where it would otherwise put a value into the wrong column.
    expected = [f"v_{name}" for name in values]
    if positions[: len(expected)] != expected:
        raise ValueError(f"Write the columns in the table's order: {positions} is not {expected}")
    sql = str(compiled)
    _log.debug("%s", sql)
    return sql
