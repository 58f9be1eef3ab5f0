"""The effect of a batch on the listings, pure: their new values, and the result of each product and variation."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from kalathi.contract.products import (
    ProductResult,
    ProductStatus,
    ProductUpdate,
    VariationResult,
    VariationUpdate,
)
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.money import LARGEST_AMOUNT
from kalathi.marketplace.shops.model import LARGEST_QUANTITY, ListingSource
from kalathi.marketplace.shops.store import ListingInStock, VariationInStock, VariationsByListing

_LARGEST_CENTS: Final = int(LARGEST_AMOUNT * 100)


class Applied(NamedTuple):
    """The listings and variations with their new values, by their ids, and the results in the batch's order."""

    listings: dict[str, ListingInStock]
    variations: VariationsByListing
    results: list[ProductResult]


def apply_batch(
    products: tuple[ProductUpdate, ...],
    sequence: int,
    listings: Mapping[str, ListingInStock],
    variations: VariationsByListing,
    now: datetime,
    source: ListingSource = ListingSource.PRODUCTS_API,
) -> Applied:
    """Apply a batch to the present listings and variations.

    A listing that a later batch has changed already stays as it is. If a batch names a product twice, the second entry
    is applied to the result of the first.
    """
    applied = Applied({}, {}, [])
    for new in products:
        present = applied.listings.get(new.product_id) or listings.get(new.product_id)
        if present is None:
            applied.results.append(_fail(new, "Product not found.", now))
            continue
        if present.listing.batch > sequence:
            applied.results.append(_fail(new, "A later batch has changed this product.", now))
            continue
        reason = _find_fault(new)
        if reason:
            applied.results.append(_fail(new, reason, now))
            continue
        before = {**variations.get(new.product_id, {}), **applied.variations.get(new.product_id, {})}
        results = _apply_variations(new, before, applied.variations, now)
        applied.results.append(_apply_product(new, sequence, present, applied, results, now, source))
    return applied


def _apply_product(
    new: ProductUpdate,
    sequence: int,
    present: ListingInStock,
    applied: Applied,
    variations: list[VariationResult],
    now: datetime,
    source: ListingSource,
) -> ProductResult:
    unit_price = _euros(new.price)
    listing = present.listing
    is_same = (present.quantity, listing.enabled, listing.unit_price) == (new.quantity, new.enabled, unit_price)
    has_changed = not is_same or any(result.status is ProductStatus.SUCCESS for result in variations)
    if has_changed:
        listing = replace(
            listing,
            unit_price=unit_price,
            enabled=new.enabled,
            changed_at=athens(now),
            changed_by=source,
        )
    applied.listings[new.product_id] = ListingInStock(replace(listing, batch=sequence), new.quantity)
    status = ProductStatus.NO_CHANGE if is_same else ProductStatus.SUCCESS
    return ProductResult(product_id=new.product_id, status=status, executed_at=athens(now), variations=variations)


def _apply_variations(
    new: ProductUpdate, present: Mapping[str, VariationInStock], changed: VariationsByListing, now: datetime
) -> list[VariationResult]:
    results = []
    for update in () if new.variations is UNSET else new.variations:
        entry = present.get(update.variation_id)
        reason = "Variation not found." if entry is None else _find_fault(update)
        status = ProductStatus.FAILURE
        if entry is not None and not reason:
            variation = replace(entry.variation, unit_price=_euros(update.price), enabled=update.enabled)
            after = VariationInStock(variation, update.quantity)
            status = ProductStatus.NO_CHANGE if after == entry else ProductStatus.SUCCESS
            changed.setdefault(new.product_id, {})[update.variation_id] = after
        results.append(
            VariationResult(
                variation_id=update.variation_id, status=status, message=reason or None, executed_at=athens(now)
            )
        )
    return results


def _find_fault(new: ProductUpdate | VariationUpdate) -> str:
    """Return the reason why these values cannot be set; empty if they can."""
    if not 0 <= new.quantity <= LARGEST_QUANTITY:
        return f"The quantity must be from 0 to {LARGEST_QUANTITY}."
    if not 0 < new.price <= _LARGEST_CENTS:
        return f"The price must be from 1 to {_LARGEST_CENTS} cents."
    return ""


def _fail(new: ProductUpdate, reason: str, now: datetime) -> ProductResult:
    """Return the failure of a product. Its variations are not changed either."""
    at = athens(now)
    variations = [
        VariationResult(variation_id=update.variation_id, status=ProductStatus.FAILURE, message=reason, executed_at=at)
        for update in (() if new.variations is UNSET else new.variations)
    ]
    return ProductResult(
        product_id=new.product_id,
        status=ProductStatus.FAILURE,
        message=reason,
        executed_at=at,
        variations=variations,
    )


def _euros(cents: int) -> Decimal:
    return Decimal(cents) / 100
