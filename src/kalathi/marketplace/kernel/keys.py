"""Fresh keys: random ids, and codes from blocks that are reserved in the database (docs/decisions/0011)."""

import asyncio
import secrets
from datetime import datetime
from typing import Final

from kalathi.marketplace.kernel import ids
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, Insert, Update
from kalathi.marketplace.kernel.storage.database import Database, View

_BLOCK: Final = 1000
# The counter, and the key with which its numbers are scrambled.
_NAME: Final = "order_codes"


class DrawnKeys:
    """Keys for one command; no other command can draw the same codes."""

    def __init__(self, numbers: list[int], code_key: bytes = b"") -> None:
        self.numbers = numbers
        self._code_key = code_key

    def order_code(self, now: datetime) -> str:
        """A new order code of the business day of `now` in Athens."""
        return ids.order_code(athens(now).date(), self.numbers.pop(), self._code_key)

    def return_code(self, now: datetime) -> str:
        """A new return code of that day."""
        return ids.return_code(athens(now).date(), self.numbers.pop(), self._code_key)

    def purchase_order_code(self, now: datetime) -> str:
        """A new code of a purchase order of that day."""
        return ids.purchase_order_code(athens(now).date(), self.numbers.pop(), self._code_key)

    def opaque_id(self) -> str:
        """A new public id."""
        return ids.opaque_id()

    def secret_link(self) -> str:
        """A new name for a file behind an unguessable link (docs/decisions/0014)."""
        return ids.secret_token()


class KeyReserve:
    """A reserve of codes, so that most commands need no read. When a process stops, its unused codes are lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: list[int] = []
        self._code_key = b""
        self._refilling = asyncio.Lock()

    async def draw(self, count: int) -> DrawnKeys:
        """Return keys with `count` codes. Unused ones may be given back."""
        async with self._refilling:
            while len(self._numbers) < count:
                await self._reserve(max(_BLOCK, count))
            drawn = [self._numbers.pop() for _ in range(count)]
        return DrawnKeys(drawn[::-1], self._code_key)

    def give_back(self, keys: DrawnKeys) -> None:
        """Put the unused codes of a command back into the reserve."""
        self._numbers += keys.numbers
        keys.numbers = []

    async def _reserve(self, size: int) -> None:
        first, code_key = await self._database.read(_load)
        changes = ChangeSet()
        if first is None:
            changes.add(Insert("counters", {"name": _NAME, "value": size}))
        else:
            changes.add(Update("counters", {"name": _NAME}, {"value": first + size}, when={"value": first}))
        if code_key is None:
            # This is the first block of this installation, or of this version. Earlier codes stay as they are. If a new
            # code equals one of them, the directory refuses it, and the command draws the next code.
            code_key = secrets.token_bytes(ids.CODE_KEY_BYTES)
            changes.add(Insert("secrets", {"name": _NAME, "value": code_key}))
        try:
            await self._database.commit(changes)
        except ConditionFailedError:
            return  # Another process has reserved this block; the caller's loop reserves the next.
        self._code_key, start = code_key, first or 0
        self._numbers += range(start + size - 1, start - 1, -1)


def _load(view: View) -> tuple[int | None, bytes | None]:
    """Return the counter's value and the key of codes, each None if it is not there yet."""
    value = view.one("SELECT value FROM counters WHERE name = :name", {"name": _NAME})
    code_key = view.one("SELECT value FROM secrets WHERE name = :name", {"name": _NAME})
    return value[0] if value else None, code_key[0] if code_key else None
