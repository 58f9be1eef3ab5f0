"""The cleanup of every hour: old webhooks, answers, history and customers, and the indexing of earlier orders."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Final

import structlog

from kalathi.marketplace.kernel.actors import CLOCK
from kalathi.marketplace.kernel.clock import BusinessClock, to_millis
from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import StorageError
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.orders.search.indexing import index_earlier_orders
from kalathi.marketplace.people.store import forget_history
from kalathi.marketplace.privacy.anonymising import forget_customers
from kalathi.marketplace.products.batches import ProductBatches
from kalathi.marketplace.request_log.log import RequestLog
from kalathi.marketplace.webhooks.log import forget_old

_log = structlog.get_logger("kalathi")

_EVERY_SECONDS: Final = 3600.0


class Cleanup:
    """The cleanup of one process."""

    def __init__(
        self,
        database: Database,
        clock: BusinessClock,
        settings: Settings,
        batches: ProductBatches,
        request_log: RequestLog | None,
        ending: asyncio.Event,
    ) -> None:
        """`ending` is set when the process stops. A cleanup that is under way ends soon after it."""
        self._database = database
        self._clock = clock
        self._settings = settings
        self._batches = batches
        self._request_log = request_log
        self._ending = ending

    async def run(self) -> None:
        """Clean up at once, and then every hour until the process stops."""
        while not self._ending.is_set():
            try:
                await self._clean_up()
            except (StorageError, DomainError):
                _log.warning("cleanup_failed")  # It is repeated at the next interval.
            if self._request_log is not None:
                self._request_log.drop_old()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _EVERY_SECONDS)

    async def _clean_up(self) -> None:
        await forget_old(self._database, self._days_ago(self._settings.delivery_log_days), self._ending)
        await self._batches.forget_old(self._ending)
        await index_earlier_orders(self._database, self._ending)
        if self._settings.personal_data_days:
            before, now = self._days_ago(self._settings.personal_data_days), self._clock.now()
            count = await forget_customers(self._database, self._request_log, before, CLOCK, now, self._ending)
            _log.info("customers_anonymised", orders=count)
        await forget_history(self._database, self._days_ago(self._settings.history_days), self._ending)

    def _days_ago(self, days: int) -> int:
        """Return a business time in milliseconds since 1970."""
        return to_millis(self._clock.now() - timedelta(days=days))
