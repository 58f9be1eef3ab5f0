"""What to answer to an order: a pure function of the order and the stock."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import UNSET

from kalathi.contract.orders import Order
from kalathi.contract.requests import RejectedLine
from kalathi.contract.words import LIMITED_STOCK_REASON_ID, NO_STOCK_REASON_ID, OrderState


class Accept(NamedTuple):
    """Every line is in stock: the first location, window and parcel count that are offered."""

    pickup_location: str
    pickup_window: int
    number_of_parcels: int


class Reject(NamedTuple):
    """Some lines are not there, or not in this number."""

    lines: tuple[RejectedLine, ...]


class LeaveToPerson(NamedTuple):
    """The facts do not decide it; the sentence says what a person has to look at."""

    reason: str


class Nothing(NamedTuple):
    """There is nothing to answer: the order is not open."""


Decision = Accept | Reject | LeaveToPerson | Nothing


def decide(order: Order, available: Mapping[str, int], *, sends_itself: bool = True) -> Decision:
    """`available` holds the free pieces by shop_uid; a product that it does not name is not known to the shop. A shop
    that does not send it itself, since its pieces lie in the marketplace's warehouse, can only reject what is missing
    there: what is left then comes back as an order that the marketplace sends.

    Pieces are given to lines in their order, so that two lines of one product never get the same piece.
    """
    if order.state is not OrderState.OPEN:
        return Nothing()
    unknown = [line.shop_uid for line in order.line_items if line.shop_uid not in available]
    if unknown:
        return LeaveToPerson(f"No stock is known for {', '.join(unknown)}.")
    left = dict(available)
    missing = []
    for line in order.line_items:
        free = max(left[line.shop_uid], 0)
        left[line.shop_uid] = free - min(free, line.quantity)
        if free == 0:
            missing.append(RejectedLine(id=line.id, reason_id=NO_STOCK_REASON_ID))
        elif free < line.quantity:
            missing.append(RejectedLine(id=line.id, reason_id=LIMITED_STOCK_REASON_ID, available_quantity=free))
    if missing:
        return Reject(tuple(missing))
    if not sends_itself:
        return LeaveToPerson("All of it lies in the marketplace's warehouse, from which the shop cannot send.")
    options = order.accept_options
    if options is UNSET or not (options.pickup_location and options.pickup_window and options.number_of_parcels):
        return LeaveToPerson("The order offers no pickup location, window or number of parcels to choose.")
    return Accept(options.pickup_location[0].id, options.pickup_window[0].id, options.number_of_parcels[0])


def wanted_pieces(order: Order) -> dict[str, int]:
    """How many pieces of each product the order takes."""
    wanted: dict[str, int] = {}
    for line in order.line_items:
        wanted[line.shop_uid] = wanted.get(line.shop_uid, 0) + line.quantity
    return wanted
