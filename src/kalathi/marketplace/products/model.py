"""A batch of stock and prices as the database has it."""

from datetime import datetime
from typing import NamedTuple

from msgspec import UNSET, Struct

from kalathi.contract.products import (
    BatchResults,
    BatchStatus,
    ProductResult,
    ProductStatus,
    ProductUpdate,
    VariationResult,
)
from kalathi.marketplace.kernel.clock import athens


class BatchContent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stored content: the products until they are written, then their results."""

    products: tuple[ProductUpdate, ...] = ()
    results: tuple[ProductResult, ...] = ()


class Batch(NamedTuple):
    """A batch of a shop. The sequence is the order in which the marketplace has accepted the shop's batches.
    `executed_at` is None while in progress."""

    shop_id: str
    batch_id: str
    sequence: int
    created_at: datetime
    executed_at: datetime | None
    content: BatchContent

    def on_the_wire(self) -> BatchResults:
        """Return the answer of the status call. Products that are not written yet are in progress."""
        is_done = self.executed_at is not None
        return BatchResults(
            id=self.batch_id,
            status=BatchStatus.COMPLETED if is_done else BatchStatus.IN_PROGRESS,
            created_at=athens(self.created_at),
            results=list(self.content.results) if is_done else [_in_progress(new) for new in self.content.products],
        )


def _in_progress(new: ProductUpdate) -> ProductResult:
    waiting = ProductStatus.IN_PROGRESS
    variations = [
        VariationResult(variation_id=variation.variation_id, status=waiting)
        for variation in (() if new.variations is UNSET else new.variations)
    ]
    return ProductResult(product_id=new.product_id, status=waiting, variations=variations)
