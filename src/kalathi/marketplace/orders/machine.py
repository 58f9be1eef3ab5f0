"""The order machine (docs/decisions/0001): every state and transition in one table.

After an order is placed, the shop and the clock race: accept, reject, expire and cancel all leave `open`, so exactly
one of them can win. An accepted order gets its voucher, is handed to the courier and is delivered. A customer may
cancel until the delivery; the parcel of a dispatched order travels back.

Each command here, in pickup.py, returning.py and replacing.py takes the order, facts and `now`, looks up `next_state`,
and returns the new order with its changes. Nothing reads a clock, draws an id, or touches a database. An illegal
transition raises ORDER_STATUS, and since orders are immutable, nothing can have changed. The diagram in docs/orders.md
is drawn from TRANSITIONS.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from kalathi.contract.codec import encode
from kalathi.contract.orders import RejectionInfo
from kalathi.contract.requests import AcceptRequest, RejectRequest
from kalathi.contract.webhooks import Change, OrderChanges
from kalathi.contract.words import OrderEventType, OrderState, RejectionActor
from kalathi.marketplace.kernel.calendar import add_working_days
from kalathi.marketplace.kernel.clock import ATHENS, after, athens
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.money import total
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.orders import refusals
from kalathi.marketplace.orders.answer_checks import Choice, Offer, check_rejections, choose, first_choice, free_text
from kalathi.marketplace.orders.lines import (
    OrderedLine,
    StockMove,
    price_line,
    remaining_lines,
    return_all,
    stock_after,
)
from kalathi.marketplace.orders.model import Order, OrderFacts, facts_of


class Action(StrEnum):
    """The actions on an order. Its timeline uses the same words."""

    PLACE = "place"
    PLACE_FROM_WAREHOUSE = "place_from_warehouse"
    ACCEPT = "accept"
    REJECT = "reject"
    EXPIRE = "expire"
    CANCEL = "cancel"
    EXTEND = "extend"
    ISSUE_VOUCHER = "issue_voucher"
    REQUEST_VOUCHER = "request_voucher"
    RESCHEDULE = "reschedule"
    RELOCATE = "relocate"
    CHANGE_PARCELS = "change_parcels"
    CHANGE_COURIER = "change_courier"
    MISS_PICKUP = "miss_pickup"
    SET_AS_READY = "set_as_ready"
    SET_AS_NOT_READY = "set_as_not_ready"
    TRACK = "track"
    HAND_OVER = "hand_over"
    COLLECT = "collect"
    DELIVER = "deliver"
    DELIVER_PARTLY = "deliver_partly"
    FAIL_DELIVERY = "fail_delivery"
    BRING_BACK = "bring_back"
    REPLACE = "replace"
    ISSUE_DELIVERY_NOTE = "issue_delivery_note"
    ASK_RETURN = "ask_return"
    SHIP_RETURN = "ship_return"
    DROP_RETURN = "drop_return"
    TAKE_BACK_PARTLY = "take_back_partly"
    TAKE_BACK = "take_back"
    # Allowed in every state of an order that was ever accepted, so the table has no row for it.
    ATTACH_INVOICE = "attach_invoice"


_S = OrderState
TRANSITIONS: Final[dict[tuple[OrderState | None, Action], OrderState]] = {
    (None, Action.PLACE): _S.OPEN,
    (None, Action.PLACE_FROM_WAREHOUSE): _S.ACCEPTED,
    (_S.OPEN, Action.ACCEPT): _S.ACCEPTED,
    (_S.OPEN, Action.REJECT): _S.REJECTED,
    (_S.OPEN, Action.EXPIRE): _S.EXPIRED,
    (_S.OPEN, Action.CANCEL): _S.CANCELLED,
    (_S.OPEN, Action.EXTEND): _S.OPEN,
    (_S.ACCEPTED, Action.CANCEL): _S.CANCELLED,
    (_S.ACCEPTED, Action.ISSUE_VOUCHER): _S.ACCEPTED,
    (_S.ACCEPTED, Action.REQUEST_VOUCHER): _S.ACCEPTED,
    (_S.ACCEPTED, Action.RESCHEDULE): _S.ACCEPTED,
    (_S.ACCEPTED, Action.RELOCATE): _S.ACCEPTED,
    (_S.ACCEPTED, Action.CHANGE_PARCELS): _S.ACCEPTED,
    (_S.ACCEPTED, Action.CHANGE_COURIER): _S.ACCEPTED,
    (_S.ACCEPTED, Action.MISS_PICKUP): _S.ACCEPTED,
    (_S.ACCEPTED, Action.SET_AS_READY): _S.ACCEPTED,
    (_S.ACCEPTED, Action.SET_AS_NOT_READY): _S.ACCEPTED,
    (_S.ACCEPTED, Action.TRACK): _S.ACCEPTED,
    (_S.ACCEPTED, Action.HAND_OVER): _S.DISPATCHED,
    (_S.ACCEPTED, Action.COLLECT): _S.DELIVERED,
    (_S.DISPATCHED, Action.TRACK): _S.DISPATCHED,
    (_S.DISPATCHED, Action.CANCEL): _S.CANCELLED,
    (_S.CANCELLED, Action.BRING_BACK): _S.CANCELLED,
    (_S.DISPATCHED, Action.FAIL_DELIVERY): _S.FOR_RETURN,
    (_S.FOR_RETURN, Action.BRING_BACK): _S.RETURNED,
    (_S.DISPATCHED, Action.DELIVER): _S.DELIVERED,
    (_S.DISPATCHED, Action.DELIVER_PARTLY): _S.PARTIALLY_DELIVERED,
    (_S.DELIVERED, Action.REPLACE): _S.DELIVERED,
    (_S.PARTIALLY_DELIVERED, Action.REPLACE): _S.PARTIALLY_DELIVERED,
    (_S.PARTIALLY_RETURNED, Action.REPLACE): _S.PARTIALLY_RETURNED,
    (_S.RETURNED, Action.REPLACE): _S.RETURNED,
    (_S.DISPATCHED, Action.ISSUE_DELIVERY_NOTE): _S.DISPATCHED,
    (_S.FOR_RETURN, Action.ISSUE_DELIVERY_NOTE): _S.FOR_RETURN,
    (_S.CANCELLED, Action.ISSUE_DELIVERY_NOTE): _S.CANCELLED,
    (_S.DELIVERED, Action.ISSUE_DELIVERY_NOTE): _S.DELIVERED,
    (_S.PARTIALLY_DELIVERED, Action.ISSUE_DELIVERY_NOTE): _S.PARTIALLY_DELIVERED,
    (_S.PARTIALLY_RETURNED, Action.ISSUE_DELIVERY_NOTE): _S.PARTIALLY_RETURNED,
    (_S.RETURNED, Action.ISSUE_DELIVERY_NOTE): _S.RETURNED,
    (_S.DELIVERED, Action.ASK_RETURN): _S.DELIVERED,
    (_S.DELIVERED, Action.SHIP_RETURN): _S.DELIVERED,
    (_S.DELIVERED, Action.DROP_RETURN): _S.DELIVERED,
    (_S.DELIVERED, Action.TAKE_BACK_PARTLY): _S.PARTIALLY_RETURNED,
    (_S.DELIVERED, Action.TAKE_BACK): _S.RETURNED,
    (_S.PARTIALLY_DELIVERED, Action.ASK_RETURN): _S.PARTIALLY_DELIVERED,
    (_S.PARTIALLY_DELIVERED, Action.SHIP_RETURN): _S.PARTIALLY_DELIVERED,
    (_S.PARTIALLY_DELIVERED, Action.DROP_RETURN): _S.PARTIALLY_DELIVERED,
    (_S.PARTIALLY_DELIVERED, Action.TAKE_BACK_PARTLY): _S.PARTIALLY_RETURNED,
    (_S.PARTIALLY_DELIVERED, Action.TAKE_BACK): _S.RETURNED,
    (_S.PARTIALLY_RETURNED, Action.ASK_RETURN): _S.PARTIALLY_RETURNED,
    (_S.PARTIALLY_RETURNED, Action.SHIP_RETURN): _S.PARTIALLY_RETURNED,
    (_S.PARTIALLY_RETURNED, Action.DROP_RETURN): _S.PARTIALLY_RETURNED,
    (_S.PARTIALLY_RETURNED, Action.TAKE_BACK_PARTLY): _S.PARTIALLY_RETURNED,
    (_S.PARTIALLY_RETURNED, Action.TAKE_BACK): _S.RETURNED,
}

# Transitions for which the contract has no event (docs/contract.md#section-4). The setting `tell_deliveries` turns on
# events for DELIVERIES.
DELIVERIES: Final = frozenset({Action.COLLECT, Action.DELIVER, Action.DELIVER_PARTLY, Action.FAIL_DELIVERY})
SILENT: Final = frozenset(
    {
        Action.TRACK,
        Action.REPLACE,
        Action.ATTACH_INVOICE,
        Action.ASK_RETURN,
        Action.SHIP_RETURN,
        Action.DROP_RETURN,
    }
)


def next_state(state: OrderState | None, action: Action) -> OrderState:
    """Return the state after the action. Raises ORDER_STATUS if the table has no such transition."""
    following = TRANSITIONS.get((state, action))
    if following is None:
        if state is None or state is OrderState.OPEN:
            raise refuse(refusals.OrderNotAccepted())
        raise refuse(refusals.OrderAlready(state))
    return following


def through(order: Order, action: Action) -> Order:
    """Return the order in its state after the action. Raises ORDER_STATUS."""
    return replace(order, state=next_state(order.state, action))


class Step(Struct, frozen=True, kw_only=True):
    """One transition of an order: the new order, its changes for the webhook, and its entry in the timeline."""

    action: Action
    order: Order
    changes: OrderChanges | None = None

    def event(self, *, tells_deliveries: bool) -> OrderEventType | None:
        """Return the type of the webhook, or None if no field of the contract's list has changed."""
        if self.action in {Action.PLACE, Action.PLACE_FROM_WAREHOUSE}:
            return OrderEventType.NEW_ORDER
        if self.action in SILENT or (self.action in DELIVERIES and not tells_deliveries):
            return None
        return OrderEventType.ORDER_UPDATED if self.changes != _NO_CHANGES else None


