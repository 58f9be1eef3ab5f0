"""Write a group of change sets on PostgreSQL, in one transaction and two round trips.

The first round trip sends BEGIN, the query for the transaction's id, and every update and delete. The second sends the
inserts and COMMIT, after all row counts are known. Parts of one shape, from all sets, become one statement over arrays,
and the rows that it returns show which parts found their row. Only counters, whose rows several sets may change, are
sent one by one. For example, thirty-two accepts need seven statements instead of 160.

A set whose condition does not hold leaves the group. If it has already changed a row, the transaction is rolled back,
and the remaining sets run again. After any other SQL error the sets run one by one, so that each gets its own outcome.
After a deadlock or a serialization error the group runs again. If the connection is lost before COMMIT is sent, the
group runs again on another one. If it is lost later, the group's mark shows whether the group was written.
"""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import Connection, Cursor
from sqlalchemy import LargeBinary, Text
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.engine import Dialect

from kalathi.marketplace.kernel.clock import real_millis
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.refusals import UnkeepableCharacter
from kalathi.marketplace.kernel.storage.changes import (
    Add,
    AtLeast,
    ChangeSet,
    ConditionFailedError,
    Guarded,
    GuardedMany,
    Holds,
    StorageError,
    Update,
    UpdateMany,
)
from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.marketplace.kernel.storage.statements import make_guarded_statement

# The exception reports an aborted pipeline; the driver would log it as well.
logging.getLogger("psycopg.pq").setLevel(logging.ERROR)
logging.getLogger("psycopg").setLevel(logging.ERROR)

_DIALECT: Final[Dialect] = dialect(paramstyle="format")  # type: ignore[no-untyped-call]  # SQLAlchemy gives no types here
_MOST_RERUNS: Final = 20
_ASK_AGAIN_SECONDS: Final = 0.05
_RERUN = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)

Shape = tuple[str, str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]


class _LostError(Exception):
    """Internal: the connection broke. `transaction` is the id of a transaction whose COMMIT was sent, and may have
    succeeded; None before that."""

    def __init__(self, transaction: str | None) -> None:
        self.transaction = transaction


# One row for each writing process: the number of its latest group. If the answer to COMMIT is lost, this row says
# whether the group is on disk. Rows of ended processes are deleted after some days.
_MARK: Final = (
    "INSERT INTO commit_marks (writer, mark, at) VALUES (%s, %s, %s)"
    " ON CONFLICT (writer) DO UPDATE SET mark = EXCLUDED.mark, at = EXCLUDED.at"
)
_MARKED: Final = "SELECT mark FROM commit_marks WHERE writer = %s"
_FORGET_MARKS: Final = "DELETE FROM commit_marks WHERE at < %s"
_MARKS_KEPT_MILLIS: Final = 7 * 86_400_000


class _Effect(NamedTuple):
    """The effect of a group's statements, by set: how many parts held, and whether any row was changed."""

    held: list[int]
    changed: list[bool]


