"""The context of a command."""

from datetime import datetime, timedelta
from typing import NamedTuple

from kalathi.marketplace.kernel.actors import CLOCK, Actor
from kalathi.marketplace.kernel.keys import DrawnKeys
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders.terms import Terms


class Facts(NamedTuple):
    """The context of a command besides its order or return and its request: a database snapshot, new codes and ids, the
    marketplace's terms, the business time, and the cause of the command."""

    view: View
    keys: DrawnKeys
    terms: Terms
    now: datetime
    actor: Actor = CLOCK

    @property
    def voucher_at(self) -> datetime:
        """The business time at which the worker renders the documents planned by this command."""
        return self.now + timedelta(seconds=self.terms.settings.voucher_delay_seconds)