_NO_CHANGES: Final = OrderChanges()


def make_step(action: Action, old: Order, new: Order) -> Step:
    """Return the step from one order to the next. `changes` has the fields of the contract's list that differ."""
    changes = {}
    for name in OrderChanges.__struct_fields__:
        before, now = getattr(old, name), getattr(new, name)
        if before != now:
            changes[name] = Change(old=before, new=now)
    return Step(action=action, order=new, changes=OrderChanges(**changes))


class Placement(NamedTuple):
    """The facts of a new order. The code and the ids are new; `lines` contain the listings' facts."""

    code: str
    facts: OrderFacts
    lines: Sequence[OrderedLine]
    line_ids: Sequence[str]


class Rejection(NamedTuple):
    """The steps of a rejection: the rejected order, the new order for the rest (if any), and the stock moves."""

    rejected: Step
    successor: Step | None
    stock: tuple[StockMove, ...]


def place(placement: Placement, settings: Settings, now: datetime) -> Step:
    """Place a new order with its deadlines; commission is rounded per line and summed (docs/decisions/0010). An order
    from the marketplace's warehouse is accepted from the start (docs/contract.md#section-9)."""
    action = Action.PLACE_FROM_WAREHOUSE if placement.facts.fulfilled_by_skroutz else Action.PLACE
    lines = [price_line(ordered, line_id) for ordered, line_id in zip(placement.lines, placement.line_ids, strict=True)]
    created_at = athens(now)
    expires_at = after(created_at, timedelta(hours=settings.acceptance_hours))
    order = Order(
        **asdict(placement.facts),
        code=placement.code,
        state=next_state(None, action),
        line_items=msgspec.Raw(encode(lines)),
        created_at=created_at,
        expires_at=expires_at,
        dispatch_until=_dispatch_until(placement.facts, expires_at, settings),
        commission=total(line.commission for line in lines),
    )
    return Step(action=action, order=order)


