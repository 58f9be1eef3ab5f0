"""Compare the shop's numbers with the published ones.

A change of the source compares every product. A change of the reservations compares only the products whose pieces they
hold, because a shop may have a hundred thousand products and an order has two.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

from msgspec import UNSET

from kalathi.merchant.context import Context
from kalathi.merchant.inbox.publications import Publication
from kalathi.merchant.policy import StockPolicy
from kalathi.merchant.promises import Promises
from kalathi.merchant.publishing import (
    NOT_PUBLISHED,
    Blocked,
    Target,
    list_products,
    make_gone_target,
    make_target,
)
from kalathi.merchant.stock import Shelf

T = TypeVar("T")

# The event loop must answer webhooks between the parts of a large comparison.
_AT_ONCE: Final = 1000
# A product may be missing because the file is incomplete. After this time the source no longer has it.
_GONE_SECONDS: Final = 3600.0
# A product that comes back within this time is compared with its earlier price.
_FORGOTTEN_SECONDS: Final = 30 * 86_400.0
# Every product is compared this often, even if nothing has changed.
_COMPARE_ALL_SECONDS: Final = 3600.0


class StockDifferences:
    """The products whose values differ from the published ones."""

    def __init__(self, context: Context, policy: StockPolicy, promises: Promises, *, writes: bool = True) -> None:
        """Without `writes`, nothing is written to the inbox: it may be that of a running connector."""
        self._context = context
        self._publications = context.inbox.publications
        self._reservations = context.inbox.reservations
        self._policy = policy
        self._promises = promises
        self._writes = writes
        self.shelf = Shelf()
        # The products of the shelf, with the uids under which the source counts them.
        self.uids: dict[str, tuple[str, ...]] = {}
        self.blocked: dict[str, Blocked] = {}
        # Products that the source has not named for an hour: those that are published without pieces, and the others.
        self.gone: list[str] = []
        self.lost: list[str] = []
        self._different: dict[str, None] = {}
        self._held: dict[str, int] = {}
        self._compared_at: float | None = None

    def forget(self) -> None:
        """Compare everything the next time."""
        self._compared_at = None

    async def find(self, shelf: Shelf) -> list[str]:
        """Return the products that differ."""
        now, held = self._context.clock(), self._count_held(shelf)
        by_orders = self._publications.take_moved(shelf.products) if self._writes else []
        compared_at, self._compared_at = self._compared_at, None  # If this comparison fails, compare everything again.
        is_recent = compared_at is not None and 0 <= now - compared_at < _COMPARE_ALL_SECONDS
        if shelf is self.shelf and is_recent:
            moved = {uid for uid in held.keys() | self._held.keys() if held.get(uid, 0) != self._held.get(uid, 0)}
            named = dict.fromkeys(shelf.products.get(uid, uid) for uid in moved)
            # Another process may have allowed a price.
            named |= dict.fromkeys([*by_orders, *self._publications.list_allowed()])
            product_ids = [product_id for product_id in named if product_id in self.uids]
        else:
            self.shelf, self.uids = shelf, list_products(shelf)
            self._different, self.blocked = {}, {}
            self.gone, self.lost = await self._find_gone(now)
            # Products that were lost stay as they are, if they are most of all. The others have no pieces anyway.
            product_ids = [*self.uids, *self.gone, *([] if self.has_lost_most else self.lost)]
            compared_at = now
        self._held = held
        for some in split(product_ids, _AT_ONCE):
            self._compare(some, held)
            await asyncio.sleep(0)
        self._compared_at = compared_at
        return list(self._different)

    def make_targets(self, product_ids: Sequence[str]) -> list[Target]:
        """Return the values of these products at this moment; blocked ones are left out."""
        present, held = self._publications.of(product_ids), self._count_held(self.shelf)
        made = (self._make_target(product_id, present.get(product_id), held) for product_id in product_ids)
        return [target for target in made if isinstance(target, Target)]

    def _count_held(self, shelf: Shelf) -> dict[str, int]:
        """Return the pieces of accepted and open orders, by the uids under which the source counts them."""
        reserved = self._reservations.find_holders(self._promises.list_open())
        return Counter(self._reservations.pieces()) + self._promises.pieces(shelf, reserved)

    def note_sent(self, product_ids: Sequence[str]) -> None:
        """Record that the marketplace has these values now."""
        for product_id in product_ids:
            self._different.pop(product_id, None)

    @property
    def has_any(self) -> bool:
        """Whether products differ."""
        return bool(self._different)

    @property
    def has_lost_most(self) -> bool:
        """Whether the source has lost more products than it still has. These stay as they are."""
        return len(self.lost) > len(self.uids)

    def _compare(self, product_ids: Sequence[str], held: Mapping[str, int]) -> None:
        present = self._publications.of(product_ids)
        for product_id in product_ids:
            row = present.get(product_id)
            target = self._make_target(product_id, row, held)
            self.blocked.pop(product_id, None)
            self._different.pop(product_id, None)
            if isinstance(target, Blocked):
                self.blocked[product_id] = target
            elif target is not None and not (row is not None and row.has(target.update)):
                self._different[product_id] = None
            if row is not None and isinstance(target, Target):
                self._note_waiting_price(row, target)

    def _note_waiting_price(self, row: Publication, target: Target) -> None:
        if self._writes and row.waiting_price != target.waiting_price:
            self._publications.note_waiting_price(row.product_id, target.waiting_price)
        is_over = row.allowed_price is not None and target.waiting_price is None and row.has(target.update)
        if self._writes and is_over:
            self._publications.forget_permission(row.product_id)

    def _make_target(
        self, product_id: str, row: Publication | None, held: Mapping[str, int]
    ) -> Target | Blocked | None:
        published = NOT_PUBLISHED if row is None else row.published
        uids = self.uids.get(product_id)
        if uids is None:
            return make_gone_target(published, self._policy)
        return make_target(product_id, uids, self.shelf, held, self._policy, published)

    async def _find_gone(self, now: float) -> tuple[list[str], list[str]]:
        """Return the products that the source has not named for an hour: those that are published without pieces, and
        the others."""
        if self._writes:
            self._publications.forget_gone(now - _FORGOTTEN_SECONDS)
        after = ""
        gone_for_good: list[str] = []
        lost: list[str] = []
        while page := self._publications.page(after, _AT_ONCE):
            after = page[-1].product_id
            gone = [row for row in page if row.update is not None and not self._names(row)]
            back = [row.product_id for row in page if row.gone_at is not None and self._names(row)]
            if back and self._writes:
                self._publications.clear_gone(back)
            new = [row.product_id for row in gone if row.gone_at is None]
            if new and self._writes:
                self._publications.mark_gone(new, now)
            for row in gone:
                if row.update is not None and row.gone_at is not None and now - row.gone_at >= _GONE_SECONDS:
                    (lost if row.update.quantity else gone_for_good).append(row.product_id)
            await asyncio.sleep(0)
        return gone_for_good, lost

    def _names(self, row: Publication) -> bool:
        """Whether the source names the product, or names one of its variations in a row that cannot be read."""
        if row.product_id in self.uids:
            return True
        variations = UNSET if row.update is None else row.update.variations
        return variations is not UNSET and any(entry.variation_id in self.shelf.unreadable for entry in variations)


def split(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the values in parts of this size."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
