"""Send one batch of products. Products that the marketplace cannot read are left out, and the rest is sent."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from kalathi.merchant.client import BatchSizeError, MarketplaceError, ShopStateError
from kalathi.merchant.context import Context
from kalathi.merchant.publishing import Target
from kalathi.merchant.stock_differences import StockDifferences
from kalathi.merchant.stock_notices import StockNotices

_log = structlog.get_logger("kalathi.merchant")

FIRST_STATUS_SECONDS: Final = 5.0
# The answers to a body that cannot be read, or is too large. Other answers are about the whole shop.
ABOUT_THE_BODY: Final = frozenset({400, 413, 422})
# If the marketplace refuses so many products one by one, and takes none, then the fault is not in the products.
_REFUSED_ALONE: Final = 10


class BatchSending:
    """The batches of one round. Every call has the numbers of its moment, also after a refusal."""

    def __init__(
        self, context: Context, differences: StockDifferences, notices: StockNotices, note_taken: Callable[[], None]
    ) -> None:
        """`note_taken` is called after each batch that the marketplace has taken."""
        self._context = context
        self._publications = context.inbox.publications
        self._products = context.client.products
        self._differences = differences
        self._notices = notices
        self._note_taken = note_taken
        self._has_taken = False
        # Products that were refused alone and without their names, before anything was taken.
        self._suspects: dict[str, Target] = {}
        self._suspicion: MarketplaceError | None = None

    async def send(self, product_ids: Sequence[str]) -> None:
        """Send the products. If the marketplace refuses a batch because of some of its products, leave these out. It
        may name them or not; then half of the batch is sent at a time. Raises CallError."""
        parts = [list(product_ids)]
        while parts:
            some = parts.pop()
            targets = self._differences.make_targets(some)
            if targets:
                try:
                    await self._send(targets)
                except MarketplaceError as error:
                    if isinstance(error, ShopStateError) or error.status not in ABOUT_THE_BODY:
                        raise
                    parts += self._divide(targets, error)
                    continue
            self._differences.note_sent(some)

    async def _send(self, targets: Sequence[Target]) -> None:
        self._publications.begin(targets)
        batch_id = await self._products.batch([target.update for target in targets])
        now = self._context.clock()
        self._publications.confirm(targets, batch_id, now, now + FIRST_STATUS_SECONDS)
        self._has_taken = True
        self._refuse_suspects()
        self._context.metrics.note_done("published")
        _log.info("published", products=len(targets), batch=batch_id)
        self._note_taken()

    def _divide(self, targets: Sequence[Target], error: MarketplaceError) -> list[list[str]]:
        """Record the refused products, and return the batches to send instead. Raises the error if the fault is not in
        the products."""
        product_ids = [target.update.product_id for target in targets]
        refused = {} if isinstance(error, BatchSizeError) else _find_refused(error, targets)
        if not refused and len(targets) > 1:
            middle = len(targets) // 2
            return [product_ids[middle:], product_ids[:middle]]
        if not refused:
            self._suspects[product_ids[0]], self._suspicion = targets[0], error
            if self._has_taken:
                self._refuse_suspects()
            elif len(self._suspects) > _REFUSED_ALONE:
                raise error
            return []
        self._refuse([target for target in targets if target.update.product_id in refused], refused)
        return [[product_id for product_id in product_ids if product_id not in refused]]

    def end_part(self) -> None:
        """Raise the refusal of single products, if nothing was taken: then the fault may be in none of them."""
        if self._suspicion is not None:
            raise self._suspicion

    def _refuse_suspects(self) -> None:
        if self._suspicion is not None:
            reason = "; ".join(self._suspicion.messages) or str(self._suspicion)
            self._refuse(list(self._suspects.values()), dict.fromkeys(self._suspects, reason))
            self._suspects, self._suspicion = {}, None

    def _refuse(self, targets: Sequence[Target], reasons: Mapping[str, str]) -> None:
        self._publications.refuse(targets, reasons)
        self._notices.report_refused()
        self._differences.note_sent([target.update.product_id for target in targets])


def _find_refused(error: MarketplaceError, targets: Sequence[Target]) -> dict[str, str]:
    """Return the marketplace's sentence for each product that it names, itself or by a variation."""
    named: dict[str, str] = {}
    for target in targets:
        update = target.update
        named[f"Product {update.product_id}: "] = update.product_id
        for variation in update.variations or ():
            named.setdefault(f"Variation {variation.variation_id}: ", update.product_id)
    refused: dict[str, str] = {}
    for message in error.messages:
        found = [product_id for start, product_id in named.items() if message.startswith(start)]
        for product_id in found[:1]:
            refused.setdefault(product_id, message)
    return refused
