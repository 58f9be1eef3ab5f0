"""The order machine (DESIGN, decision 1): every state and transition in one table, behind one door.

An order is placed, and then the shop and the clock race: accept, reject, expire and cancel all leave `open`, so that
exactly one of them can win. An accepted order gets its voucher, is handed to the courier and delivered. A customer may
cancel until the parcel is delivered; once it has been dispatched it travels back.

Each command below takes the order, the facts it needs and `now`, asks the door, and gives the new order with what has
changed. Nothing here reads a clock, draws an id, or touches a database: an illegal move raises ORDER_STATUS, and since
orders are immutable, nothing can have changed. The diagram in docs/orders.md is drawn from TRANSITIONS.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.contract.orders import LineItem, RejectionInfo
from kalathi.contract.requests import AcceptRequest, RejectRequest
from kalathi.contract.webhooks import Change, OrderChanges
from kalathi.contract.words import OrderEventType, OrderState, PaymentMethod
from kalathi.marketplace.kernel.calendar import add_working_days
from kalathi.marketplace.kernel.clock import ATHENS, after, athens
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.money import commission_of, total
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.orders.answers import LineRejection, Offer, choose, free_text, rejected_lines
from kalathi.marketplace.orders.model import Order


class Action(StrEnum):
    """What can happen to an order; also the word of its timeline."""

    PLACE = "place"
    ACCEPT = "accept"
    REJECT = "reject"
    EXPIRE = "expire"
    CANCEL = "cancel"
    EXTEND = "extend"
    ISSUE_VOUCHER = "issue_voucher"
    HAND_OVER = "hand_over"
    DELIVER = "deliver"


_S = OrderState
TRANSITIONS: Final[dict[tuple[OrderState | None, Action], OrderState]] = {
    (None, Action.PLACE): _S.OPEN,
    (_S.OPEN, Action.ACCEPT): _S.ACCEPTED,
    (_S.OPEN, Action.REJECT): _S.REJECTED,
    (_S.OPEN, Action.EXPIRE): _S.EXPIRED,
    (_S.OPEN, Action.CANCEL): _S.CANCELLED,
    (_S.OPEN, Action.EXTEND): _S.OPEN,
    (_S.ACCEPTED, Action.CANCEL): _S.CANCELLED,
    (_S.ACCEPTED, Action.ISSUE_VOUCHER): _S.ACCEPTED,
    (_S.ACCEPTED, Action.HAND_OVER): _S.DISPATCHED,
    (_S.DISPATCHED, Action.CANCEL): _S.FOR_RETURN,
    (_S.DISPATCHED, Action.DELIVER): _S.DELIVERED,
}

# The documented events (contract, section 4): no event is documented for a delivery.
_SILENT: Final = frozenset({Action.DELIVER})


def door(state: OrderState | None, action: Action) -> OrderState:
    """The state that the action leads to. Raises ORDER_STATUS when the table has no such move."""
    following = TRANSITIONS.get((state, action))
    if following is None:
        if state is OrderState.OPEN:
            raise DomainError(ErrorCode.ORDER_STATUS, "Order is not accepted yet.")
        raise DomainError(ErrorCode.ORDER_STATUS, f"Order already {str(state).replace('_', ' ')}.")
    return following


class Step(Struct, frozen=True, kw_only=True):
    """One move of an order: what it has become, what is told of it, and what its timeline says."""

    action: Action
    order: Order
    changes: OrderChanges | None = None

    @property
    def event(self) -> OrderEventType | None:
        """Which webhook the move causes, if any."""
        if self.action is Action.PLACE:
            return OrderEventType.NEW_ORDER
        return None if self.action in _SILENT else OrderEventType.ORDER_UPDATED


class StockMove(NamedTuple):
    """What happens to a listing's quantity: pieces come back, or the shop has counted them."""

    shop_uid: str
    pieces: int
    counted: bool = False


class OrderedLine(NamedTuple):
    """A product, how many pieces of it and at which price, on the way into an order. No id yet."""

    line: LineItem
    quantity: int


class Placement(NamedTuple):
    """The facts of a new order. Ids and code are fresh; `lines` carry the listing's facts."""

    code: str
    shop_id: str
    cart_id: str
    courier: str
    customer: msgspec.Raw
    comments: str
    payment_method: PaymentMethod
    lines: Sequence[OrderedLine]
    line_ids: Sequence[str]


