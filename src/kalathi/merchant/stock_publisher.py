"""Publish stock and prices: send the differences in batches, and read the results.

The publisher runs beside the connector's jobs. The connector wakes it after each job, for example an acceptance, and it
looks for changes of the source by itself. It never sends a number that has waited: each batch has the numbers of the
moment in which it is sent.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from kalathi.contract.products import MOST_PRODUCTS, BatchStatus, ProductResult, ProductStatus
from kalathi.contract.reading import ATHENS
from kalathi.merchant.client import (
    CallError,
    MarketplaceError,
    NotFoundError,
    ProductFormatError,
    ShopStateError,
    UnauthorizedError,
)
from kalathi.merchant.context import Context
from kalathi.merchant.inbox.publications import UNPUBLISHED, SentBatch
from kalathi.merchant.pauses import pause_seconds
from kalathi.merchant.policy import StockPolicy
from kalathi.merchant.publishing import Target
from kalathi.merchant.stock import StockError
from kalathi.merchant.stock_differences import StockDifferences, split
from kalathi.merchant.stock_notices import StockNotices
from kalathi.merchant.stock_reader import StockReader

_log = structlog.get_logger("kalathi.merchant")

# Several changes within this time are sent together.
COALESCE_SECONDS: Final = 3.0
# A scan of an XML feed takes minutes. A shop that takes no batches at all is a matter for a person.
_SCAN_SECONDS: Final = 60.0
_REFUSED_SECONDS: Final = 600.0
_FIRST_STATUS_SECONDS: Final = 5.0
_LONGEST_STATUS_SECONDS: Final = 300.0
# About four hours. Later answers no longer matter, because the night's comparison sends everything again.
_STATUS_TRIES: Final = 50
# The moment of the last comparison of everything.
_LAST_FULL: Final = "all published"
_TAKEN: Final = frozenset({ProductStatus.SUCCESS, ProductStatus.NO_CHANGE})


class StockPublisher:
    """Publishes the stock of one shop."""

    def __init__(self, context: Context, stock: StockReader, policy: StockPolicy) -> None:
        self._context = context
        self._inbox = context.inbox
        self._publications = context.inbox.publications
        self._products = context.client.products
        self._stock = stock
        self._policy = policy
        self._differences = StockDifferences(context, policy)
        self._notices = StockNotices(context)
        self._awake = asyncio.Event()
        # Make no batch before this time (seconds since 1970), because of a scan or a failure.
        self._not_before = 0.0
        self._failures = 0
        self._waits_for_scan = False

    def wake(self) -> None:
        """Make the publisher compare now."""
        self._awake.set()

    async def run(self) -> None:
        """Publish until cancelled. Every failure is logged and tried again."""
        while True:
            self._awake.clear()
            try:
                pause = await self.publish()
            except Exception:  # noqa: BLE001  (a locked or full disk must not end the connector)
                _log.exception("publishing_failed")
                pause = pause_seconds(self._failures)
                self._failures += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), pause)

    async def publish(self) -> float:
        """Send the differences that are due, and read the results that are due. Return the seconds until the next
        look."""
        await self._read_results()
        now = self._context.clock()
        self._plan_full(now)
        try:
            shelf = await self._stock.read()
        except (StockError, CallError):
            return self._stock.poll_seconds  # The reader reports it.
        different = await self._differences.find(shelf)
        self._report()
        if not different:
            self._inbox.forget_moment(UNPUBLISHED)
            return self._stock.poll_seconds
        since = self._note_difference(now)
        begin_at = max(since + COALESCE_SECONDS, self._not_before)
        if now < begin_at:
            return min(begin_at - now, self._stock.poll_seconds)
        return await self._send_all(different)

    def _note_difference(self, now: float) -> float:
        """Return the time since which a difference is not published."""
        since = self._inbox.moment(UNPUBLISHED)
        if since is None or since > now:
            since = now
            self._inbox.mark_moment(UNPUBLISHED, now)
        return since

    def _plan_full(self, now: float) -> None:
        """Once a night, make every product count as different."""
        local = datetime.fromtimestamp(now, ATHENS)
        planned = local.replace(hour=self._policy.full_at_hour, minute=0, second=0, microsecond=0)
        if planned > local:
            planned -= timedelta(days=1)
        last = self._inbox.moment(_LAST_FULL)
        if last is not None and planned.timestamp() <= last <= now:
            return
        if last is not None:
            self._publications.mark_all_unconfirmed()
            self._differences.forget()
        self._inbox.mark_moment(_LAST_FULL, now)

    def _report(self) -> None:
        differences = self._differences
        self._notices.report_blocked(differences.blocked.values(), len(differences.uids))
        self._notices.report_waiting_prices(self._policy.largest_price_fall)
        self._notices.report_gone(len(differences.gone) if differences.has_lost_most else 0, len(differences.uids))

    # Sending

    async def _send_all(self, product_ids: Sequence[str]) -> float:
        """Send the products in batches, each with the numbers of its moment. Return the seconds until the next look."""
        for some in split(product_ids, MOST_PRODUCTS):
            try:
                shelf = await self._stock.read()
            except (StockError, CallError):
                return self._stock.poll_seconds
            if shelf is not self._differences.shelf:
                return 0.0  # The source has changed, so compare again.
            try:
                await self._send(self._differences.make_targets(some))
            except CallError as error:
                return self._note_failure(error)
            self._differences.note_sent(some)
            self._note_taken()
        return 0.0

    async def _send(self, targets: Sequence[Target]) -> None:
        """Send one batch. If the marketplace cannot read some of its products, leave these out and send the rest.
        Raises CallError."""
        if not targets:
            return
        self._publications.begin(targets)
        try:
            batch_id = await self._products.batch([target.update for target in targets])
        except ProductFormatError as error:
            await self._send_readable(targets, error)
            return
        now = self._context.clock()
        self._publications.confirm(targets, batch_id, now, now + _FIRST_STATUS_SECONDS)
        self._context.metrics.note_done("published")
        _log.info("published", products=len(targets), batch=batch_id)

    async def _send_readable(self, targets: Sequence[Target], error: ProductFormatError) -> None:
        """Send the products that the marketplace can read. It may name the others or not; then half of the batch is
        sent at a time. Raises CallError."""
        refused = _find_refused(error, targets)
        if not refused and len(targets) > 1:
            middle = len(targets) // 2
            await self._send(targets[:middle])
            await self._send(targets[middle:])
            return
        if not refused:
            refused = {targets[0].update.product_id: "; ".join(error.messages) or str(error)}
        left_out = [target for target in targets if target.update.product_id in refused]
        self._publications.refuse(left_out, refused, self._context.clock())
        self._notices.report_refused()
        await self._send([target for target in targets if target.update.product_id not in refused])

    def _note_failure(self, error: CallError) -> float:
        """Record a failed batch. Return the seconds until the next look; the next try sends the newest numbers."""
        self._context.metrics.note_failure("publish")
        if isinstance(error, ShopStateError) and error.is_scanning:
            if not self._waits_for_scan:
                self._context.tell("the marketplace is scanning the XML feed; stock is published afterwards")
            self._waits_for_scan = True
            pause = _SCAN_SECONDS
        elif isinstance(error, UnauthorizedError) or not error.may_pass:
            self._notices.report_not_taken(error)
            pause = _REFUSED_SECONDS
        else:
            asked = error.retry_after_seconds if isinstance(error, MarketplaceError) else None
            pause = max(pause_seconds(self._failures), asked or 0.0)
            self._failures += 1
        _log.warning("publishing_postponed", error=str(error), pause_seconds=pause)
        self._not_before = self._context.clock() + pause
        return min(pause, self._stock.poll_seconds)

    def _note_taken(self) -> None:
        self._failures = 0
        if self._waits_for_scan:
            self._waits_for_scan = False
            self._context.tell("the scan of the XML feed is over; stock is published again")
        self._notices.settle_not_taken()

    # Results

    async def _read_results(self) -> None:
        """Read the status of each batch that is due."""
        while (batch := self._publications.next_batch(self._context.clock())) is not None:
            try:
                found = await self._products.status(batch.batch_id)
            except NotFoundError:
                self._publications.end_batch(batch.batch_id, {})
                continue
            except CallError as error:
                _log.warning("status_not_read", batch=batch.batch_id, error=str(error))
                self._postpone(batch)
                return
            if found.status != BatchStatus.COMPLETED:
                self._postpone(batch)
                continue
            answers = {result.product_id: _read_answer(result) for result in found.results}
            self._publications.end_batch(batch.batch_id, answers)
            self._notices.report_refused()

    def _postpone(self, batch: SentBatch) -> None:
        if batch.tries >= _STATUS_TRIES:
            self._publications.end_batch(batch.batch_id, {})
            return
        pause = min(_FIRST_STATUS_SECONDS * (1 << min(batch.tries, 10)), _LONGEST_STATUS_SECONDS)
        self._publications.postpone_batch(batch, self._context.clock() + pause)


def _find_refused(error: ProductFormatError, targets: Sequence[Target]) -> dict[str, str]:
    """Return the marketplace's sentence for each product that it names, itself or by a variation."""
    named: dict[str, str] = {}
    for update, _, _ in targets:
        named[f"Product {update.product_id}: "] = update.product_id
        for variation in update.variations or ():
            named.setdefault(f"Variation {variation.variation_id}: ", update.product_id)
    refused: dict[str, str] = {}
    for message in error.messages:
        found = [product_id for start, product_id in named.items() if message.startswith(start)]
        for product_id in found[:1]:
            refused.setdefault(product_id, message)
    return refused


def _read_answer(result: ProductResult) -> str:
    """Return the answer to a product: its status, or the reason why it or one of its variations was not taken."""
    failed = next((entry for entry in result.variations if entry.status not in _TAKEN), None)
    if result.status not in _TAKEN:
        return result.message or str(result.status)
    if failed is not None:
        return f"{failed.variation_id}: {failed.message or failed.status}"
    return str(result.status)
