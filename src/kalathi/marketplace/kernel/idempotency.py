"""Idempotency keys: a POST with an Idempotency-Key runs only once (docs/decisions/0013).

The change set of the command also stores the key, a digest of the request, and the answer. A repeat gets the stored
answer. A due row deletes it after `idempotency_hours`.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.due import DueKind, DueRow, complete, plan
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Insert, Value
from kalathi.marketplace.kernel.storage.database import Database, View

_LONGEST_KEY: Final = 255


class KeyedRequest(NamedTuple):
    """The owner of a request, its key, and a digest of its content."""

    owner: str
    key: str
    digest: bytes


class RememberedAnswer(NamedTuple):
    """The answer to the first request with this key."""

    status: int
    body: bytes


def make_keyed_request(owner: str, key: str, method: str, path: str, body: bytes) -> KeyedRequest:
    """Return the request with its key and digest. Raises IDEMPOTENCY_KEY for an invalid key."""
    if not (1 <= len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
        raise DomainError(ErrorCode.IDEMPOTENCY_KEY, f"Idempotency-Key: give 1 to {_LONGEST_KEY} ASCII characters.")
    digest = hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).digest()
    return KeyedRequest(owner, key, digest)


class IdempotencyKeys:
    """The remembered answers, and the requests that this process is answering right now."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._in_flight: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def alone(self, request: KeyedRequest) -> Iterator[None]:
        """Answer one request with this key at a time. Raises CONFLICT for a second one meanwhile."""
        name = (request.owner, request.key)
        if name in self._in_flight:
            raise DomainError(
                ErrorCode.CONFLICT,
                "A request with this Idempotency-Key is being answered. Ask again in a second.",
                retry_after_seconds=1,
            )
        self._in_flight.add(name)
        try:
            yield
        finally:
            self._in_flight.discard(name)

    async def forget(self, row: DueRow) -> None:
        """Delete an expired key. In the row, `shop_id` is its owner and `subject` the key."""
        key: dict[str, Value] = {"owner": row.shop_id, "key": row.subject}
        await self._database.commit(ChangeSet(complete(row), Delete("idempotency_keys", key, touches=None)))


def answer_of(view: View, request: KeyedRequest) -> RememberedAnswer | None:
    """Return the stored answer, or None. Raises IDEMPOTENCY_KEY if the key was used for a different request."""
    row = view.one(
        "SELECT digest, status, answer FROM idempotency_keys WHERE owner = :owner AND key = :key",
        {"owner": request.owner, "key": request.key},
    )
    if row is None:
        return None
    if row[0] != request.digest:
        raise DomainError(
            ErrorCode.IDEMPOTENCY_KEY, "Idempotency-Key: it was used for another request. Take a new key."
        )
    return RememberedAnswer(row[1], row[2])


def remember(request: KeyedRequest, status: int, body: bytes, now: datetime, hours: int) -> list[Insert]:
    """Return the rows for the command's change set: the answer, and the due row that deletes it after `hours`."""
    row: dict[str, Value] = {
        "owner": request.owner,
        "key": request.key,
        "digest": request.digest,
        "status": status,
        "answer": body,
    }
    due_at = to_millis(now + timedelta(hours=hours))
    return [
        Insert("idempotency_keys", row),
        plan(DueKind.FORGET, request.owner, request.key, 1, due_at=due_at, anchor_at=to_millis(now)),
    ]