def accept(order: Order, request: AcceptRequest, offer: Offer, now: datetime) -> Step:
    """Accept the order. Raises ORDER_STATUS, then INVALID_PARAMETER for a choice that is not on offer."""
    if order.express:
        # The marketplace accepts these itself; the answer is the same in every state.
        raise refuse(refusals.OrderIsExpress())
    state = _state_if_open(order, Action.ACCEPT, now)
    choice = choose(request, offer, pickups_from(order, now), store_pickup=order.store_pickup)
    return _accept_order(order, state, choice)


def accept_express(order: Order, offer: Offer, now: datetime) -> Step:
    """Accept an express order for its shop, with the first choices on offer. Raises ORDER_STATUS."""
    state = _state_if_open(order, Action.ACCEPT, now)
    return _accept_order(order, state, first_choice(offer, pickups_from(order, now), store_pickup=order.store_pickup))


def reject(
    order: Order,
    request: RejectRequest,
    settings: Settings,
    now: datetime,
    *,
    successor_code: str,
    line_ids: Sequence[str],
    actor: RejectionActor = "merchant",
    from_warehouse: OrderFacts | None = None,
) -> Rejection:
    """Reject the order for the shop, or for support by free text (docs/contract.md#section-3).

    Both forms end the order. A rejection by lines also places a new order for the rest: the lines that were not named,
    and the available pieces of limited lines. If the marketplace's warehouse has all of these pieces, it sends the new
    order, and `from_warehouse` contains its facts. Raises ORDER_STATUS, INVALID_PARAMETER.
    """
    state = _state_if_open(order, Action.REJECT, now)
    text = free_text(request)
    lines = order.lines()
    if text is not None:
        new = replace(order, state=state, rejection_info=RejectionInfo(reason=text, actor=actor), rejected_by=actor)
        return Rejection(make_step(Action.REJECT, order, new), None, _from_listings(order, return_all(lines)))
    rejections = check_rejections(request, lines)
    marked = [
        replace(line, rejection_reason=rejections[line.id].reason.word) if line.id in rejections else line
        for line in lines
    ]
    rest = remaining_lines(lines, rejections)
    available = {
        line_id: rejection.available_quantity
        for line_id, rejection in rejections.items()
        if rejection.available_quantity is not None
    }
    new = replace(
        order,
        state=state,
        line_items=msgspec.Raw(encode(marked)),
        rejected_by=actor,
        available=available or None,
        successor=successor_code if rest else None,
    )
    successor = None
    if rest:
        placement = Placement(successor_code, from_warehouse or facts_of(order), rest, line_ids[: len(rest)])
        successor = place(placement, settings, now)
        successor = replace(successor, order=replace(successor.order, predecessor=order.code))
    stock = stock_after(lines, rejections, stays=from_warehouse is not None)
    return Rejection(make_step(Action.REJECT, order, new), successor, _from_listings(order, stock))


