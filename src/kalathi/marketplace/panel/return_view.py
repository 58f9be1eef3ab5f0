"""A return as its page shows it, the shop's and the operator's."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from kalathi.contract.returns import ReviewOption
from kalathi.contract.words import ReturnState
from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders.store import TimelineEntry, timeline
from kalathi.marketplace.panel.live import mark_of
from kalathi.marketplace.returns.model import FoundReturn, Return
from kalathi.marketplace.returns.review import options_of
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.webhooks.store import Delivery, deliveries


class ReturnPage(NamedTuple):
    """Everything that the page shows. `options` are those of a review, while one is waited for until `review_until`."""

    returned: Return
    shop: Shop
    options: Sequence[ReviewOption]
    review_until: datetime | None
    timeline: list[TimelineEntry]
    deliveries: list[Delivery]

    @property
    def mark(self) -> str:
        """Changes whenever the page does."""
        told = [(entry.id, entry.state, len(entry.attempts)) for entry in self.deliveries]
        return mark_of(self.returned.state.value, len(self.timeline), told)


def return_page(view: View, found: FoundReturn) -> ReturnPage:
    """Return the content of a return's page."""
    returned = found.returned
    waits = returned.state is ReturnState.PENDING_MERCHANT_REVIEW
    return ReturnPage(
        returned=returned,
        shop=found.shop,
        options=options_of(returned) if waits else (),
        review_until=returned.review_until if waits else None,
        timeline=timeline(view, returned.shop_id, returned.return_code),
        deliveries=deliveries(view, returned.shop_id, returned.return_code),
    )


def state_of(query: Mapping[str, str]) -> str:
    """The state to which a list is narrowed, or none. Raises INVALID_PARAMETER."""
    state = query.get("state", "")
    if state and state not in set(ReturnState):
        raise invalid_parameter("There is no such state.")
    return state
