"""The operator's view of orders."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from kalathi.contract.orders import Order as OrderOnTheWire
from kalathi.contract.words import OrderState, RejectionActor
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import refusals, store, wire
from kalathi.marketplace.orders.model import Cart, FoundOrder, Order
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.orders.uploads import UploadKind
from kalathi.marketplace.webhooks.store import Delivery, deliveries


class AvailablePieces(Struct, frozen=True, kw_only=True):
    """The available quantity of a line in limited supply."""

    id: str
    available_quantity: int


class Rejection(Struct, frozen=True, kw_only=True):
    """The rejection of an order, and the new order for the rest of it, if any."""

    actor: RejectionActor
    line_items: list[AvailablePieces]
    successor: str | None


class OrderDetail(Struct, frozen=True, kw_only=True):
    """`GET /marketplace/orders/{code}`"""

    order: OrderOnTheWire
    shop_id: str
    # Of a rejected order, and of the order that came for its rest.
    rejection: Rejection | None
    predecessor: str | None
    cart: Cart | None
    credit_invoice: str | None
    timeline: list[store.TimelineEntry]
    deliveries: list[Delivery]


def find_order(view: View, code: str) -> FoundOrder:
    """The order of this code. Raises ORDER_NOT_FOUND."""
    found = store.by_code(view, code)
    if found is None:
        raise refuse(refusals.OrderNotFound())
    return found


def order_detail(view: View, code: str, terms: Terms, now: datetime) -> OrderDetail:
    """Everything about an order. Raises ORDER_NOT_FOUND."""
    found = find_order(view, code)
    order = found.order
    files = store.upload_links(view, order.shop_id, code)
    credit = files.get(UploadKind.CREDIT_INVOICE)
    return OrderDetail(
        order=wire.render_order(found.document, terms.offer(found.shop), now),
        shop_id=order.shop_id,
        rejection=rejection_of(order),
        predecessor=order.predecessor,
        cart=store.cart(view, order.cart_id),
        credit_invoice=None if credit is None else terms.upload_url(order.shop_id, *credit),
        timeline=store.timeline(view, order.shop_id, code),
        deliveries=deliveries(view, order.shop_id, code),
    )


def rejection_of(order: Order) -> Rejection | None:
    """Return how the order was rejected; None if it was not, or by an earlier version."""
    if order.rejected_by is None:
        return None
    pieces = [AvailablePieces(id=line, available_quantity=count) for line, count in (order.available or {}).items()]
    return Rejection(actor=order.rejected_by, line_items=pieces, successor=order.successor)


# An order becomes visible when it is committed, a moment after the time of its change.
_COMMIT_MILLIS: Final = 2_000


def walk_shop_orders(
    view: View, shop_id: str, states: Sequence[OrderState], after: tuple[int, str], now: datetime, limit: int
) -> list[tuple[FoundOrder, int]]:
    """A shop's next orders in the order of their changes, which misses none: an order that changes meanwhile comes
    again later. Changes of the last two seconds come with the next call."""
    return store.orders_after(view, shop_id, states, after, to_millis(now) - _COMMIT_MILLIS, limit)


def shop_orders(
    view: View, shop_id: str, states: Sequence[OrderState], since_millis: int, limit: int, offset: int
) -> tuple[list[FoundOrder], int]:
    """A page of a shop's orders, newest change first, and how many there are in all."""
    return store.orders_of_shop(view, shop_id, states, since_millis, limit, offset)
