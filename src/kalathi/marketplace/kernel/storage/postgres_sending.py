"""Send the parts of a group on PostgreSQL, and find out from the answers which sets are refused.

Parts of one shape, from all sets, become one statement, and the rows that it returns show which parts found their row.
Only counters, whose rows several sets may change, are sent one by one. For example, thirty-two accepts need seven
statements instead of 160.
"""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from psycopg import Connection, Cursor
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.engine import Dialect

from kalathi.marketplace.kernel.storage.changes import (
    Add,
    AtLeast,
    ChangeSet,
    Guarded,
    GuardedMany,
    Holds,
    Update,
    UpdateMany,
)
from kalathi.marketplace.kernel.storage.postgres_forms import Shape, WriteForms, plain
from kalathi.marketplace.kernel.storage.statements import make_guarded_statement

_DIALECT: Final[Dialect] = dialect(paramstyle="format")  # type: ignore[no-untyped-call]  # SQLAlchemy gives no types here


class Sent(NamedTuple):
    """A sent statement. `touches` is the number of rows that it must change; None means any number. A statement over an
    array has no `place`: its rows return their places. One of conditions alone changes no row."""

    cursor: Cursor[Any]
    place: int | None
    touches: int | None = 1
    is_change: bool = True


class _Effect(NamedTuple):
    """The effect of a group's statements, by set: how many parts held, and whether any row was changed."""

    held: list[int]
    changed: list[bool]


def find_refused(group: Sequence[ChangeSet], sent: list[Sent]) -> tuple[list[int], bool]:
    """Return the places of the sets whose conditions failed, and whether the group must run again without them, because
    some of them have changed rows."""
    effect = _effect(group, sent)
    refused = [place for place, changes in enumerate(group) if effect.held[place] < _conditions(changes)]
    if any(effect.changed[place] for place in refused):
        # The conditions of the other refused sets may have failed on rows that these sets changed, so only these are
        # certainly refused.
        return [place for place in refused if effect.changed[place]], True
    return refused, False


def list_kept(group: Sequence[ChangeSet], refused: Sequence[int]) -> list[ChangeSet]:
    """Return the sets of a group that were not refused."""
    return [changes for place, changes in enumerate(group) if place not in set(refused)]


def _conditions(changes: ChangeSet) -> int:
    """Return the number of conditions of a set: one for each update and delete of a row."""
    return len(changes.guarded) + sum(len(part.rows) for part in changes.guarded_many)


def send_guarded(connection: Connection, group: Sequence[ChangeSet], forms: WriteForms) -> list[Sent]:
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
    sent: list[Sent] = []
    for _, _, place, _, part in sorted(alone, key=lambda entry: entry[:4]):
        sql, parameters = make_guarded_statement(part, _DIALECT)
        cursor = connection.execute(sql, [plain(value) for value in parameters])
        sent.append(Sent(cursor, place, part.touches, is_change=not isinstance(part, Holds)))
    for shape in sorted(together):
        rows = sorted(together[shape], key=lambda entry: [str(value) for value in entry[1].key.values()])
        sent += _send_parts(connection, forms, shape, [[place, *_row(part)] for place, part in rows])
    for place, changes in enumerate(group):
        for many in changes.guarded_many:
            if many.rows:
                sent += _send_many(connection, forms, many, place)
    return sent


def _send_many(connection: Connection, forms: WriteForms, part: GuardedMany, place: int) -> list[Sent]:
    values = part.values if isinstance(part, UpdateMany) else ()
    # Sorted by key, as above. In each row the key follows the new values.
    rows = sorted(part.rows, key=itemgetter(*range(len(values), len(values) + len(part.key))))
    shape = ("Update" if values else "Delete", part.table, values, part.key, part.when)
    return _send_parts(connection, forms, shape, [[place, *row] for row in rows])


def _send_parts(connection: Connection, forms: WriteForms, shape: Shape, rows: Sequence[Sequence[Any]]) -> list[Sent]:
    is_change = shape[0] != Holds.__name__
    return [
        Sent(connection.execute(sql, values, binary=True), None, is_change=is_change)
        for sql, values in forms.write_parts(shape, rows)
    ]


def _effect(group: Sequence[ChangeSet], sent: list[Sent]) -> _Effect:
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


def send_inserts(connection: Connection, group: Sequence[ChangeSet], forms: WriteForms) -> None:
    """Send all new rows of a group."""
    by_shape: dict[tuple[str, tuple[str, ...]], list[tuple[Any, ...]]] = {}
    for changes in group:
        for many in changes.inserts_many:
            by_shape.setdefault((many.table, many.columns), []).extend(many.rows)
        for part in changes.inserts:
            by_shape.setdefault((part.table, tuple(part.row)), []).append(tuple(part.row.values()))
    for (table, names), rows in sorted(by_shape.items()):
        for sql, values in forms.write_inserts(table, names, rows):
            connection.execute(sql, values)


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