class PostgresWriter:
    """Write groups over one connection, and open a new one when it is lost."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        """`connect` waits for the server up to its time limit, then raises StorageError."""
        self._connect = connect
        self._connection: Connection | None = None
        self._name = secrets.token_hex(8)
        self._mark = 0

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def write(self, sets: Sequence[ChangeSet]) -> list[Exception | None]:
        """Write the sets and return for each None if it is on disk, else the reason."""
        outcomes: list[Exception | None] = [None] * len(sets)
        remaining = list(range(len(sets)))
        for _ in range(_MOST_RERUNS):
            if not remaining:
                break
            group = [sets[place] for place in remaining]
            try:
                refused, ended = self._attempt(group)
            except StorageError as error:
                return [error if place in remaining else outcome for place, outcome in enumerate(outcomes)]
            except Exception as error:  # noqa: BLE001  (any error is an outcome for its caller; the thread must live on)
                return self._one_by_one(sets, remaining, outcomes, error)
            for number in refused:
                outcomes[remaining[number]] = ConditionFailedError()
            remaining = [] if ended else [place for place in remaining if outcomes[place] is None]
        else:
            for place in remaining:
                outcomes[place] = StorageError("The transaction was disturbed by others again and again.")
        return outcomes

    def _one_by_one(
        self, sets: Sequence[ChangeSet], places: list[int], outcomes: list[Exception | None], error: Exception
    ) -> list[Exception | None]:
        if len(places) == 1:
            outcomes[places[0]] = _as_outcome(error)
        else:
            for place in places:
                outcomes[place] = self.write([sets[place]])[0]
        return outcomes

    def _attempt(self, group: Sequence[ChangeSet]) -> tuple[list[int], bool]:
        """Write a group once. Return the places of the refused sets, and whether the others are on disk; if not, they
        must run again."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        connection = self._connection
        self._mark += 1
        try:
            if self._mark == 1:
                connection.execute(_FORGET_MARKS, [real_millis() - _MARKS_KEPT_MILLIS])
            return _write_group(connection, group, [self._name, self._mark, real_millis()])
        except _RERUN:
            connection.close()
            return [], False
        except _LostError as lost:
            pid = connection.info.backend_pid
            connection.close()
            if lost.transaction is None:
                return [], False
            return [], self._has_happened(lost.transaction, pid)
        except Exception:
            # After an aborted pipeline the driver no longer knows which of its statements the server has prepared, so
            # an error closes the connection. Errors are rare, for example a key that another process has inserted.
            connection.close()
            raise

    def _has_happened(self, transaction: str, pid: int) -> bool:
        """Return whether a transaction is on disk although the answer to its COMMIT was lost. Its mark shows it. Raises
        StorageError if the mark cannot be read.

        The transaction's id only shows whether it still runs: after a crash, a server gives the ids of lost
        transactions to new ones. If the server has not noticed the lost connection, for example behind a firewall that
        dropped it, it still waits for COMMIT. Then its process `pid` is ended.
        """
        self.close()
        connection = self._connection = self._connect()
        while True:
            try:
                if not _goes_on(connection, transaction):
                    row = connection.execute(_MARKED, [self._name]).fetchone()
                    return row is not None and row[0] == self._mark
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_xid::text = %s",
                    [pid, str(int(transaction) % 2**32)],
                )
            except psycopg.Error as error:
                if not is_lost(connection, error):
                    raise StorageError(str(error)) from error
                connection.close()
                connection = self._connection = self._connect()
            time.sleep(_ASK_AGAIN_SECONDS)


def _goes_on(connection: Connection, transaction: str) -> bool:
    """Whether a transaction is still in progress. A server that does not know its id answers no."""
    try:
        row = connection.execute("SELECT pg_xact_status(%s::xid8)", [transaction]).fetchone()
    except psycopg.errors.InvalidParameterValue:
        return False  # A replacement server, which has not assigned this id yet.
    return row is not None and row[0] == "in progress"


def _write_group(connection: Connection, group: Sequence[ChangeSet], mark: list[Any]) -> tuple[list[int], bool]:
    transaction: str | None = None
    try:
        with connection.pipeline():
            connection.execute("BEGIN")
            named = connection.execute("SELECT pg_current_xact_id()::text")
            sent = _send_guarded(connection, group)
        effect = _effect(group, sent)
        refused = [place for place, changes in enumerate(group) if effect.held[place] < _conditions(changes)]
        if any(effect.changed[place] for place in refused):
            # The conditions of the other refused sets may have failed on rows that these sets changed, so only these
            # are certainly refused.
            connection.execute("ROLLBACK")
            return [place for place in refused if effect.changed[place]], False
        kept = [changes for place, changes in enumerate(group) if place not in set(refused)]
        row = named.fetchone()
        with connection.pipeline():
            _send_inserts(connection, kept)
            connection.execute(_MARK, mark)
            transaction = row[0] if row else None
            connection.execute("COMMIT")
    except psycopg.Error as error:
        if is_lost(connection, error):
            raise _LostError(transaction) from error
        raise
    return refused, True


