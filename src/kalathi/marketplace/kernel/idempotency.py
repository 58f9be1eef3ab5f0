"""A POST that names an Idempotency-Key happens once (docs/decisions/0013).

Key, digest of the request and answer are rows of the command's own change set, so that a repeat gets the very answer of
the first. They are forgotten after a day, by a due row like everything that happens later.
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
    """Raises IDEMPOTENCY_KEY for a key that is none."""
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
        """The time for which a key is remembered is over: `shop_id` is its owner, `subject` the key."""
        key: dict[str, Value] = {"owner": row.shop_id, "key": row.subject}
        await self._database.commit(ChangeSet(complete(row), Delete("idempotency_keys", key, touches=None)))


def answer_of(view: View, request: KeyedRequest) -> RememberedAnswer | None:
    """The first answer, or None. Raises IDEMPOTENCY_KEY when the key belongs to another request."""
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
    """The rows that join the command's change set: the answer, and when it is forgotten."""
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
