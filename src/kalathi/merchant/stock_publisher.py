"""Publish stock and prices: send the differences in batches, and read the results.

The publisher runs beside the connector's jobs. The connector wakes it after each job, for example an acceptance, and it
looks for changes of the source by itself. It never sends a number that has waited: each batch has the numbers of the
moment in which it is sent.
"""

import asyncio
import contextlib
import sqlite3
from datetime import datetime, timedelta
from typing import Final

import structlog

from kalathi.contract.products import MOST_PRODUCTS, BatchStatus, ProductResult, ProductStatus
from kalathi.contract.reading import ATHENS
from kalathi.merchant.batch_sending import ABOUT_THE_BODY, FIRST_STATUS_SECONDS, BatchSending
from kalathi.merchant.client import (
    CallError,
    MarketplaceError,
    NotFoundError,
    ShopStateError,
    UnauthorizedError,
)
from kalathi.merchant.context import Context
from kalathi.merchant.inbox.publications import UNPUBLISHED, SentBatch
from kalathi.merchant.pauses import FAILURES_BEFORE_PERSON, pause_seconds
from kalathi.merchant.policy import StockPolicy
from kalathi.merchant.promises import Promises
from kalathi.merchant.stock import StockError
from kalathi.merchant.stock_differences import StockDifferences
from kalathi.merchant.stock_notices import StockNotices
from kalathi.merchant.stock_reader import StockReader

_log = structlog.get_logger("kalathi.merchant")

# Several changes within this time are sent together.
COALESCE_SECONDS: Final = 3.0
# A scan of an XML feed takes minutes. A shop that takes no batches at all is a matter for a person.
_SCAN_SECONDS: Final = 60.0
_REFUSED_SECONDS: Final = 600.0
# If one product spoils the batch, other products come with the next one.
_SPOILED_SECONDS: Final = 60.0
# The longest pause that an answer can ask for.
_LONGEST_ASKED_SECONDS: Final = 300.0
# Statuses that are read between two looks for differences, which are more urgent.
_STATUSES_AT_ONCE: Final = 20
_LONGEST_STATUS_SECONDS: Final = 300.0
# About four hours. Later answers no longer matter, because the night's comparison sends everything again.
_STATUS_TRIES: Final = 50
# The moment of the last comparison of everything.
_LAST_FULL: Final = "all published"
# The moment of the first batch that was refused because of a scan that is not over.
_SCANNED: Final = "feed scanned"
_TAKEN: Final = frozenset({ProductStatus.SUCCESS, ProductStatus.NO_CHANGE})