def is_lost(connection: Connection, error: psycopg.Error) -> bool:
    """Whether the error ends the connection: it broke, or the server reports that it closes it (classes 08 and 57P).

    The server may send this report in place of the answer to a COMMIT that it has carried out.
    """
    if connection.broken or connection.closed:
        return True
    state = error.sqlstate or ""
    return isinstance(error, psycopg.OperationalError) and (not state or state.startswith(("08", "57P")))


def _conditions(changes: ChangeSet) -> int:
    """Return the number of conditions of a set: one for each update and delete of a row."""
    return len(changes.guarded) + sum(len(part.rows) for part in changes.guarded_many)


class _Sent(NamedTuple):
    """A sent statement. `touches` is the number of rows that it must change; None means any number. A statement over an
    array has no `place`: its rows return their places. One of conditions alone changes no row."""

    cursor: Cursor[Any]
    place: int | None
    touches: int | None = 1
    is_change: bool = True


def _send_guarded(connection: Connection, group: Sequence[ChangeSet]) -> list[_Sent]:
    """Send updates and deletes, sorted by table and key, so that processes that write the same rows lock them in one
    order."""
    alone: list[tuple[str, str, int, int, Guarded]] = []
    together: dict[Shape, list[tuple[int, Guarded]]] = {}
    for place, changes in enumerate(group):
        # Parts that change one row more than once are sent by themselves, so that they keep their order.
        changed = Counter((part.table, *part.key.values()) for part in changes.guarded)
        for position, part in enumerate(changes.guarded):
            if changed[part.table, *part.key.values()] > 1 or not _is_plain(part):
                alone.append((part.table, str(list(part.key.values())), place, position, part))
            else:
                together.setdefault(_shape(part), []).append((place, part))
    sent: list[_Sent] = []
    for _, _, place, _, part in sorted(alone, key=lambda entry: entry[:4]):
        sql, parameters = make_guarded_statement(part, _DIALECT)
        cursor = connection.execute(sql, [_plain(value) for value in parameters])
        sent.append(_Sent(cursor, place, part.touches, is_change=not isinstance(part, Holds)))
    for shape in sorted(together):
        rows = sorted(together[shape], key=lambda entry: [str(value) for value in entry[1].key.values()])
        columns: list[list[Any]] = [[place for place, _ in rows]]
        columns += map(_plain_column, zip(*(_row(part) for _, part in rows), strict=True))
        cursor = connection.execute(_batch_sql(shape), columns, binary=True)
        sent.append(_Sent(cursor, None, is_change=shape[0] != Holds.__name__))
    for place, changes in enumerate(group):
        sent += [_Sent(_send_many(connection, many, place), None) for many in changes.guarded_many if many.rows]
    return sent


def _send_many(connection: Connection, part: GuardedMany, place: int) -> Cursor[Any]:
    values = part.values if isinstance(part, UpdateMany) else ()
    # Sorted by key, as above. In each row the key follows the new values.
    rows = sorted(part.rows, key=itemgetter(*range(len(values), len(values) + len(part.key))))
    columns: list[list[Any]] = [[place] * len(rows)]
    columns += map(_plain_column, zip(*rows, strict=True))
    kind = "Update" if values else "Delete"
    return connection.execute(_batch_sql((kind, part.table, values, part.key, part.when)), columns, binary=True)


def _effect(group: Sequence[ChangeSet], sent: list[_Sent]) -> _Effect:
    held, changed = [0] * len(group), [False] * len(group)
    for cursor, place, touches, is_change in sent:
        if place is None:
            for (its,) in cursor.fetchall():
                held[its] += 1
                changed[its] |= is_change
        else:
            held[place] += touches in {None, cursor.rowcount}
            changed[place] |= is_change and cursor.rowcount > 0
    return _Effect(held, changed)


