"""Fresh keys: random ids, and codes from blocks that are reserved in the database (docs/decisions/0011)."""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Final

from kalathi.marketplace.kernel import ids
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, Insert, Update
from kalathi.marketplace.kernel.storage.database import Database, View

_BLOCK: Final = 1000
# The first command draws this many numbers for each code and place, because their places are not known yet.
_CHOICE: Final = 8
# The blocks that are reserved for one command at most, so that each place has enough.
_MOST_BLOCKS: Final = 8
_MOST_DRAWS: Final = 200
# The counter, and the key with which its numbers are scrambled.
_NAME: Final = "order_codes"


class DrawnKeys:
    """Keys for one command; no other command can draw the same codes.

    Each code, and each id of a cart, is chosen so that its row is at the place of its shop. So the rows of an order
    are written in one place of a database that is spread over nodes.
    """

    def __init__(
        self, numbers: list[int], code_key: bytes = b"", place_of: Callable[[str], str] = lambda _key: ""
    ) -> None:
        """`place_of` returns the name of the place that has the rows of a shop, a code or a cart."""
        self.numbers = numbers
        # The day of the last code.
        self.day: date | None = None
        self._code_key = code_key
        self._place_of = place_of

    def order_code(self, now: datetime, shop_id: str) -> str:
        """A new order code of the business day of `now` in Athens."""
        return self._draw_code(ids.order_code, now, shop_id)

    def return_code(self, now: datetime, shop_id: str) -> str:
        """A new return code of that day."""
        return self._draw_code(ids.return_code, now, shop_id)

    def purchase_order_code(self, now: datetime, shop_id: str) -> str:
        """A new code of a purchase order of that day."""
        return self._draw_code(ids.purchase_order_code, now, shop_id)

    def cart_id(self, shop_id: str) -> str:
        """A new id of a cart with an order of this shop."""
        place, drawn = self._place_of(shop_id), ids.opaque_id()
        for _ in range(_MOST_DRAWS):
            if self._place_of(drawn) == place:
                break
            drawn = ids.opaque_id()
        return drawn

    def opaque_id(self) -> str:
        """A new public id."""
        return ids.opaque_id()

    def secret_link(self) -> str:
        """A new name for a file behind an unguessable link (docs/decisions/0014)."""
        return ids.secret_token()

    def _draw_code(self, make: Callable[[date, int, bytes], str], now: datetime, shop_id: str) -> str:
        """Take the first number whose code is at the shop's place; if there is none, any number."""
        day, place = athens(now).date(), self._place_of(shop_id)
        self.day = day
        for at in range(len(self.numbers) - 1, -1, -1):
            code = make(day, self.numbers[at], self._code_key)
            if self._place_of(code) == place:
                del self.numbers[at]
                return code
        return make(day, self.numbers.pop(), self._code_key)


class KeyReserve:
    """A reserve of codes, so that most commands need no read. When a process stops, its unused codes are lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # The numbers by the place of their codes on `_day`, the day of the last code. All are at one place before the
        # first code, and if the database has one place.
        self._numbers: dict[str, list[int]] = {}
        self._day: date | None = None
        self._code_key = b""
        self._refilling = asyncio.Lock()

    async def draw(self, count: int) -> DrawnKeys:
        """Return keys with at least `count` codes for the shops of each place. Unused ones may be given back."""
        async with self._refilling:
            for _ in range(_MOST_BLOCKS):
                if self._has_enough(count):
                    break
                await self._reserve(max(_BLOCK, count))
            while sum(map(len, self._numbers.values())) < count:
                await self._reserve(max(_BLOCK, count))
            drawn: list[int] = []
            for numbers in self._numbers.values():
                wanted = count if self._day else count * self._database.count_places() * _CHOICE
                drawn += numbers[: -wanted - 1 : -1]
                del numbers[-wanted:]
        return DrawnKeys(drawn[::-1], self._code_key, self._database.place_of)

    def give_back(self, keys: DrawnKeys) -> None:
        """Put the unused codes of a command back into the reserve."""
        if keys.day is not None and keys.day != self._day and self._database.count_places() > 1:
            self._day = keys.day
            numbers = [number for some in self._numbers.values() for number in some]
            self._numbers = {}
            self._keep(numbers)
        self._keep(keys.numbers)
        keys.numbers = []

    def _has_enough(self, count: int) -> bool:
        places = self._database.count_places() if self._day else 1
        enough = sum(len(numbers) >= count for numbers in self._numbers.values())
        return enough >= places

    def _keep(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            place = ""
            if self._day is not None:
                place = self._database.place_of(ids.order_code(self._day, number, self._code_key))
            self._numbers.setdefault(place, []).append(number)

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
        self._keep(range(start + size - 1, start - 1, -1))


def _load(view: View) -> tuple[int | None, bytes | None]:
    """Return the counter's value and the key of codes, each None if it is not there yet."""
    value = view.one("SELECT value FROM counters WHERE name = :name", {"name": _NAME})
    code_key = view.one("SELECT value FROM secrets WHERE name = :name", {"name": _NAME})
    return value[0] if value else None, code_key[0] if code_key else None
