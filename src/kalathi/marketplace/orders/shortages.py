"""The pieces that open orders hold, and the cost of rejections. A shop pays half of the commission of each product that
it rejects (docs/contract.md#section-10)."""

from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, NamedTuple

from msgspec import UNSET

from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.money import CENT
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import store
from kalathi.marketplace.orders.model import Order

_COMMISSION_SHARE: Final = Decimal("0.5")


class RejectionCost(NamedTuple):
    """The orders that a shop has rejected since a time, and their cost in euros."""

    orders: int
    amount: Decimal


def count_held(view: View, shop_id: str) -> Counter[str]:
    """Return the pieces of each product in orders that the shop has not answered yet."""
    held: Counter[str] = Counter()
    for order in store.orders_in(view, shop_id, OrderState.OPEN, 0):
        if not order.fulfilled_by_skroutz:
            for line in order.lines():
                held[line.shop_uid] += line.quantity
    return held


def rejection_cost(view: View, shop_id: str, since_millis: int) -> RejectionCost:
    """Return the cost of the shop's own rejections since a business time. Only the rejected lines cost something."""
    rejected = [
        order
        for order in store.orders_in(view, shop_id, OrderState.REJECTED, since_millis)
        if order.rejected_by == "merchant"
    ]
    amount = sum((cost_of_rejection(order) for order in rejected), Decimal(0))
    return RejectionCost(len(rejected), amount.quantize(CENT, ROUND_HALF_UP))


def cost_of_rejection(order: Order) -> Decimal:
    """Return the cost of an order that its shop has rejected, in euros: half of the commission of its rejected
    lines."""
    lines = order.lines()
    named = [line for line in lines if line.rejection_reason is not UNSET]
    return sum((line.commission * _COMMISSION_SHARE for line in named or lines), Decimal(0))
