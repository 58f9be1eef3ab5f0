"""The group commit on SQLite (DESIGN, decision 4): one thread writes, all sets that wait share one transaction.

Updates and deletes run one by one, because the rows that they touched must be counted. Inserts are collected over all
sets of the group and run by shape with executemany, which is three times as fast as one call each. A set whose
condition fails on its first statement has written nothing and simply leaves; one that fails later makes the group
start again without it. After any other error the sets run one by one, so that each gets its own answer. No caller is
answered before COMMIT has returned, and with `synchronous=FULL` that means: on disk.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kalathi.marketplace.kernel.changes import ChangeSet, ConditionFailedError, StorageError
from kalathi.marketplace.kernel.statements import Parameters, guarded_statement, insert_statement

# Enough to take every caller that can wait at once; a bound only so that one transaction stays short.
_LARGEST_GROUP = 512


class _Waiting(NamedTuple):
    changes: ChangeSet
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[None]


class _RefusedError(Exception):
    """Internal: the set at this place of the group does not hold, and the group must run again without it."""

    def __init__(self, place: int) -> None:
        self.place = place


class GroupWriter:
    """Takes change sets from event loops, writes them in groups on its own thread, answers when they are on disk."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        written: Callable[[set[str]], None],
        answered: Callable[[int], None],
    ) -> None:
        """`written` is called on the writer's thread after each group, with the tables that got new rows; `answered`
        on the callers' event loop with the number of sets, right before they hear, also of callers that have gone."""
        self._connection = connection
        self._written = written
        self._answered = answered
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="kalathi-writer", daemon=True)
        self.closed = False
        self._thread.start()

    async def commit(self, changes: ChangeSet) -> None:
        """Returns when the set is on disk. Raises ConditionFailedError or StorageError; then nothing was written."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        self._waiting.put(_Waiting(changes, loop, answer))
        await answer

    def close(self) -> None:
        """Writes what still waits, then ends the thread."""
        self.closed = True
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group = [first]
            ends = False
            with contextlib.suppress(queue.Empty):
                while len(group) < _LARGEST_GROUP:
                    following = self._waiting.get_nowait()
                    if following is None:
                        ends = True
                        break
                    group.append(following)
            outcomes = write_group(self._connection, [waiting.changes for waiting in group])
            self._answer(group, outcomes)
            if ends:
                return

    def _answer(self, group: list[_Waiting], outcomes: list[Exception | None]) -> None:
        tables: set[str] = set()
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], Exception | None]]] = {}
        for waiting, outcome in zip(group, outcomes, strict=True):
            by_loop.setdefault(waiting.loop, []).append((waiting.answer, outcome))
            if outcome is None:
                tables |= waiting.changes.tables()
        for loop, answers in by_loop.items():
            # One wake-up a group: each costs a system call. A loop that has ended takes no more answers.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._resolve, answers)
        self._written(tables)

    def _resolve(self, answers: list[tuple[asyncio.Future[None], Exception | None]]) -> None:
        self._answered(len(answers))
        for answer, outcome in answers:
            if answer.done():
                continue  # The caller has gone; what it asked for is written all the same.
            if outcome is None:
                answer.set_result(None)
            else:
                answer.set_exception(outcome)


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
