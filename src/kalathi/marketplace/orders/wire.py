"""Render an order: the contract's object from the stored document and the shop's facts (docs/decisions/0005).

The document's members have the contract's names. So rendering an order is one decoding of the document into a struct
with the contract's fields in the contract's order, and every value left as JSON. Members that the document lacks, such
as `fees` or a voucher that is not made yet, come from the contract's own defaults; its other members, such as the cart,
fall away. Then the members that depend on the moment are set, and the struct is encoded. Building the object from a
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
# The members that decide about others are read; the rest passes through.
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
    # Not of the wire: read to know from when on pickups are offered, and taken away again.
    fields.append(("scheduled_shipment", date | UnsetType, UNSET))
    # Has another name there.
    fields.append(("mode", str | UnsetType, UNSET))
    return msgspec.defstruct("ShownOrder", fields, kw_only=True)


_ShownOrder: Final = _default_raw()


def render_order(document: bytes, offer: Offer, now: datetime) -> OrderOnTheWire:
    """The order as answers and webhooks show it at this moment, to be encoded. Only an open order has options."""
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
    """The same with `?action_options=1`: where and when the pickup can be moved to."""
    order: Any = render_order(found.document, offer, now)
    order.reschedule_options = reschedule_options(found.order, offer.schedule, now)
    order.relocate_options = relocate_options(found.order, offer.locations)
    return encode(OrderBody(order=order))


def event_body(
    event_type: OrderEventType,
    document: bytes,
    offer: Offer,
    now: datetime,
    changes: OrderChanges | None,
    *,
    shown_at: datetime | None = None,
) -> bytes:
    """The webhook's bytes (docs/contract.md#section-4), frozen from here on. The options are those of `shown_at`, which
    is `now` but for an order that stands still."""
    event = OrderEvent(
        event_type=event_type,
        event_time=athens(now),
        order=render_order(document, offer, shown_at or now),
        changes=UNSET if changes is None else changes,
    )
    return encode(event)
