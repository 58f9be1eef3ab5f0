"""The SQL of a group's writes on PostgreSQL: many parts of one shape in one statement over arrays."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final, Protocol

from sqlalchemy import LargeBinary, Text

from kalathi.marketplace.kernel.storage.schema import METADATA

# The kind of a part, its table, and the names of its new values, its key and its conditions.
Shape = tuple[str, str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]
Statement = tuple[bytes, list[Any]]

_PLAIN_TYPES: Final = frozenset({str, int, bytes, type(None)})


class WriteForms(Protocol):
    """The statements of a group, as one database or another needs them."""

    def write_parts(self, shape: Shape, rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
        """Return the statements for guarded parts of one shape. Each row has the place of its change set, then its new
        values, key and conditions. The statements return the places of the parts that found their row."""
        ...

    def write_inserts(self, table: str, names: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
        """Return the statements that insert rows."""
        ...


class ArrayForms:
    """One statement for each shape, over arrays of all values."""

    def write_parts(self, shape: Shape, rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
        """See WriteForms."""
        yield _batch_sql(shape), [plain_column(column) for column in zip(*rows, strict=True)]

    def write_inserts(self, table: str, names: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> Iterator[Statement]:
        """See WriteForms."""
        yield _insert_sql(table, names), [plain_column(column) for column in zip(*rows, strict=True)]


@cache
def _batch_sql(shape: Shape) -> bytes:
    kind, table, values, key, when = shape
    source = array_source(shape)
    conditions = [f"t.{name} = v.k_{name}" for name in key] + [f"t.{name} = v.w_{name}" for name in when]
    return finish_batch(kind, table, values, source, " AND ".join(conditions))


def array_source(shape: Shape) -> str:
    """Return the rows `v` of a statement over arrays: `place`, then `s_`, `k_` and `w_` with the names of columns."""
    _, table, values, key, when = shape
    names = [f"s_{name}" for name in values] + [f"k_{name}" for name in key] + [f"w_{name}" for name in when]
    arrays = ", ".join(["%b::bigint[]", *(f"%b::{sql_type(table, name)}[]" for name in (*values, *key, *when))])
    return f"unnest({arrays}) AS v(place, {', '.join(names)})"


def finish_batch(kind: str, table: str, values: tuple[str, ...], source: str, where: str) -> bytes:
    """Return the statement of guarded parts over the rows of `source`."""
    if kind == "Holds":
        return f"SELECT v.place FROM {table} t, {source} WHERE {where} FOR SHARE OF t".encode()  # noqa: S608  (names only)
    if kind == "Delete":
        return f"DELETE FROM {table} t USING {source} WHERE {where} RETURNING v.place".encode()  # noqa: S608  (names only)
    new = ", ".join(f"{name} = v.s_{name}" for name in values)
    return f"UPDATE {table} t SET {new} FROM {source} WHERE {where} RETURNING v.place".encode()  # noqa: S608  (names only)


@cache
def _insert_sql(table: str, names: tuple[str, ...]) -> bytes:
    arrays = ", ".join(f"%b::{sql_type(table, name)}[]" for name in names)
    return f"INSERT INTO {table} ({quoted(names)}) SELECT * FROM unnest({arrays})".encode()  # noqa: S608  (names only)


def quoted(names: Sequence[str]) -> str:
    """Return a list of column names."""
    return ", ".join(f'"{name}"' for name in names)


def sql_type(table: str, name: str) -> str:
    """Return the type of a column. Without it, the driver would send texts as text, and search each value for
    characters to escape: twice the time."""
    kind = METADATA.tables[table].c[name].type
    if isinstance(kind, LargeBinary):
        return "bytea"
    return "text" if isinstance(kind, Text) else "bigint"


def plain_column(values: Sequence[Any]) -> list[Any]:
    """Return the plain values of an array. Most arrays have nothing else, and then need no look at each value."""
    if _PLAIN_TYPES.issuperset(map(type, values)):
        return list(values)
    return [plain(value) for value in values]


def plain(value: Any) -> Any:
    """Return the plain text of a StrEnum, because the driver chooses its dumper by class."""
    return str(value) if isinstance(value, str) else value
