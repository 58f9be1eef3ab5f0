"""What the operator sees of orders."""

from datetime import datetime

from msgspec import Struct

from kalathi.contract.orders import Order as OrderOnTheWire
from kalathi.marketplace.kernel.database import View
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.orders import store, wire
from kalathi.marketplace.orders.model import Cart, FoundOrder
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.webhooks.store import Delivery, deliveries


class OrderDetail(Struct, frozen=True, kw_only=True):
    """`GET /marketplace/orders/{code}`"""

    order: OrderOnTheWire
    shop_id: str
    cart: Cart | None
    timeline: list[store.TimelineEntry]
    deliveries: list[Delivery]


def find_order(view: View, code: str) -> FoundOrder:
    """The order of this code. Raises ORDER_NOT_FOUND."""
    found = store.by_code(view, code)
    if found is None:
        raise DomainError(ErrorCode.ORDER_NOT_FOUND, "Order not found")
    return found


def order_detail(view: View, code: str, terms: Terms, now: datetime) -> OrderDetail:
    """Everything about an order. Raises ORDER_NOT_FOUND."""
    found = find_order(view, code)
    order = found.order
    return OrderDetail(
        order=wire.shown(found.document, terms.offer(found.shop), now),
        shop_id=order.shop_id,
        cart=store.cart(view, order.cart_id),
        timeline=store.timeline(view, order.shop_id, code),
        deliveries=deliveries(view, order.shop_id, code),
    )
