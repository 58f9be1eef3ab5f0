"""How an order is shown: the contract's object from the document and the shop's facts (DESIGN, decision 5)."""

from datetime import datetime
from typing import Final, cast

import msgspec
from msgspec import UNSET

from kalathi.contract.codec import encode
from kalathi.contract.orders import (
    AcceptOptions,
    Customer,
    Fees,
    LineItem,
    OrderBody,
    RejectionReasonOption,
    RejectOptions,
)
from kalathi.contract.orders import Order as OrderOnTheWire
from kalathi.contract.webhooks import OrderChanges, OrderEvent
from kalathi.contract.words import REJECTION_REASONS, OrderEventType, OrderState, PaymentMethod
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.orders.answers import Offer
from kalathi.marketplace.orders.model import Order

# Members that are the same for many orders are encoded once and carried as JSON: the casts below say which struct the
# JSON is of, and the encoder writes it through.
_REJECT_OPTIONS: Final = cast(
    RejectOptions,
    msgspec.Raw(
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
    ),
)
_NO_FEES: Final = cast(Fees, msgspec.Raw(b"{}"))


def render(order: Order, offer: Offer, now: datetime) -> OrderOnTheWire:
    """The order as answers and webhooks show it at this moment. Only an open order has options."""
    is_open = order.state is OrderState.OPEN
    accepted = order.pickup_window is not None
    return OrderOnTheWire(
        code=order.code,
        state=order.state,
        customer=cast(Customer, order.customer),
        comments=order.comments,
        courier=order.courier,
        courier_voucher=order.courier_voucher,
        courier_tracking_codes=cast(list[str], order.courier_tracking_codes),
        line_items=cast(list[LineItem], order.line_items),
        created_at=order.created_at,
        expires_at=order.expires_at,
        dispatch_until=order.dispatch_until,
        commission=order.commission,
        fees=_NO_FEES,
        payment_method=order.payment_method,
        paid_by_user=order.payment_method is not PaymentMethod.CASH_ON_DELIVERY,
        pickup_window=order.pickup_window or UNSET,
        pickup_address=order.pickup_address if accepted and order.pickup_address else UNSET,
        number_of_parcels=order.number_of_parcels or UNSET,
        rejection_info=order.rejection_info or UNSET,
        accept_options=cast(AcceptOptions, offer.accept_options(now)) if is_open else UNSET,
        reject_options=_REJECT_OPTIONS if is_open else UNSET,
    )


def order_body(order: Order, offer: Offer, now: datetime) -> bytes:
    """The answer of `GET /orders/:code`."""
    return encode(OrderBody(order=render(order, offer, now)))


def event_body(
    event_type: OrderEventType, order: Order, offer: Offer, now: datetime, changes: OrderChanges | None
) -> bytes:
    """The webhook's bytes (contract, section 4), frozen from here on."""
    event = OrderEvent(
        event_type=event_type,
        event_time=athens(now),
        order=render(order, offer, now),
        changes=UNSET if changes is None else changes,
    )
    return encode(event)
