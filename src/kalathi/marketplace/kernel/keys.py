"""Fresh keys: random ids, and codes from blocks that are reserved in the database (DESIGN, decision 11)."""

import asyncio
from datetime import datetime
from typing import Final

from kalathi.marketplace.kernel import ids
from kalathi.marketplace.kernel.changes import ChangeSet, ConditionFailedError, Insert, Update
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.database import Database

_BLOCK: Final = 1000
_COUNTER: Final = "order_codes"


class DrawnKeys:
    """Keys for one command: its codes are its own, and nobody else can draw them in between."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def order_code(self, now: datetime) -> str:
        """A new order code of the business day of `now` in Athens."""
        return ids.order_code(athens(now).date(), self.numbers.pop())

    def return_code(self, now: datetime) -> str:
        """A new return code of that day."""
        return ids.return_code(athens(now).date(), self.numbers.pop())

    def purchase_order_code(self, now: datetime) -> str:
        """A new code of a purchase order of that day."""
        return ids.purchase_order_code(athens(now).date(), self.numbers.pop())

    def opaque_id(self) -> str:
        """A new public id."""
        return ids.opaque_id()


class KeyReserve:
    """Gives codes without asking the database each time; what a stopped process had left is never given out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: list[int] = []
        self._refilling = asyncio.Lock()

    async def draw(self, count: int) -> DrawnKeys:
        """Keys with `count` codes. What is not used may be given back."""
        async with self._refilling:
            while len(self._numbers) < count:
                await self._reserve(max(_BLOCK, count))
            drawn = [self._numbers.pop() for _ in range(count)]
        return DrawnKeys(drawn[::-1])

    def give_back(self, keys: DrawnKeys) -> None:
        """The codes that a command has not used."""
        self._numbers += keys.numbers
        keys.numbers = []

    async def _reserve(self, size: int) -> None:
        row = await self._database.peek(
            lambda view: view.one("SELECT value FROM counters WHERE name = :name", {"name": _COUNTER})
        )
        first = row[0] if row else 0
        if row is None:
            changes = ChangeSet(Insert("counters", {"name": _COUNTER, "value": size}))
        else:
            changes = ChangeSet(Update("counters", {"name": _COUNTER}, {"value": first + size}, when={"value": first}))
        try:
            await self._database.commit(changes)
        except ConditionFailedError:
            return  # Another process has taken this block; the caller's loop takes the next.
        self._numbers += range(first + size - 1, first - 1, -1)
