"""Render an order: the contract's object from the stored document and the shop's facts (docs/decisions/0005).

The document's members have the contract's names. So rendering decodes the document once into a struct with the
contract's fields, in the contract's order, and leaves most values as JSON. Members that the document lacks, such as
`fees` or a voucher that is not issued yet, get the contract's defaults. Members that the contract lacks, such as the
cart, are dropped. Then the time-dependent members are set, and the struct is encoded. Building the object from a
decoded order took twice as long.
"""

from datetime import date, datetime
from typing import Any, Final, cast

import msgspec
from msgspec import UNSET, UnsetType

from kalathi.contract.codec import decode, encode
from kalathi.contract.orders import Order as OrderOnTheWire
from kalathi.contract.orders import OrderBody, RejectionReasonOption, RejectOptions
from kalathi.contract.webhooks import OrderChanges, OrderEvent
from kalathi.contract.words import REJECTION_REASONS, FulfillmentMode, OrderEventType, OrderState, PaymentMethod
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.orders.answer_checks import Offer
from kalathi.marketplace.orders.machine import pickup_moment
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.pickup import relocate_options, reschedule_options

_REJECT_OPTIONS: Final = msgspec.Raw(
    encode(
        RejectOptions(
            line_item_rejection_reasons=[
                RejectionReasonOption(
                    id=reason.id,
                    label=reason.label,
                    requires_available_quantity=reason.requires_available_quantity,
                )
                for reason in REJECTION_REASONS
            ]
        )
    )
)
# The members that rendering reads; all others pass through as JSON.
_READ: Final[dict[str, Any]] = {
    "state": str,
    "payment_method": str,
    "store_pickup": bool,
    "fulfillment_mode": str | UnsetType,
}


def _default_raw() -> Any:
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(OrderOnTheWire):
        kind = _READ.get(field.name, msgspec.Raw)
        if field.default_factory is not msgspec.NODEFAULT:
            fields.append((field.name, kind, msgspec.field(default_factory=field.default_factory)))
        elif field.default is not msgspec.NODEFAULT:
            fields.append((field.name, kind, field.default))
        else:
            fields.append((field.name, kind))
    # Not on the wire: determines the first pickup window on offer, and is removed before encoding.
    fields.append(("scheduled_shipment", date | UnsetType, UNSET))
    # On the wire its name is `fulfillment_mode`.
    fields.append(("mode", str | UnsetType, UNSET))
    return msgspec.defstruct("ShownOrder", fields, kw_only=True)


_ShownOrder: Final = _default_raw()


def render_order(document: bytes, offer: Offer, now: datetime) -> OrderOnTheWire:
    """Render the order for answers and webhooks at this time, ready to be encoded. Only an open order has options."""
    order = decode(document, _ShownOrder)
    order.paid_by_user = order.payment_method != PaymentMethod.CASH_ON_DELIVERY
    if order.state == OrderState.OPEN:
        if order.store_pickup:
            order.accept_options = offer.store_options()
        elif order.scheduled_shipment is UNSET:
            order.accept_options = offer.accept_options(now)
        else:
            order.accept_options = offer.accept_options(pickup_moment(order.scheduled_shipment, now))
        order.reject_options = _REJECT_OPTIONS
    order.scheduled_shipment = UNSET
    order.fulfillment_mode, order.mode = order.mode or FulfillmentMode.CORE, UNSET
    return cast(OrderOnTheWire, order)


def order_body(document: bytes, offer: Offer, now: datetime) -> bytes:
    """The answer of `GET /orders/:code`."""
    return encode(OrderBody(order=render_order(document, offer, now)))


def order_body_with_actions(found: FoundOrder, offer: Offer, now: datetime) -> bytes:
    """Render the answer of `GET /orders/:code?action_options=1`."""
    return encode(OrderBody(order=render_with_actions(found, offer, now)))


def render_with_actions(found: FoundOrder, offer: Offer, now: datetime) -> OrderOnTheWire:
    """Render the order with the days and the locations to which its pickup can be moved."""
    order: Any = render_order(found.document, offer, now)
    order.reschedule_options = reschedule_options(found.order, offer.schedule, now)
    order.relocate_options = relocate_options(found.order, offer.locations)
    return cast(OrderOnTheWire, order)


def event_body(
    event_type: OrderEventType,
    document: bytes,
    offer: Offer,
    now: datetime,
    changes: OrderChanges | None,
    *,
    shown_at: datetime | None = None,
) -> bytes:
    """Render the body of a webhook (docs/contract.md#section-4); it never changes afterwards. The options are those at
    `shown_at`: by default `now`, and for a demo order its fixed time."""
    event = OrderEvent(
        event_type=event_type,
        event_time=athens(now),
        order=render_order(document, offer, shown_at or now),
        changes=UNSET if changes is None else changes,
    )
    return encode(event)
