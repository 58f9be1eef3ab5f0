"""Rehearse a publication of stock and prices: find the changes, and have the marketplace check it."""

from typing import NamedTuple

from kalathi.contract.products import MOST_PRODUCTS, ProductUpdate
from kalathi.merchant.client import CallError
from kalathi.merchant.client.async_products import AsyncProducts
from kalathi.merchant.context import Context
from kalathi.merchant.policy import StockPolicy
from kalathi.merchant.promises import Promises
from kalathi.merchant.publishing import Blocked
from kalathi.merchant.stock import Shelf
from kalathi.merchant.stock_differences import StockDifferences, split


class Change(NamedTuple):
    """A product that would change: the published values, None if there are none, and the new ones."""

    before: ProductUpdate | None
    after: ProductUpdate


class Rehearsal(NamedTuple):
    """The result of a rehearsal. `failures` are the marketplace's sentences about the batches."""

    changes: list[Change]
    blocked: list[Blocked]
    failures: list[str]


async def rehearse_publication(
    context: Context, products: AsyncProducts, shelf: Shelf, policy: StockPolicy
) -> Rehearsal:
    """Compare the shelf with the published values of the inbox, and have the differences validated. Nothing is sent and
    nothing is written."""
    differences = StockDifferences(context, policy, Promises(context.inbox.publications), writes=False)
    product_ids = await differences.find(shelf)
    changes: list[Change] = []
    failures: list[str] = []
    for some in split(product_ids, MOST_PRODUCTS):
        targets = differences.make_targets(some)
        present = context.inbox.publications.of(some)
        for target in targets:
            row = present.get(target.update.product_id)
            changes.append(Change(None if row is None else row.update, target.update))
        try:
            await products.validate([target.update for target in targets])
        except CallError as error:
            failures.append(str(error))
    return Rehearsal(changes, list(differences.blocked.values()), failures)