def expire(order: Order, now: datetime) -> Step:
    """Expire an order without an answer. Raises ORDER_STATUS, also before its time."""
    new = through(order, Action.EXPIRE)
    if now < order.expires_at:
        raise refuse(refusals.OrderStillOpen())
    return make_step(Action.EXPIRE, order, new)


def cancel(order: Order) -> Step:
    """Cancel the order, for the customer or support. A dispatched parcel travels back. Raises ORDER_STATUS."""
    new = replace(through(order, Action.CANCEL), is_travelling_back=order.state is OrderState.DISPATCHED)
    return make_step(Action.CANCEL, order, new)


def extend(order: Order, settings: Settings, now: datetime, hours: int | None = None) -> Step:
    """Give the shop more time to answer, in hours. Raises ORDER_STATUS."""
    state = _state_if_open(order, Action.EXTEND, now)
    expires_at = after(order.expires_at, timedelta(hours=hours or settings.extension_hours))
    dispatch_until = _dispatch_until(order, expires_at, settings)
    return make_step(
        Action.EXTEND, order, replace(order, state=state, expires_at=expires_at, dispatch_until=dispatch_until)
    )


def attach_invoice(order: Order, url: str) -> Step:
    """Attach the shop's invoice. Raises INVOICE_REFUSED if the order was never accepted."""
    if not order.was_accepted:
        raise refuse(refusals.InvoiceTooEarly())
    return make_step(Action.ATTACH_INVOICE, order, replace(order, uploaded_invoice_file=url))


def stock_to_return(step: Step) -> tuple[StockMove, ...]:
    """Return the stock moves of an order that has ended. A parcel on its way back is not in stock yet."""
    order = step.order
    has_ended = order.state in {OrderState.CANCELLED, OrderState.EXPIRED} and not order.is_travelling_back
    if has_ended or step.action is Action.BRING_BACK:
        return _from_listings(order, return_all(order.lines()))
    return ()


def _from_listings(order: Order, moves: tuple[StockMove, ...]) -> tuple[StockMove, ...]:
    """Drop the stock moves of an order that sends the same items again: its pieces came from no listing."""
    return () if order.is_of_the_same_items else moves


def pickups_from(order: Order, now: datetime) -> datetime:
    """Return the earliest time of a pickup: now, but not before the day of a preorder (midnight in Athens)."""
    return pickup_moment(order.scheduled_shipment, now)


def pickup_moment(scheduled_shipment: date | None, now: datetime) -> datetime:
    """Return the earliest time of a pickup, as `pickups_from` does, without a decoded order."""
    if scheduled_shipment is None:
        return now
    return max(now, datetime(scheduled_shipment.year, scheduled_shipment.month, scheduled_shipment.day, tzinfo=ATHENS))


def _accept_order(order: Order, state: OrderState, choice: Choice) -> Step:
    new = replace(
        order,
        state=state,
        pickup_location_id=choice.location.id,
        pickup_window=None if choice.window is None else choice.window.on_the_wire(),
        pickup_address=choice.location.label(),
        number_of_parcels=choice.number_of_parcels,
    )
    return make_step(Action.ACCEPT, order, new)


def _state_if_open(order: Order, action: Action, now: datetime) -> OrderState:
    """Return the next state of a command that is allowed only before the deadline. After the deadline the order counts
    as expired, even if the expiry job has not run yet."""
    state = next_state(order.state, action)
    if now >= order.expires_at:
        raise refuse(refusals.OrderAlready(OrderState.EXPIRED))
    return state


def _dispatch_until(facts: OrderFacts, expires_at: datetime, settings: Settings) -> datetime | None:
    """Return the deadline of the dispatch: some working days after the acceptance deadline, or after the day of a
    preorder. None for a store pickup, which no courier collects."""
    if facts.store_pickup:
        return None
    start = pickup_moment(facts.scheduled_shipment, expires_at)
    day = add_working_days(athens(start).date(), settings.dispatch_working_days)
    return athens(datetime.combine(day, expires_at.time(), tzinfo=ATHENS))