def _send_inserts(connection: Connection, group: Sequence[ChangeSet]) -> None:
    by_shape: dict[tuple[str, tuple[str, ...]], list[tuple[Any, ...]]] = {}
    for changes in group:
        for many in changes.inserts_many:
            by_shape.setdefault((many.table, many.columns), []).extend(many.rows)
        for part in changes.inserts:
            by_shape.setdefault((part.table, tuple(part.row)), []).append(tuple(part.row.values()))
    for (table, names), rows in sorted(by_shape.items()):
        columns = [_plain_column(column) for column in zip(*rows, strict=True)]
        connection.execute(_insert_sql(table, names), columns)


def _is_plain(part: Guarded) -> bool:
    """Whether a part changes one row, sets plain values and compares for equality. Every part does, except those of
    counters."""
    values = part.values.values() if isinstance(part, Update) else ()
    special = any(isinstance(value, Add) for value in values) or any(
        isinstance(value, AtLeast) for value in part.when.values()
    )
    return part.touches == 1 and bool(part.key) and not special


def _shape(part: Guarded) -> Shape:
    values = tuple(part.values) if isinstance(part, Update) else ()
    return type(part).__name__, part.table, values, tuple(part.key), tuple(part.when)


def _row(part: Guarded) -> list[Any]:
    values = list(part.values.values()) if isinstance(part, Update) else []
    return [*values, *part.key.values(), *part.when.values()]


@cache
def _batch_sql(shape: Shape) -> bytes:
    kind, table, values, key, when = shape
    names = [f"s_{name}" for name in values] + [f"k_{name}" for name in key] + [f"w_{name}" for name in when]
    arrays = ", ".join(["%b::bigint[]", *(_array(table, name) for name in (*values, *key, *when))])
    source = f"unnest({arrays}) AS v(place, {', '.join(names)})"
    conditions = [f"t.{name} = v.k_{name}" for name in key] + [f"t.{name} = v.w_{name}" for name in when]
    where = " AND ".join(conditions)
    if kind == "Holds":
        return f"SELECT v.place FROM {table} t, {source} WHERE {where} FOR SHARE OF t".encode()  # noqa: S608  (names only)
    if kind == "Delete":
        return f"DELETE FROM {table} t USING {source} WHERE {where} RETURNING v.place".encode()  # noqa: S608  (names only)
    new = ", ".join(f"{name} = v.s_{name}" for name in values)
    return f"UPDATE {table} t SET {new} FROM {source} WHERE {where} RETURNING v.place".encode()  # noqa: S608  (names only)


@cache
def _insert_sql(table: str, names: tuple[str, ...]) -> bytes:
    arrays = ", ".join(_array(table, name) for name in names)
    return f"INSERT INTO {table} ({', '.join(_quote(name) for name in names)}) SELECT * FROM unnest({arrays})".encode()  # noqa: S608  (names only)


def _quote(name: str) -> str:
    return f'"{name}"'


def _array(table: str, name: str) -> str:
    kind = METADATA.tables[table].c[name].type
    if isinstance(kind, LargeBinary):
        return "%b::bytea[]"
    # In text, the driver would search each value for characters to escape: twice the time.
    return "%b::text[]" if isinstance(kind, Text) else "%b::bigint[]"


_PLAIN_TYPES: Final = frozenset({str, int, bytes, type(None)})


def _plain_column(values: Sequence[Any]) -> list[Any]:
    """Return the plain values of an array. Most arrays have nothing else, and then need no look at each value."""
    if _PLAIN_TYPES.issuperset(map(type, values)):
        return list(values)
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """Return the plain text of a StrEnum, because the driver chooses its dumper by class."""
    return str(value) if isinstance(value, str) else value


def _as_outcome(error: Exception) -> Exception:
    if isinstance(error, psycopg.IntegrityError):
        return ConditionFailedError()
    if isinstance(error, psycopg.errors.CharacterNotInRepertoire) or (
        isinstance(error, psycopg.DataError) and "NUL" in str(error)
    ):
        return refuse(UnkeepableCharacter())
    if isinstance(error, psycopg.OperationalError | psycopg.InternalError | psycopg.InterfaceError):
        return StorageError(str(error))
    return error
