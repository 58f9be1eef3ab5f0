"""Fresh keys: random ids, and order codes from blocks that are reserved in the database (DESIGN, decision 11)."""

import asyncio
from datetime import datetime
from typing import Final

from kalathi.marketplace.kernel import ids
from kalathi.marketplace.kernel.changes import ChangeSet, ConditionFailedError, Insert, Update
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.database import Database

_BLOCK: Final = 1000
_COUNTER: Final = "order_codes"


class KeyReserve:
    """Gives codes without asking the database each time; what a stopped process had left is never given out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next = 0
        self._end = 0
        self._refilling = asyncio.Lock()

    async def ensure(self, count: int) -> None:
        """Sees to it that `count` codes can be drawn. Call it before a command that draws them."""
        async with self._refilling:
            while self._end - self._next < count:
                await self._reserve(max(_BLOCK, count))

    def order_code(self, now: datetime) -> str:
        """A new order code of the business day of `now` in Athens."""
        if self._next >= self._end:
            raise RuntimeError("No codes are reserved: call ensure first")
        number = self._next
        self._next += 1
        return ids.order_code(athens(now).date(), number)

    def opaque_id(self) -> str:
        """A new public id."""
        return ids.opaque_id()

    async def _reserve(self, size: int) -> None:
        row = self._database.point.one("SELECT value FROM counters WHERE name = :name", {"name": _COUNTER})
        first = row[0] if row else 0
        if row is None:
            changes = ChangeSet(Insert("counters", {"name": _COUNTER, "value": size}))
        else:
            changes = ChangeSet(Update("counters", {"name": _COUNTER}, {"value": first + size}, when={"value": first}))
        try:
            await self._database.commit(changes)
        except ConditionFailedError:
            return  # Another process has taken this block; the caller's loop takes the next.
        self._next, self._end = first, first + size
