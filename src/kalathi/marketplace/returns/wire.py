"""Render a return (docs/contract.md#section-6 and #section-8): one object for answers and webhooks."""

from datetime import UTC, datetime

from msgspec import UNSET

from kalathi.contract.codec import encode
from kalathi.contract.returns import Return as ReturnOnTheWire
from kalathi.contract.webhooks import ReturnChanges, ReturnEvent
from kalathi.contract.words import ReturnEventType, ReturnState
from kalathi.marketplace.returns.model import Return
from kalathi.marketplace.returns.review import options_of


def render_return(returned: Return) -> ReturnOnTheWire:
    """Render the whole return. Members without a value are left out, never null."""
    reviewed = returned.state is ReturnState.PENDING_MERCHANT_REVIEW
    return ReturnOnTheWire(
        return_code=returned.return_code,
        state=returned.state,
        order_code=returned.order_code,
        created_at=returned.created_at,
        courier_tracking_ids=list(returned.courier_tracking_ids) or UNSET,
        courier=returned.courier or UNSET,
        returning_address=returned.returning_address or UNSET,
        return_line_items=list(returned.return_line_items),
        review_options=list(options_of(returned)) if reviewed else UNSET,
    )


def event_body(event_type: ReturnEventType, returned: Return, now: datetime, changes: ReturnChanges | None) -> bytes:
    """Render the body of a webhook. It never changes afterwards."""
    event = ReturnEvent(
        event_type=event_type,
        event_time=now.astimezone(UTC).replace(microsecond=0),
        returned=render_return(returned),
        changes=UNSET if changes is None else changes,
    )
    return encode(event)