class Rejection(NamedTuple):
    """A rejection: the order that ended, the one that the marketplace sends for the rest, and the stock's moves."""

    rejected: Step
    successor: Step | None
    stock: tuple[StockMove, ...]


def place(placement: Placement, settings: Settings, now: datetime) -> Step:
    """A new order with its deadlines; commission is rounded per line and summed (DESIGN, decision 10)."""
    lines = [_priced(ordered, line_id) for ordered, line_id in zip(placement.lines, placement.line_ids, strict=True)]
    created_at = athens(now)
    expires_at = after(created_at, timedelta(hours=settings.acceptance_hours))
    order = Order(
        code=placement.code,
        shop_id=placement.shop_id,
        cart_id=placement.cart_id,
        state=door(None, Action.PLACE),
        customer=placement.customer,
        line_items=msgspec.Raw(encode(lines)),
        comments=placement.comments,
        payment_method=placement.payment_method,
        courier=placement.courier,
        created_at=created_at,
        expires_at=expires_at,
        dispatch_until=_dispatch_until(expires_at, settings),
        commission=total(line.commission for line in lines),
    )
    return Step(action=Action.PLACE, order=order)


def accept(order: Order, request: AcceptRequest, offer: Offer, now: datetime) -> Step:
    """The shop takes the order. Raises ORDER_STATUS, then INVALID_PARAMETER for what is not on offer."""
    state = _open_door(order, Action.ACCEPT, now)
    choice = choose(request, offer, now)
    window = choice.window.on_the_wire()
    address = choice.location.label()
    new = replace(
        order,
        state=state,
        pickup_location_id=choice.location.id,
        pickup_window=window,
        pickup_address=address,
        number_of_parcels=choice.number_of_parcels,
    )
    changes = OrderChanges(
        state=_changed(order, new),
        pickup_window=Change(old=None, new=window),
        number_of_parcels=Change(old=None, new=choice.number_of_parcels),
        pickup_address=Change(old=None, new=address),
    )
    return Step(action=Action.ACCEPT, order=new, changes=changes)


def reject(
    order: Order,
    request: RejectRequest,
    settings: Settings,
    now: datetime,
    *,
    successor_code: str,
    line_ids: Sequence[str],
) -> Rejection:
    """The shop cannot take the order as it is (contract, section 3).

    By free text the order ends. By lines it ends too, and what is left of it comes back as a new order: lines that
    were not named, and of those in limited supply the pieces that there are. Raises ORDER_STATUS, INVALID_PARAMETER.
    """
    state = _open_door(order, Action.REJECT, now)
    text = free_text(request)
    lines = order.lines()
    if text is not None:
        new = replace(order, state=state, rejection_info=RejectionInfo(reason=text, actor="merchant"))
        return Rejection(_step(Action.REJECT, order, new), None, _given_back(lines))
    rejections = rejected_lines(request, lines)
    marked = [
        replace(line, rejection_reason=rejections[line.id].reason.word) if line.id in rejections else line
        for line in lines
    ]
    new = replace(order, state=state, line_items=msgspec.Raw(encode(marked)))
    rest = _what_is_left(lines, rejections)
    successor = None
    if rest:
        placement = Placement(
            code=successor_code,
            shop_id=order.shop_id,
            cart_id=order.cart_id,
            courier=str(order.courier),
            customer=order.customer,
            comments=order.comments,
            payment_method=order.payment_method,
            lines=rest,
            line_ids=line_ids[: len(rest)],
        )
        successor = place(placement, settings, now)
    return Rejection(_step(Action.REJECT, order, new), successor, _stock_after(rejections))


def expire(order: Order, now: datetime) -> Step:
    """Nobody answered in time. Raises ORDER_STATUS, also when the time has not come yet."""
    state = door(order.state, Action.EXPIRE)
    if now < order.expires_at:
        raise DomainError(ErrorCode.ORDER_STATUS, "Order is still open.")
    return _step(Action.EXPIRE, order, replace(order, state=state))


def cancel(order: Order) -> Step:
    """The customer or support wants it no more; a parcel under way travels back. Raises ORDER_STATUS."""
    return _step(Action.CANCEL, order, replace(order, state=door(order.state, Action.CANCEL)))


