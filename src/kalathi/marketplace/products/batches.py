"""Accept batches of stock and prices, write them later, and answer for their results."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from kalathi.contract.products import MOST_PRODUCTS, ProductResult, ProductUpdate
from kalathi.marketplace.kernel.clock import BusinessClock, to_millis
from kalathi.marketplace.kernel.due import DueKind, DueRow, complete, plan
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.products import store
from kalathi.marketplace.products.applying import apply_batch
from kalathi.marketplace.products.model import Batch, BatchContent
from kalathi.marketplace.products.refusals import BatchNotFound
from kalathi.marketplace.products.scanning import find_obstacle
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import ListingSource, Shop
from kalathi.marketplace.shops.store import ListingInStock, StoredListing, VariationInStock, VariationsByListing

# Makes the new values of a product from its listing and its variations.
MakeUpdate = Callable[[ListingInStock, Mapping[str, VariationInStock]], ProductUpdate]

# An id has 24 hexadecimal digits (docs/contract.md#section-10).
_ID_BYTES: Final = 12
_FORGOTTEN_AT_ONCE: Final = 100


class ProductBatches:
    """The batches of all shops."""

    def __init__(self, database: Database, clock: BusinessClock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        # One batch of a shop at a time gets its sequence. Otherwise concurrent ones would lose their races.
        self._accepting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def check_state(self, shop: Shop) -> None:
        """Check that the shop's products can be changed now. Raises PRODUCTS_SHOP_STATE."""
        obstacle = find_obstacle(shop, self._settings.feed_scan_minutes, self._clock.now())
        if obstacle is not None:
            raise refuse(obstacle)

    async def accept(self, shop: Shop, products: Sequence[ProductUpdate]) -> str:
        """Store a batch, and plan the job that writes it. Return its id once it is on disk. Raises
        PRODUCTS_SHOP_STATE."""
        self.check_state(shop)
        batch_id = secrets.token_hex(_ID_BYTES)
        content = BatchContent(products=tuple(products))

        def command(view: View) -> tuple[ChangeSet, None]:
            now = self._clock.now()
            new = Batch(shop.id, batch_id, store.next_sequence(view, shop.id, now), now, None, content)
            now_millis = to_millis(now)
            due_at = now_millis + self._settings.product_batch_seconds * 1000
            row = plan(DueKind.PRODUCTS, shop.id, batch_id, new.sequence, due_at=due_at, anchor_at=now_millis)
            return ChangeSet(store.insert_batch(new), row), None

        async with self._accepting.setdefault(shop.id, asyncio.Lock()):
            await self._database.run(command)
        return batch_id

    async def find(self, shop_id: str, batch_id: str) -> Batch:
        """Return the shop's batch. Raises NOT_FOUND, also for a batch older than `product_batch_days`."""
        found = await self._database.read_point(lambda view: store.batch(view, shop_id, batch_id))
        if found is None or found.created_at < self._clock.now() - self._kept():
            raise refuse(BatchNotFound())
        return found

    async def write(
        self, shop_id: str, products: Sequence[ProductUpdate], source: ListingSource
    ) -> list[ProductResult]:
        """Change products at once, for a page. Batches that were accepted before do not change them any more."""
        results: list[ProductResult] = []
        for start in range(0, len(products), MOST_PRODUCTS):
            some = tuple(products[start : start + MOST_PRODUCTS])
            results += await self._database.run(partial(self._write, shop_id, some, source))
        return results

    async def edit(self, shop_id: str, shop_uid: str, make: MakeUpdate, source: ListingSource) -> ProductResult | None:
        """Change one product at once, for a page. `make` returns the new values from the present ones. If an order
        takes pieces at the same moment, it is called again. None if there is no such product."""

        def command(view: View) -> tuple[ChangeSet, ProductResult | None]:
            now = self._clock.now()
            stored, listings, variations = _read_present(view, shop_id, [shop_uid])
            if shop_uid not in listings:
                return ChangeSet(), None
            update = make(listings[shop_uid], variations.get(shop_uid, {}))
            applied = apply_batch((update,), store.next_sequence(view, shop_id, now), listings, variations, now, source)
            changes = ChangeSet()
            if applied.listings:
                changes.add(*store.update_listings(shop_id, stored, applied, same_stock_of=variations))
            return changes, applied.results[0]

        return await self._database.run(command)

    def _write(
        self, shop_id: str, products: tuple[ProductUpdate, ...], source: ListingSource, view: View
    ) -> tuple[ChangeSet, list[ProductResult]]:
        now = self._clock.now()
        stored, listings, variations = _read_present(view, shop_id, [new.product_id for new in products])
        applied = apply_batch(products, store.next_sequence(view, shop_id, now), listings, variations, now, source)
        changes = ChangeSet()
        if applied.listings:
            changes.add(*store.update_listings(shop_id, stored, applied))
        return changes, applied.results

    async def execute(self, row: DueRow) -> None:
        """Write the products of a batch to the listings, as one change set with their results."""

        def command(view: View) -> tuple[ChangeSet, None]:
            now = self._clock.now()
            found = store.batch(view, row.shop_id, row.subject)
            if found is None or found.executed_at is not None:
                return ChangeSet(complete(row)), None
            products = found.content.products
            stored, listings, variations = _read_present(view, row.shop_id, [new.product_id for new in products])
            applied = apply_batch(products, found.sequence, listings, variations, now)
            changes = ChangeSet(complete(row), store.complete_batch(found, applied, now))
            changes.add(*store.update_listings(row.shop_id, stored, applied))
            return changes, None

        await self._database.run(command)

    async def forget_old(self, ending: asyncio.Event) -> None:
        """Delete the batches whose status is no longer kept, in small sets. Stop when the process ends."""
        before_millis = to_millis(self._clock.now() - self._kept())
        while not ending.is_set():
            changes = await self._database.read_list(
                lambda view: store.forget_batches(view, before_millis, _FORGOTTEN_AT_ONCE)
            )
            if changes.is_empty:
                return
            await self._database.commit(changes)

    def _kept(self) -> timedelta:
        return timedelta(days=self._settings.product_batch_days)


class _Present(NamedTuple):
    """The stored listings of some products, the listings alone, and their variations."""

    stored: dict[str, StoredListing]
    listings: dict[str, ListingInStock]
    variations: VariationsByListing


def _read_present(view: View, shop_id: str, product_ids: Collection[str]) -> _Present:
    stored = shops.stored_listings(view, shop_id, set(product_ids))
    listings = {shop_uid: present.entry for shop_uid, present in stored.items()}
    return _Present(stored, listings, shops.variations(view, shop_id, shops.find_varied(listings.values())))
