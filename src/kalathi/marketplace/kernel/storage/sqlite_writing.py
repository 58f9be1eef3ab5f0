"""Write a group of change sets on SQLite, in one transaction.

Parts of one shape are collected over the whole group and run with executemany, which is three times as fast as one call
each. For updates and deletes, executemany returns only the total of changed rows. If that total is not one row for each
part, the group starts again with one call each. A set whose condition fails on its first statement has written nothing
and leaves the group. A set that fails later makes the group start again without it. After any other error the sets run
one by one, so that each gets its own outcome.

The connection has `synchronous=FULL`, so a COMMIT that has returned is on disk.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from functools import cache, partial
from typing import Final

from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, StorageError
from kalathi.marketplace.kernel.storage.group import Begun, Outcomes
from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.marketplace.kernel.storage.statements import (
    Parameters,
    insert_many_statement,
    insert_statement,
    make_guarded_statement,
    many_statement,
)

# The event loop must not wait for another program's lock.
_IMPATIENT: Final = "PRAGMA busy_timeout=0"
_PATIENT: Final = "PRAGMA busy_timeout=5000"
# In a smaller group, collecting costs more than it saves.
_WORTH_COLLECTING: Final = 4


class _RefusedError(Exception):
    """Internal: the set at this place of the group does not hold, and the group must run again without it."""

    def __init__(self, place: int) -> None:
        self.place = place


def prepare_writer(connection: sqlite3.Connection) -> None:
    """Prepare the writer's connection, once, before the first group."""
    connection.execute(_IMPATIENT)
    # Deleted and replaced contents are overwritten, so that removed personal data is nowhere in the file
    # (docs/privacy.md).
    connection.execute("PRAGMA secure_delete=ON")


def begin_group(connection: sqlite3.Connection, sets: Sequence[ChangeSet]) -> Begun:
    """Run the sets' statements in one transaction. Return the function that commits, for the writer's thread, because
    COMMIT waits for the disk.

    On a thread, each statement would release the interpreter lock and wait for it again, which took half the time of a
    worker's deliveries.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        kept = _run(connection, sets)
    except Exception:  # noqa: BLE001  (the error returns when the sets run singly, and is reported there)
        _roll_back(connection)
        return partial(_write_with_patience, connection, sets)
    return partial(_finish, connection, sets, kept)


def _finish(connection: sqlite3.Connection, sets: Sequence[ChangeSet], kept: list[int]) -> Outcomes:
    try:
        connection.execute("COMMIT")
    except Exception:  # noqa: BLE001  (as above)
        _roll_back(connection)
        return _write_with_patience(connection, sets)
    if len(kept) == len(sets):
        return [None] * len(sets)
    return [None if place in kept else ConditionFailedError() for place in range(len(sets))]


def _run(connection: sqlite3.Connection, sets: Sequence[ChangeSet]) -> list[int]:
    """Run the statements of the sets. Return the places of the written sets. Raises _RefusedError if the group must
    start again."""
    places = list(range(len(sets)))
    for place, changes in enumerate(sets):
        _run_many(connection, changes, place)
    by_shape = _collect_guarded(sets) if len(sets) >= _WORTH_COLLECTING else None
    if by_shape is None:
        places = _run_guarded(connection, sets, places)
    else:
        for sql, rows in by_shape.items():
            if connection.executemany(sql, rows).rowcount != len(rows):
                raise _RefusedError(0)
    _run_inserts(connection, [sets[place] for place in places])
    return places


def _write_with_patience(connection: sqlite3.Connection, sets: Sequence[ChangeSet]) -> Outcomes:
    """Write on the thread, which can wait for another program's lock on the file, such as that of SQLite's own
    shell."""
    connection.execute(_PATIENT)
    try:
        return _write_singly(connection, sets)
    finally:
        connection.execute(_IMPATIENT)


def _write_singly(connection: sqlite3.Connection, sets: Sequence[ChangeSet]) -> Outcomes:
    """Write with one call for each statement, so that the refused set is known."""
    outcomes: Outcomes = [None] * len(sets)
    remaining = list(range(len(sets)))
    while remaining:
        try:
            connection.execute("BEGIN IMMEDIATE")
            for place in remaining:
                _run_many(connection, sets[place], place)
            kept = _run_guarded(connection, sets, remaining)
            _run_inserts(connection, [sets[place] for place in kept])
            connection.execute("COMMIT")
            for place in set(remaining).difference(kept):
                outcomes[place] = ConditionFailedError()
        except _RefusedError as refused:
            _roll_back(connection)
            outcomes[refused.place] = ConditionFailedError()
            remaining = [place for place in remaining if outcomes[place] is None]
        except Exception as error:  # noqa: BLE001  (any error is an outcome for its caller; the thread must live on)
            _roll_back(connection)
            if len(remaining) == 1 or _is_locked(error):
                for place in remaining:
                    outcomes[place] = _as_outcome(error)
                return outcomes
            for place in remaining:
                outcomes[place] = _write_singly(connection, [sets[place]])[0]
            return outcomes
        else:
            return outcomes
    return outcomes


def _is_locked(error: Exception) -> bool:
    """Whether another program has locked the file for too long. The next set would wait just as long."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _collect_guarded(sets: Sequence[ChangeSet]) -> dict[str, list[Parameters]] | None:
    """Return all updates and deletes by shape. Return None if their order matters, or if one of them may touch a number
    of rows other than one."""
    by_shape: dict[str, list[Parameters]] = {}
    for changes in sets:
        if len(changes.guarded) > 1 and _touches_a_row_twice(changes):
            return None
        for part in changes.guarded:
            if part.touches != 1 or not _names_one_row(part.table, tuple(part.key)):
                return None
            sql, parameters = make_guarded_statement(part)
            by_shape.setdefault(sql, []).append(parameters)
    return by_shape


