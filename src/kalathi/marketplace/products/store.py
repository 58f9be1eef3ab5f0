"""Batches in the database: reads, and the rows of their change sets."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from kalathi.contract.codec import decode, encode
from kalathi.marketplace.kernel.clock import from_millis, to_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Insert, Update, UpdateMany, Value
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.products.applying import Applied
from kalathi.marketplace.products.model import Batch, BatchContent
from kalathi.marketplace.shops.store import StoredListing, VariationsByListing

# Of a batch in progress.
_NOT_YET: Final = 0


def batch(view: View, shop_id: str, batch_id: str) -> Batch | None:
    """The shop's batch with this id, or None."""
    row = view.one(
        "SELECT sequence, created_at, executed_at, document FROM product_batches"
        " WHERE shop_id = :shop_id AND batch_id = :batch_id",
        {"shop_id": shop_id, "batch_id": batch_id},
    )
    if row is None:
        return None
    sequence, created_at, executed_at, document = row
    done_at = None if executed_at == _NOT_YET else from_millis(executed_at)
    return Batch(shop_id, batch_id, sequence, from_millis(created_at), done_at, decode(document, BatchContent))


def next_sequence(view: View, shop_id: str, now: datetime) -> int:
    """Return the sequence of the shop's next batch: the time in milliseconds, and more than that of every batch before.
    A sequence is never used twice, even after old batches were deleted."""
    row = view.one("SELECT max(sequence) FROM product_batches WHERE shop_id = :shop_id", {"shop_id": shop_id})
    last = row[0] if row and row[0] is not None else 0
    return max(last + 1, to_millis(now))


def insert_batch(new: Batch) -> Insert:
    """A new batch, in progress."""
    row: dict[str, Value] = {
        "shop_id": new.shop_id,
        "batch_id": new.batch_id,
        "sequence": new.sequence,
        "created_at": to_millis(new.created_at),
        "executed_at": _NOT_YET,
        "document": encode(new.content),
    }
    return Insert("product_batches", row)


def complete_batch(done: Batch, applied: Applied, now: datetime) -> Update:
    """Return the update that replaces the batch's products with their results. It fails if that has happened
    already."""
    key: dict[str, Value] = {"shop_id": done.shop_id, "batch_id": done.batch_id}
    document = encode(BatchContent(results=tuple(applied.results)))
    values: dict[str, Value] = {"executed_at": to_millis(now), "document": document}
    return Update("product_batches", key, values, when={"executed_at": _NOT_YET})


def update_listings(
    shop_id: str,
    before: Mapping[str, StoredListing],
    applied: Applied,
    *,
    same_stock_of: VariationsByListing | None = None,
) -> list[UpdateMany]:
    """Return the updates of the variations and listings. They fail if another command has changed one of the listings.

    Orders change only quantities, and do not collide with them: a batch sets the stock. With `same_stock_of`, the
    present variations, they fail as well if an order has changed the stock.
    """
    key, values = ("shop_id", "shop_uid"), ("quantity", "document")
    listings: list[tuple[Value, ...]] = []
    for shop_uid, entry in applied.listings.items():
        stored = before[shop_uid]
        guards = (stored.document,) if same_stock_of is None else (stored.document, stored.entry.quantity)
        listings.append((entry.quantity, encode(entry.listing), shop_id, shop_uid, *guards))
    variations: list[tuple[Value, ...]] = []
    for shop_uid, entries in applied.variations.items():
        for variation_id, one in entries.items():
            guard = () if same_stock_of is None else (same_stock_of[shop_uid][variation_id].quantity,)
            variations.append((one.quantity, encode(one.variation), shop_id, shop_uid, variation_id, *guard))
    stock = () if same_stock_of is None else ("quantity",)
    # The variations come first, as in the commands of orders. Otherwise both would wait for each other on PostgreSQL.
    return [
        UpdateMany("listing_variations", values, (*key, "variation_id"), stock, variations),
        UpdateMany("listings", values, key, ("document", *stock), listings),
    ]


def forget_batches(view: View, before_millis: int, limit: int) -> ChangeSet:
    """Return the deletion of up to `limit` completed batches that are older than a business time; empty if there are
    none."""
    rows = view.all(
        "SELECT shop_id, batch_id FROM product_batches WHERE created_at < :before AND executed_at <> :not_yet"
        " ORDER BY created_at LIMIT :limit",
        {"before": before_millis, "not_yet": _NOT_YET, "limit": limit},
    )
    return ChangeSet(
        *(
            Delete("product_batches", {"shop_id": shop_id, "batch_id": batch_id}, touches=None)
            for shop_id, batch_id in rows
        )
    )
