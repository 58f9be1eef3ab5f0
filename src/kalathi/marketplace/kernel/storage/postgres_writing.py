"""Write a group of change sets on PostgreSQL, in one transaction and two round trips.

The first round trip sends BEGIN, the query for the transaction's id, and every update and delete. The second sends the
inserts and COMMIT, after all row counts are known (`postgres_sending.py`).

A set whose condition does not hold leaves the group. If it has already changed a row, the transaction is rolled back,
and the remaining sets run again. After any other SQL error the sets run one by one, so that each gets its own outcome.
After a deadlock or a serialization error the group runs again. If the connection is lost before COMMIT is sent, the
group runs again on another one. If it is lost later, the group's mark shows whether the group was written.
"""

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

import psycopg
from psycopg import Connection

from kalathi.marketplace.kernel.clock import real_millis
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.refusals import UnkeepableCharacter
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, StorageError
from kalathi.marketplace.kernel.storage.postgres_forms import ArrayForms, WriteForms
from kalathi.marketplace.kernel.storage.postgres_sending import find_refused, list_kept, send_guarded, send_inserts

# The exception reports an aborted pipeline; the driver would log it as well.
logging.getLogger("psycopg.pq").setLevel(logging.ERROR)
logging.getLogger("psycopg").setLevel(logging.ERROR)

_MOST_RERUNS: Final = 20
ASK_AGAIN_SECONDS: Final = 0.05
_RERUN = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


class LostError(Exception):
    """The connection broke. `transaction` is the id of a transaction whose COMMIT was sent, and may have succeeded;
    None before that. `refused` are the places of the sets that were not part of it."""

    def __init__(self, transaction: str | None, refused: Sequence[int] = ()) -> None:
        self.transaction = transaction
        self.refused = [*refused]


# One row for each writing process: the number of its latest group. If the answer to COMMIT is lost, this row says
# whether the group is on disk. Rows of ended processes are deleted after some days.
_MARK: Final = (
    "INSERT INTO commit_marks (writer, mark, at) VALUES (%s, %s, %s)"
    " ON CONFLICT (writer) DO UPDATE SET mark = EXCLUDED.mark, at = EXCLUDED.at"
)
_TRANSACTION: Final = "SELECT pg_current_xact_id()::text"
_MARKED: Final = "SELECT mark FROM commit_marks WHERE writer = %s"
_FORGET_MARKS: Final = "DELETE FROM commit_marks WHERE at < %s"
MARKS_KEPT_MILLIS: Final = 7 * 86_400_000


class PostgresWriter:
    """Write groups over one connection, and open a new one when it is lost."""

    def __init__(self, connect: Callable[[], Connection], forms: WriteForms | None = None) -> None:
        """`connect` waits for the server up to its time limit, then raises StorageError."""
        self._connect = connect
        self._forms = forms or ArrayForms()
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
                self._forget_marks(connection)
            return self._write_group(connection, group)
        except _RERUN:
            connection.close()
            return [], False
        except LostError as lost:
            pid = connection.info.backend_pid
            connection.close()
            if lost.transaction is None:
                return [], False
            happened = self._has_happened(lost.transaction, pid)
            return (lost.refused if happened else []), happened
        except Exception:
            # After an aborted pipeline the driver no longer knows which of its statements the server has prepared, so
            # an error closes the connection. Errors are rare, for example a key that another process has inserted.
            connection.close()
            raise

    def _forget_marks(self, connection: Connection) -> None:
        connection.execute(_FORGET_MARKS, [real_millis() - MARKS_KEPT_MILLIS])

    def _write_group(self, connection: Connection, group: Sequence[ChangeSet]) -> tuple[list[int], bool]:
        transaction: str | None = None
        refused: list[int] = []
        try:
            with connection.pipeline():
                connection.execute("BEGIN")
                named = connection.execute(_TRANSACTION)
                sent = send_guarded(connection, group, self._forms)
            refused, again = find_refused(group, sent)
            if again:
                connection.execute("ROLLBACK")
                return refused, False
            row = named.fetchone()
            with connection.pipeline():
                send_inserts(connection, list_kept(group, refused), self._forms)
                connection.execute(_MARK, [self._name, self._mark, real_millis()])
                transaction = row[0] if row else None
                connection.execute("COMMIT")
        except psycopg.Error as error:
            if is_lost(connection, error):
                raise LostError(transaction, refused) from error
            raise
        return refused, True

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
            time.sleep(ASK_AGAIN_SECONDS)


def _goes_on(connection: Connection, transaction: str) -> bool:
    """Whether a transaction is still in progress. A server that does not know its id answers no."""
    try:
        row = connection.execute("SELECT pg_xact_status(%s::xid8)", [transaction]).fetchone()
    except psycopg.errors.InvalidParameterValue:
        return False  # A replacement server, which has not assigned this id yet.
    return row is not None and row[0] == "in progress"


def is_lost(connection: Connection, error: psycopg.Error) -> bool:
    """Whether the error ends the connection: it broke, or the server reports that it closes it.

    The server may send this report in place of the answer to a COMMIT that it has carried out. A spread database also
    passes on errors of other nodes' connections, which do not end ours: they have the severity ERROR.
    """
    if connection.broken or connection.closed:
        return True
    if not error.sqlstate:
        return isinstance(error, psycopg.OperationalError)
    return error.diag.severity_nonlocalized in {"FATAL", "PANIC"}


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
