"""The machine's table: every move that it has is made, every other raises and changes nothing."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.contract.requests import (
    RejectedLine,
    RejectRequest,
    RelocateRequest,
    RescheduleRequest,
    TrackingDetail,
    TrackingRequest,
)
from kalathi.contract.words import FulfillmentMode, OrderEventType, OrderState
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.orders import machine, pickup, replacing, returning
from kalathi.marketplace.orders.lines import StockMove
from kalathi.marketplace.orders.machine import TRANSITIONS, Action, Step
from kalathi.marketplace.orders.model import Order
from tests.unit.orders import LOCATION, NOW, OFFER, SETTINGS, good_accept, open_order, order_in, placement

LATER = NOW + timedelta(days=2)
OTHER = RejectRequest(rejection_reason_other="closed")
NEXT_DAY = RescheduleRequest(reschedule_date="2026-11-25")
PLACES = (LOCATION, replace(LOCATION, id="other", street_number="2"))
TRACKING = TrackingRequest(tracking_details=[TrackingDetail(courier="acs", tracking_code="1")])
VOUCHER = ("http://market/v.pdf", ("ACS1",))


def _reject(order: Order, request: RejectRequest = OTHER, now: datetime = NOW) -> machine.Rejection:
    return machine.reject(
        order, request, SETTINGS, now, successor_code="261124-0000002", line_ids=["new0", "new1", "new2"]
    )


MOVES: dict[Action, Callable[[Order], Step | None]] = {
    Action.ACCEPT: lambda order: machine.accept(order, good_accept(), OFFER, NOW),
    Action.REJECT: lambda order: _reject(order).rejected,
    Action.EXPIRE: lambda order: machine.expire(order, LATER),
    Action.CANCEL: machine.cancel,
    Action.EXTEND: lambda order: machine.extend(order, SETTINGS, NOW),
    Action.ISSUE_VOUCHER: lambda order: pickup.issue_voucher(order, *VOUCHER),
    Action.REQUEST_VOUCHER: lambda order: pickup.request_voucher(order, OFFER.schedule, NOW),
    Action.RESCHEDULE: lambda order: pickup.reschedule(order, NEXT_DAY, OFFER.schedule, NOW),
    Action.RELOCATE: lambda order: pickup.relocate(order, RelocateRequest(pickup_location="other"), PLACES),
    Action.SET_AS_READY: lambda order: pickup.set_as_ready(order, OFFER.schedule, NOW),
    Action.SET_AS_NOT_READY: lambda order: pickup.set_as_not_ready(order, NOW),
    Action.TRACK: lambda order: pickup.track(order, TRACKING),
    Action.HAND_OVER: machine.hand_over,
    Action.COLLECT: lambda order: machine.collect(order, NOW),
    Action.DELIVER: lambda order: machine.deliver(order, NOW),
    Action.DELIVER_PARTLY: lambda order: machine.deliver(order, NOW, {"line0": 1}),
    Action.FAIL_DELIVERY: machine.fail_delivery,
    Action.ISSUE_DELIVERY_NOTE: lambda order: pickup.issue_delivery_note(order, "N1", "http://market/n.pdf"),
    Action.ASK_RETURN: lambda order: returning.ask_return(order, {"line0": 1}),
    Action.SHIP_RETURN: lambda order: returning.ship_return(order, "uuid", ("ACS1",)),
    Action.DROP_RETURN: lambda order: returning.drop_return(order, {"line0": 1}),
    Action.TAKE_BACK_PARTLY: lambda order: returning.take_back(order, {"line0": 1}, {"line0": "faulty"}),
    Action.TAKE_BACK: lambda order: returning.take_back(order, {"line0": 2, "line1": 1}, {}),
    Action.REPLACE: lambda order: replacing.note_replacement(order, "261124-0000009", None, {"line0": 1}),
}
# What an action asks of an order beside its state.
KINDS: dict[Action, dict[str, object]] = {
    Action.HAND_OVER: {"courier_voucher": "http://market/v.pdf"},
    Action.COLLECT: {"store_pickup": True},
    Action.TRACK: {"mode": FulfillmentMode.MERCHANT},
    Action.REQUEST_VOUCHER: {"scheduled_shipment": date(2026, 12, 10)},
    Action.ISSUE_DELIVERY_NOTE: {"fulfilled_by_skroutz": True},
    Action.ASK_RETURN: {"delivered": {"line0": 2, "line1": 1}},
    Action.DROP_RETURN: {"asked_back": {"line0": 2}},
    Action.TAKE_BACK_PARTLY: {"delivered": {"line0": 2, "line1": 1}},
    Action.TAKE_BACK: {"delivered": {"line0": 2, "line1": 1}},
    Action.REPLACE: {"delivered": {"line0": 2, "line1": 1}},
    Action.SET_AS_NOT_READY: {"is_ready_for_dispatch": True},
}
_MORE_OF_A_PART = (OrderState.PARTIALLY_RETURNED, Action.TAKE_BACK_PARTLY)
_STEPS_OF_A_RETURN = {Action.ASK_RETURN, Action.SHIP_RETURN, Action.DROP_RETURN}
STATES_AND_ACTIONS = [(state, action) for state in OrderState for action in MOVES]


def _prepared(state: OrderState, action: Action) -> Order:
    return replace(order_in(state), **KINDS.get(action, {}))


def test_every_action_of_the_table_is_tried_here() -> None:
    assert set(MOVES) == {action for state, action in TRANSITIONS if state is not None}


@pytest.mark.parametrize(("state", "action"), STATES_AND_ACTIONS)
def test_a_move_is_made_exactly_when_the_table_has_it(state: OrderState, action: Action) -> None:
    order = _prepared(state, action)
    before = encode(order)
    following = TRANSITIONS.get((state, action))
    if following is None:
        with pytest.raises(DomainError) as refused:
            MOVES[action](order)
        eligible = action in {Action.SET_AS_READY, Action.SET_AS_NOT_READY, Action.REQUEST_VOUCHER}
        assert refused.value.code is (ErrorCode.ORDER_NOT_ELIGIBLE if eligible else ErrorCode.ORDER_STATUS)
    else:
        step = MOVES[action](order)
        assert step is not None
        assert step.order.state is following
        assert step.action is action
    assert encode(order) == before


def test_placing_is_the_only_way_in() -> None:
    ways_in = [key for key in TRANSITIONS if key[0] is None]
    assert ways_in == [(None, Action.PLACE), (None, Action.PLACE_FROM_WAREHOUSE)]
    asked = placement(("A", "1.00", 1))
    for from_warehouse, state in ((False, OrderState.OPEN), (True, OrderState.ACCEPTED)):
        facts = replace(asked.facts, fulfilled_by_skroutz=from_warehouse)
        step = machine.place(asked._replace(facts=facts), SETTINGS, NOW)
        assert step.order.state is state
        assert step.event(tells_deliveries=False) is OrderEventType.NEW_ORDER


@pytest.mark.parametrize("tells_deliveries", [False, True])
def test_only_the_moves_that_the_contract_lists_are_told(tells_deliveries: bool) -> None:
    silent = set()
    for state, action in STATES_AND_ACTIONS:
        # More of an order that has come back in part changes nothing that is told.
        if (state, action) in TRANSITIONS and (state, action) != _MORE_OF_A_PART:
            step = MOVES[action](_prepared(state, action))
            assert step is not None
            if step.event(tells_deliveries=tells_deliveries) is None:
                silent.add(action)
    deliveries = set() if tells_deliveries else set(machine.DELIVERIES)
    assert silent == deliveries | {Action.TRACK, Action.REPLACE} | _STEPS_OF_A_RETURN


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (OrderState.ACCEPTED, "Order already accepted."),
        (OrderState.REJECTED, "Order already rejected."),
        (OrderState.PARTIALLY_DELIVERED, "Order already partially delivered."),
        (OrderState.FOR_RETURN, "Order already for return."),
    ],
)
def test_a_refusal_says_what_has_become_of_the_order(state: OrderState, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        machine.accept(order_in(state), good_accept(), OFFER, NOW)


def test_accept_reject_and_extend_are_refused_from_the_deadline_on_and_expiry_before_it() -> None:
    order = open_order()
    deadline = order.expires_at
    just_before = deadline - timedelta(seconds=1)
    for move in (
        lambda: machine.accept(order, good_accept(deadline), OFFER, deadline),
        lambda: _reject(order, now=deadline),
        lambda: machine.extend(order, SETTINGS, deadline),
    ):
        with pytest.raises(DomainError, match="Order already expired"):
            move()
    with pytest.raises(DomainError, match="Order is still open"):
        machine.expire(order, just_before)
    assert machine.expire(order, deadline).order.state is OrderState.EXPIRED
    assert machine.accept(order, good_accept(just_before), OFFER, just_before).order.state is OrderState.ACCEPTED


def test_deadlines_are_a_day_and_then_three_working_days_at_the_same_hour() -> None:
    order = open_order()
    assert order.created_at.isoformat() == "2026-11-24T10:00:00+02:00"
    assert order.expires_at.isoformat() == "2026-11-25T10:00:00+02:00"
    assert order.dispatch_until is not None
    # Thursday, Friday, then over the weekend to Monday.
    assert order.dispatch_until.isoformat() == "2026-11-30T10:00:00+02:00"
    extended = machine.extend(order, SETTINGS, NOW).order
    assert extended.expires_at.isoformat() == "2026-11-26T10:00:00+02:00"
    assert extended.dispatch_until is not None
    assert extended.dispatch_until.isoformat() == "2026-12-01T10:00:00+02:00"


def test_an_order_gets_one_voucher_and_is_not_handed_over_without_it() -> None:
    accepted = machine.accept(open_order(), good_accept(), OFFER, NOW).order
    with pytest.raises(DomainError, match="no voucher yet"):
        machine.hand_over(accepted)
    with_voucher = pickup.issue_voucher(accepted, *VOUCHER).order
    with pytest.raises(DomainError, match="already has a voucher"):
        pickup.issue_voucher(with_voucher, *VOUCHER)
    assert machine.hand_over(with_voucher).order.state is OrderState.DISPATCHED


def test_a_rejection_by_lines_leaves_the_unnamed_and_the_limited_to_the_next_order() -> None:
    order = open_order(("A", "10.40", 5), ("B", "25.00", 1), ("C", "1.00", 2))
    request = RejectRequest(
        line_items=[
            RejectedLine(id="line0", reason_id=4, available_quantity="3"),
            RejectedLine(id="line1", reason_id="1"),
        ]
    )
    rejection = _reject(order, request)
    assert rejection.successor is not None
    successor = rejection.successor.order
    assert [(line.shop_uid, line.quantity, line.id) for line in successor.lines()] == [
        ("A", 3, "new0"),
        ("C", 2, "new1"),
    ]
    assert (successor.code, successor.cart_id, successor.state) == ("261124-0000002", "cart", OrderState.OPEN)
    assert [line.rejection_reason for line in rejection.rejected.order.lines()][:2] == ["limited_stock", "no_stock"]
    assert set(rejection.stock) == {StockMove("B", 1), StockMove("A", 0, counted=True)}


def test_nothing_comes_back_when_nothing_is_left() -> None:
    request = RejectRequest(
        line_items=[
            RejectedLine(id="line0", reason_id=4, available_quantity=0),
            RejectedLine(id="line1", reason_id=5),
        ]
    )
    rejection = _reject(open_order(), request)
    assert rejection.successor is None
    assert set(rejection.stock) == {StockMove("B", 1), StockMove("A", 0, counted=True)}


def test_commission_is_rounded_half_up_by_line_and_summed() -> None:
    order = open_order(("A", "10.40", 2), ("B", "0.06", 1))
    # 20.80 × 8.34 % = 1.73472 → 1.73; 0.06 × 8.34 % = 0.005004 → 0.01
    assert [line.commission for line in order.lines()] == [Decimal("1.73"), Decimal("0.01")]
    assert order.commission == Decimal("1.74")
