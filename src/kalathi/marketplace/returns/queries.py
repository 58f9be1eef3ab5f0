"""Views of returns."""

from datetime import datetime

from msgspec import Struct

from kalathi.contract.returns import Return as ReturnOnTheWire
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders.store import TimelineEntry, timeline
from kalathi.marketplace.returns import refusals, store, wire
from kalathi.marketplace.returns.model import Decision, FoundReturn
from kalathi.marketplace.webhooks.store import Delivery, deliveries


class ReturnDetail(Struct, frozen=True, kw_only=True, rename={"returned": "return"}):
    """`GET /marketplace/returns/{code}`: the return, the deadline of its review, its timeline, and its webhooks."""

    returned: ReturnOnTheWire
    shop_id: str
    review_until: datetime | None
    decision: Decision | None
    timeline: list[TimelineEntry]
    deliveries: list[Delivery]


def find_return(view: View, code: str, shop_id: str | None = None) -> FoundReturn:
    """Return the return with this code; with `shop_id`, only if it belongs to that shop. Raises RETURN_NOT_FOUND."""
    found = store.by_code(view, code)
    if found is None or shop_id not in {None, found.shop.id}:
        raise refuse(refusals.ReturnNotFound())
    return found


def return_detail(view: View, code: str) -> ReturnDetail:
    """Return a return with its timeline and deliveries. Raises RETURN_NOT_FOUND."""
    found = find_return(view, code)
    returned = found.returned
    return ReturnDetail(
        returned=wire.render_return(returned),
        shop_id=returned.shop_id,
        review_until=None if returned.review_until is None else athens(returned.review_until),
        decision=returned.decision,
        timeline=timeline(view, returned.shop_id, code),
        deliveries=deliveries(view, returned.shop_id, code),
    )
