"""The context of a command."""

from datetime import datetime, timedelta
from typing import NamedTuple

from kalathi.marketplace.kernel.keys import DrawnKeys
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders.terms import Terms


class Facts(NamedTuple):
    """Everything that a command uses beside its order or return and its request: one snapshot of the database, fresh
    keys, the marketplace's terms, and the business time."""

    view: View
    keys: DrawnKeys
    terms: Terms
    now: datetime

    @property
    def voucher_at(self) -> datetime:
        """When the worker makes the documents that this command asks for."""
        return self.now + timedelta(seconds=self.terms.settings.voucher_delay_seconds)
