"""A group of change sets on SQLite, in one transaction.

Updates and deletes run one by one, because the rows that they touched must be counted. Inserts are collected over all
sets of the group and run by shape with executemany, which is three times as fast as one call each. A set whose
condition fails on its first statement has written nothing and simply leaves; one that fails later makes the group
start again without it. After any other error the sets run one by one, so that each gets its own answer. With
`synchronous=FULL` a COMMIT that has returned means: on disk.
"""

import contextlib
import sqlite3
from collections.abc import Sequence

from kalathi.marketplace.kernel.changes import ChangeSet, ConditionFailedError, StorageError
from kalathi.marketplace.kernel.statements import Parameters, guarded_statement, insert_statement


class _RefusedError(Exception):
    """Internal: the set at this place of the group does not hold, and the group must run again without it."""

    def __init__(self, place: int) -> None:
        self.place = place


def write_group(connection: sqlite3.Connection, sets: Sequence[ChangeSet]) -> list[Exception | None]:
    """Writes the sets in one transaction and tells for each: None when it is on disk, else why not."""
    outcomes: list[Exception | None] = [None] * len(sets)
    remaining = list(range(len(sets)))
    while remaining:
        try:
            connection.execute("BEGIN IMMEDIATE")
            kept = _run_guarded(connection, sets, remaining)
            _run_inserts(connection, [sets[place] for place in kept])
            connection.execute("COMMIT")
            for place in set(remaining).difference(kept):
                outcomes[place] = ConditionFailedError()
        except _RefusedError as refused:
            _roll_back(connection)
            outcomes[refused.place] = ConditionFailedError()
            remaining = [place for place in remaining if outcomes[place] is None]
        except Exception as error:  # noqa: BLE001  (whatever it is, its caller hears of it and the thread lives on)
            _roll_back(connection)
            if len(remaining) == 1:
                outcomes[remaining[0]] = _as_outcome(error)
                return outcomes
            for place in remaining:
                outcomes[place] = write_group(connection, [sets[place]])[0]
            return outcomes
        else:
            return outcomes
    return outcomes


def _run_guarded(connection: sqlite3.Connection, sets: Sequence[ChangeSet], places: list[int]) -> list[int]:
    """The places of the sets whose conditions hold; the others have written nothing."""
    kept = []
    for place in places:
        for position, part in enumerate(sets[place].guarded):
            touched = connection.execute(*guarded_statement(part)).rowcount
            if part.touches is not None and touched != part.touches:
                if position or touched:
                    raise _RefusedError(place)
                break
        else:
            kept.append(place)
    return kept


def _run_inserts(connection: sqlite3.Connection, sets: Sequence[ChangeSet]) -> None:
    by_shape: dict[str, list[Parameters]] = {}
    for changes in sets:
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