class StockPublisher:
    """Publishes the stock of one shop."""

    def __init__(self, context: Context, stock: StockReader, policy: StockPolicy, promises: Promises) -> None:
        self._context = context
        self._inbox = context.inbox
        self._publications = context.inbox.publications
        self._products = context.client.products
        self._stock = stock
        self._policy = policy
        self._differences = StockDifferences(context, policy, promises)
        self._notices = StockNotices(context)
        self._awake = asyncio.Event()
        self._promises = promises
        # Make no batch before this time (seconds since 1970), because of a scan or a failure.
        self._not_before = 0.0
        self._failures = self._crashes = 0

    def wake(self) -> None:
        """Make the publisher compare now."""
        self._awake.set()

    async def run(self) -> None:
        """Publish until cancelled. Every failure is logged and tried again."""
        while True:
            self._awake.clear()
            try:
                pause = await self.publish()
            except Exception as error:  # noqa: BLE001  (a locked or full disk must not end the connector)
                _log.exception("publishing_failed")
                pause = pause_seconds(self._crashes)
                self._crashes += 1
                if self._crashes >= FAILURES_BEFORE_PERSON:
                    with contextlib.suppress(sqlite3.Error):  # The inbox itself may be the reason.
                        self._notices.report_broken(error)
            else:
                self._settle_crashes()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), pause)

    def _settle_crashes(self) -> None:
        if self._crashes:
            self._crashes = 0
            self._notices.settle_broken()

    async def publish(self) -> float:
        """Send the differences that are due, and read results that are due. Return the seconds until the next look."""
        pause = await self._publish_differences()
        has_more = await self._read_results()
        return 0.0 if has_more else pause

    async def _publish_differences(self) -> float:
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
        # A later time comes from a clock that was ahead.
        not_before = self._not_before if self._not_before <= now + _REFUSED_SECONDS else 0.0
        begin_at = max(since + COALESCE_SECONDS, not_before)
        if now < begin_at:
            return min(begin_at - now, self._stock.poll_seconds)
        if not self._promises.are_known(now):
            return self._stock.poll_seconds
        return await self._send_all(len(different))

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
        self._notices.report_gone(len(differences.lost) if differences.has_lost_most else 0, len(differences.uids))

    # Sending

    async def _send_all(self, count: int) -> float:
        """Send as many products as differ now, the latest changes first. Return the seconds until the next look."""
        sending = BatchSending(self._context, self._differences, self._notices, self._note_taken)
        for _ in range(0, count, MOST_PRODUCTS):
            try:
                shelf = await self._stock.read()
            except (StockError, CallError):
                return self._stock.poll_seconds
            # The source may have changed, or orders may have come during the last call.
            different = await self._differences.find(shelf)
            try:
                await sending.send(different[-MOST_PRODUCTS:])
                sending.end_part()
            except CallError as error:
                return self._note_failure(error)
        if not self._differences.has_any:
            self._inbox.forget_moment(UNPUBLISHED)
        return 0.0

    def _note_failure(self, error: CallError) -> float:
        """Record a failed batch. Return the seconds until the next look; the next try sends the newest numbers."""
        self._context.metrics.note_failure("publish")
        if isinstance(error, ShopStateError) and error.is_scanning:
            if self._inbox.moment(_SCANNED) is None:
                self._context.tell("the marketplace is scanning the XML feed; stock is published afterwards")
                self._inbox.mark_moment(_SCANNED, self._context.clock())
            pause = _SCAN_SECONDS
        elif isinstance(error, UnauthorizedError) or not error.may_pass:
            self._notices.report_not_taken(error)
            is_about_body = isinstance(error, MarketplaceError) and error.status in ABOUT_THE_BODY
            pause = _SPOILED_SECONDS if is_about_body and not isinstance(error, ShopStateError) else _REFUSED_SECONDS
        else:
            asked = error.retry_after_seconds if isinstance(error, MarketplaceError) else None
            pause = max(pause_seconds(self._failures), min(asked or 0.0, _LONGEST_ASKED_SECONDS))
            self._failures += 1
        _log.warning("publishing_postponed", error=str(error), pause_seconds=pause)
        self._not_before = self._context.clock() + pause
        return min(pause, self._stock.poll_seconds)

    def _note_taken(self) -> None:
        self._failures = 0
        if self._inbox.moment(_SCANNED) is not None:
            # The feed may have replaced any number.
            self._publications.mark_all_unconfirmed()
            self._differences.forget()
            self._inbox.forget_moment(_SCANNED)
            self._context.tell("the scan of the XML feed is over; stock is published again")
        self._notices.settle_not_taken()

    # Results

    async def _read_results(self) -> bool:
        """Read the status of some batches that are due. Return whether more are due."""
        for _ in range(_STATUSES_AT_ONCE):
            batch = self._publications.next_batch(self._context.clock())
            if batch is None:
                return False
            try:
                found = await self._products.status(batch.batch_id)
            except NotFoundError:
                self._publications.end_batch(batch.batch_id, {})
                continue
            except CallError as error:
                _log.warning("status_not_read", batch=batch.batch_id, error=str(error))
                self._postpone(batch)
                return False
            if found.status != BatchStatus.COMPLETED:
                self._postpone(batch)
                continue
            answers = {result.product_id: _read_answer(result) for result in found.results}
            self._publications.end_batch(batch.batch_id, answers)
            self._notices.report_refused()
        return self._publications.next_batch(self._context.clock()) is not None

    def _postpone(self, batch: SentBatch) -> None:
        if batch.tries >= _STATUS_TRIES:
            self._publications.end_batch(batch.batch_id, {})
            return
        pause = min(FIRST_STATUS_SECONDS * (1 << min(batch.tries, 10)), _LONGEST_STATUS_SECONDS)
        self._publications.postpone_batch(batch, self._context.clock() + pause)


def _read_answer(result: ProductResult) -> str:
    """Return the answer to a product: its status, or the reason why it or one of its variations was not taken."""
    failed = next((entry for entry in result.variations if entry.status not in _TAKEN), None)
    if result.status not in _TAKEN:
        return result.message or str(result.status)
    if failed is not None:
        return f"{failed.variation_id}: {failed.message or failed.status}"
    return str(result.status)
