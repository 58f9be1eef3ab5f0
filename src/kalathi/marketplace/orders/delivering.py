"""Pure steps of a parcel: the courier's pickup, the delivery or its failure, and the way back to the shop."""

from datetime import datetime

from msgspec.structs import replace

from kalathi.contract.words import Courier, OrderState
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.orders import refusals
from kalathi.marketplace.orders.machine import Action, Step, make_step, next_state, through
from kalathi.marketplace.orders.model import Order


def hand_over(order: Order) -> Step:
    """Hand the parcel over to the courier. Raises ORDER_STATUS, also if no courier collects this order, or if it is
    not ready for pickup."""
    new = through(order, Action.HAND_OVER)
    if order.store_pickup:
        raise refuse(refusals.CollectedFromStore())
    if order.needs_voucher and order.courier_voucher is None:
        raise refuse(refusals.NoVoucherYet())
    if order.voucher_is_outdated:
        raise refuse(refusals.VoucherOutdated())
    # Only Skroutz Last Mile supports set-as-ready. With another courier the order could never be marked.
    waits_for_mark = order.set_as_ready_required and order.needs_voucher and order.courier == Courier.SKROUTZ_LAST_MILE
    if waits_for_mark and not order.is_ready_for_dispatch:
        raise refuse(refusals.NotReady())
    return make_step(Action.HAND_OVER, order, new)


def collect(order: Order, now: datetime) -> Step:
    """Record that the customer has collected a store pickup. Raises ORDER_STATUS."""
    new = through(order, Action.COLLECT)
    if not order.store_pickup:
        raise refuse(refusals.NotAStorePickup())
    return make_step(Action.COLLECT, order, replace(new, delivered=_all_pieces(order), delivered_at=athens(now)))


def deliver(order: Order, now: datetime, pieces: dict[str, int] | None = None) -> Step:
    """Deliver the whole order, or the given pieces by line id. Raises ORDER_STATUS, INVALID_PARAMETER."""
    next_state(order.state, Action.DELIVER)
    ordered = _all_pieces(order)
    delivered = ordered if pieces is None else pieces
    wrong = [line_id for line_id, count in delivered.items() if not 0 < count <= ordered.get(line_id, 0)]
    if wrong or not delivered:
        raise refuse(refusals.WrongPieces(refusals.DELIVERED_PIECES, ordered))
    action = Action.DELIVER if delivered == ordered else Action.DELIVER_PARTLY
    return make_step(action, order, replace(through(order, action), delivered=delivered, delivered_at=athens(now)))


def fail_delivery(order: Order) -> Step:
    """Record a failed delivery and send the parcel back to the shop. Raises ORDER_STATUS."""
    new = replace(through(order, Action.FAIL_DELIVERY), is_travelling_back=True)
    return make_step(Action.FAIL_DELIVERY, order, new)


def bring_back(order: Order) -> Step:
    """Record the parcel's arrival back at the shop. Raises ORDER_STATUS if it is not on its way back."""
    new = through(order, Action.BRING_BACK)
    # Orders written by an earlier version can be in state for_return without this flag.
    if not (order.is_travelling_back or order.state is OrderState.FOR_RETURN):
        raise refuse(refusals.NotOnItsWayBack())
    return make_step(Action.BRING_BACK, order, replace(new, is_travelling_back=False))


def _all_pieces(order: Order) -> dict[str, int]:
    return {line.id: line.quantity for line in order.lines()}
