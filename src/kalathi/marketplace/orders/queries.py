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
from kalathi.marketplace.orders.search.store import Match, find_by_words
from kalathi.marketplace.orders.search.words import mark_cart
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.orders.uploads import UploadKind
from kalathi.marketplace.webhooks.store import Delivery, deliveries

_MOST_IN_CART: Final = 50


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
    # `rejection` belongs to a rejected order, `predecessor` to the order for its rest.
    rejection: Rejection | None
    predecessor: str | None
    cart: Cart | None
    credit_invoice: str | None
    timeline: list[store.TimelineEntry]
    deliveries: list[Delivery]


def find_order(view: View, code: str) -> FoundOrder:
    """Return the order with this code. Raises ORDER_NOT_FOUND."""
    found = store.by_code(view, code)
    if found is None:
        raise refuse(refusals.OrderNotFound())
    return found


def order_detail(view: View, code: str, terms: Terms, now: datetime) -> OrderDetail:
    """Return an order with its cart, timeline and deliveries. Raises ORDER_NOT_FOUND."""
    found = find_order(view, code)
    order = found.order
    files = store.upload_links(view, order.shop_id, code)
    credit = files.get(UploadKind.CREDIT_INVOICE)
    return OrderDetail(
        order=wire.render_with_actions(found, terms.offer(found.shop), now),
        shop_id=order.shop_id,
        rejection=rejection_of(order),
        predecessor=order.predecessor,
        cart=store.cart(view, order.cart_id),
        credit_invoice=None if credit is None else terms.upload_url(order.shop_id, *credit),
        timeline=store.timeline(view, order.shop_id, code),
        deliveries=deliveries(view, order.shop_id, code),
    )


def list_orders_of_cart(view: View, cart_id: str, except_code: str) -> list[Match]:
    """Return the other orders of a cart, of all shops, in the sequence of their codes."""
    cart = store.cart(view, cart_id)
    if cart is None:
        return []
    shop_ids = sorted({item.shop_id for item in cart.content.items})
    marks = (mark_cart(cart_id),)
    found = [
        match for shop_id in shop_ids for match in find_by_words(view, shop_id, (), marks, None, _MOST_IN_CART).found
    ]
    return sorted(match for match in found if match.code != except_code)


def rejection_of(order: Order) -> Rejection | None:
    """Return the order's rejection; None without one, or if an earlier version of the software recorded it."""
    if order.rejected_by is None:
        return None
    pieces = [AvailablePieces(id=line, available_quantity=count) for line, count in (order.available or {}).items()]
    return Rejection(actor=order.rejected_by, line_items=pieces, successor=order.successor)


# A change becomes visible with its commit, which is later than its timestamp by up to this time.
_COMMIT_MILLIS: Final = 2_000


def walk_shop_orders(
    view: View, shop_id: str, states: Sequence[OrderState], after: tuple[int, str], now: datetime, limit: int
) -> list[tuple[FoundOrder, int]]:
    """Return a shop's next orders after a cursor, oldest change first, each with the time of its change.

    No order is missed: one that changes in the meantime appears again at a later position. Changes of the last two
    seconds are left for the next call, because they may not be committed yet."""
    return store.orders_after(view, shop_id, states, after, to_millis(now) - _COMMIT_MILLIS, limit)


def shop_orders(
    view: View, shop_id: str, states: Sequence[OrderState], since_millis: int, limit: int, offset: int
) -> tuple[list[FoundOrder], int]:
    """Return a page of a shop's orders, newest change first, and their total number."""
    return store.orders_of_shop(view, shop_id, states, since_millis, limit, offset)
