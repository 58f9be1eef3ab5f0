"""The figures of a day, and the figures of one transition: pure."""

from collections import Counter
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import UNSET

from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.orders.machine import Action
from kalathi.marketplace.orders.model import Order
from kalathi.marketplace.orders.shortages import cost_of_rejection
from kalathi.marketplace.returns.machine import Action as ReturnAction


class Figure(StrEnum):
    """The names of figures. Those that end with `=` are the beginnings of several: of each reason, of each product."""

    PLACED = "placed"
    # In cents.
    PLACED_VALUE = "placed_value"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DELIVERED = "delivered"
    RETURNS = "returns"
    # Accepted or rejected by the shop within this time after the order was placed.
    WITHIN_HOUR = "within_hour"
    WITHIN_DAY = "within_day"
    # Orders that the shop has rejected, by the reason of their first rejected line, and the cost of these in cents.
    REASON = "reason="
    REASON_COST = "reason_cost="
    # Pieces of a product in accepted orders, by the shop's own id. They are kept by week, on its Monday.
    PRODUCT = "product="
    # Failed attempts at deliveries, by the shop's id. Only the marketplace has them.
    FAILED = "failed="


# The place of the sums of all shops in the table of figures.
MARKETPLACE: Final = ""


class Move(NamedTuple):
    """A transition that is to be counted, in business time. `before` is empty for a new order; both states are empty
    for a return."""

    shop_id: str
    code: str
    version: int
    at: datetime
    event: str
    before: str
    after: str


_OTHERS: Final = {
    Action.EXPIRE.value: Figure.EXPIRED,
    Action.CANCEL.value: Figure.CANCELLED,
    Action.DELIVER.value: Figure.DELIVERED,
    Action.DELIVER_PARTLY.value: Figure.DELIVERED,
    Action.COLLECT.value: Figure.DELIVERED,
}
_RETURNS: Final = frozenset({ReturnAction.REQUEST.value, ReturnAction.REQUEST_WITHOUT_REVIEW.value})
_PLACED: Final = frozenset({Action.PLACE.value, Action.PLACE_FROM_WAREHOUSE.value})


def day_of(moment: datetime) -> str:
    """Return the day in Athens, such as `2026-11-30`."""
    return athens(moment).date().isoformat()


def monday_of(day: date) -> str:
    """Return the Monday of the week of this day."""
    return (day - timedelta(days=day.weekday())).isoformat()


def count_products(move: Move, order: Order | None) -> Counter[str]:
    """Return the pieces of each product of an order that is accepted by this transition, for its week."""
    pieces: Counter[str] = Counter()
    if order is not None and move.event == Action.ACCEPT:
        for line in order.lines():
            pieces[Figure.PRODUCT + line.shop_uid] += line.quantity
    return pieces


def count_move(move: Move, order: Order | None) -> Counter[str]:
    """Return the figures of one transition for its day, without the products. `order` is None for a return, and for an
    order that was deleted meanwhile."""
    if move.event in _RETURNS:
        return Counter({Figure.RETURNS.value: 1})
    if order is None:
        return Counter()
    if move.event in _PLACED:
        value = sum((line.total_price for line in order.lines()), Decimal(0)) + (order.shipping_cost or Decimal(0))
        return Counter({Figure.PLACED.value: 1, Figure.PLACED_VALUE.value: _cents(value)})
    if move.event == Action.ACCEPT:
        return _count_answer(move, order) + Counter({Figure.ACCEPTED.value: 1})
    if move.event == Action.REJECT:
        rejected = Counter({Figure.REJECTED.value: 1})
        if order.rejected_by != "merchant":
            return rejected
        return rejected + _count_answer(move, order) + _count_reason(order)
    figure = _OTHERS.get(move.event)
    return Counter({figure.value: 1}) if figure else Counter()


def _count_answer(move: Move, order: Order) -> Counter[str]:
    waited = move.at - order.created_at
    limits = ((Figure.WITHIN_HOUR, timedelta(hours=1)), (Figure.WITHIN_DAY, timedelta(days=1)))
    return Counter({figure.value: 1 for figure, limit in limits if waited <= limit})


def _count_reason(order: Order) -> Counter[str]:
    reasons = [line.rejection_reason for line in order.lines() if line.rejection_reason is not UNSET]
    reason = str(reasons[0]) if reasons else "other"
    return Counter({Figure.REASON + reason: 1, Figure.REASON_COST + reason: _cents(cost_of_rejection(order))})


def _cents(amount: Decimal) -> int:
    return int((amount * 100).quantize(Decimal(1), ROUND_HALF_UP))