@cache
def _names_one_row(table: str, key: tuple[str, ...]) -> bool:
    return {column.name for column in METADATA.tables[table].primary_key} <= set(key)


def _touches_a_row_twice(changes: ChangeSet) -> bool:
    return len({(part.table, *part.key.values()) for part in changes.guarded}) < len(changes.guarded)


def _run_guarded(connection: sqlite3.Connection, sets: Sequence[ChangeSet], places: list[int]) -> list[int]:
    """Return the places of the sets whose conditions hold; the others have written nothing."""
    kept = []
    for place in places:
        for position, part in enumerate(sets[place].guarded):
            touched = connection.execute(*make_guarded_statement(part)).rowcount
            if part.touches is not None and touched != part.touches:
                if position or touched or sets[place].guarded_many:
                    raise _RefusedError(place)
                break
        else:
            kept.append(place)
    return kept


def _run_many(connection: sqlite3.Connection, changes: ChangeSet, place: int) -> None:
    for part in changes.guarded_many:
        if part.rows and connection.executemany(many_statement(part), part.rows).rowcount != len(part.rows):
            raise _RefusedError(place)


def _run_inserts(connection: sqlite3.Connection, sets: Sequence[ChangeSet]) -> None:
    by_shape: dict[str, list[Parameters]] = {}
    for changes in sets:
        for many in changes.inserts_many:
            connection.executemany(insert_many_statement(many), many.rows)
        for part in changes.inserts:
            sql, parameters = insert_statement(part)
            by_shape.setdefault(sql, []).append(parameters)
    for sql, rows in by_shape.items():
        connection.executemany(sql, rows)


def _roll_back(connection: sqlite3.Connection) -> None:
    # After a full disk SQLite may have rolled back by itself, and says so with an error.
    with contextlib.suppress(sqlite3.Error):
        connection.execute("ROLLBACK")


def _as_outcome(error: Exception) -> Exception:
    if isinstance(error, sqlite3.IntegrityError):
        return ConditionFailedError()
    if isinstance(error, sqlite3.OperationalError):
        return StorageError(str(error))
    return error