def extend(order: Order, settings: Settings, now: datetime) -> Step:
    """More time to answer. Raises ORDER_STATUS."""
    state = _open_door(order, Action.EXTEND, now)
    expires_at = after(order.expires_at, timedelta(hours=settings.extension_hours))
    dispatch_until = _dispatch_until(expires_at, settings)
    new = replace(order, state=state, expires_at=expires_at, dispatch_until=dispatch_until)
    changes = OrderChanges(
        expires_at=Change(old=order.expires_at, new=expires_at),
        # Over a weekend the extended deadline may lead to the same working day.
        dispatch_until=UNSET
        if dispatch_until == order.dispatch_until
        else Change(old=order.dispatch_until, new=dispatch_until),
    )
    return Step(action=Action.EXTEND, order=new, changes=changes)


def issue_voucher(order: Order, link: str, tracking_codes: tuple[str, ...]) -> Step:
    """The courier's voucher is made. Raises ORDER_STATUS."""
    state = door(order.state, Action.ISSUE_VOUCHER)
    if order.courier_voucher is not None:
        raise DomainError(ErrorCode.ORDER_STATUS, "Order already has a voucher.")
    new = replace(order, state=state, courier_voucher=link, courier_tracking_codes=tracking_codes)
    changes = OrderChanges(
        courier_voucher=Change(old=order.courier_voucher, new=link),
        courier_tracking_codes=Change(old=list(order.courier_tracking_codes), new=list(tracking_codes)),
    )
    return Step(action=Action.ISSUE_VOUCHER, order=new, changes=changes)


def hand_over(order: Order) -> Step:
    """The courier has picked it up. Raises ORDER_STATUS, also while the parcel has no voucher to travel with."""
    state = door(order.state, Action.HAND_OVER)
    if order.courier_voucher is None:
        raise DomainError(ErrorCode.ORDER_STATUS, "Order has no voucher yet.")
    return _step(Action.HAND_OVER, order, replace(order, state=state))


def deliver(order: Order) -> Step:
    """The customer has it. Raises ORDER_STATUS."""
    return _step(Action.DELIVER, order, replace(order, state=door(order.state, Action.DELIVER)))


def returned_stock(step: Step) -> tuple[StockMove, ...]:
    """The pieces that an ended order gives back to its listings; a parcel that travels back is not in stock yet."""
    if step.order.state in {OrderState.CANCELLED, OrderState.EXPIRED}:
        return _given_back(step.order.lines())
    return ()


def _open_door(order: Order, action: Action, now: datetime) -> OrderState:
    """The door for what must be done before the deadline; after it, the expiry has won even if it has yet to run."""
    state = door(order.state, action)
    if now >= order.expires_at:
        raise DomainError(ErrorCode.ORDER_STATUS, "Order already expired.")
    return state


def _step(action: Action, old: Order, new: Order) -> Step:
    return Step(action=action, order=new, changes=OrderChanges(state=_changed(old, new)))


def _changed(old: Order, new: Order) -> Change[OrderState] | UnsetType:
    return UNSET if old.state is new.state else Change(old=old.state, new=new.state)


def _priced(ordered: OrderedLine, line_id: str) -> LineItem:
    line, quantity = ordered
    total_price = line.unit_price * quantity
    return replace(
        line,
        id=line_id,
        quantity=quantity,
        total_price=total_price,
        commission=commission_of(total_price, line.commission_rate),
    )


def _dispatch_until(expires_at: datetime, settings: Settings) -> datetime:
    day = add_working_days(expires_at.date(), settings.dispatch_working_days)
    return athens(datetime.combine(day, expires_at.time(), tzinfo=ATHENS))


def _what_is_left(lines: Sequence[LineItem], rejections: dict[str, LineRejection]) -> list[OrderedLine]:
    left = []
    for line in lines:
        rejection = rejections.get(line.id)
        quantity = line.quantity if rejection is None else (rejection.available_quantity or 0)
        if quantity:
            left.append(OrderedLine(line, quantity))
    return left


def _given_back(lines: Sequence[LineItem]) -> tuple[StockMove, ...]:
    return tuple(StockMove(line.shop_uid, line.quantity) for line in lines)


def _stock_after(rejections: dict[str, LineRejection]) -> tuple[StockMove, ...]:
    # Lines that were not named move into the successor, piece for piece. A limited line's listing is what the shop has
    # counted, and all of that goes into the successor, so nothing is left of it.
    limited = tuple(
        StockMove(entry.line.shop_uid, 0, counted=True)
        for entry in rejections.values()
        if entry.available_quantity is not None
    )
    others = _given_back([entry.line for entry in rejections.values() if entry.available_quantity is None])
    return others + limited
