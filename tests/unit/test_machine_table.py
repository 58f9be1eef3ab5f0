"""The machine's table: every transition in it succeeds, every other raises and changes nothing."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec import UNSET
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
from kalathi.contract.webhooks import Change
from kalathi.contract.words import Courier, FulfillmentMode, OrderEventType, OrderState
from kalathi.marketplace.couriers.tracking import tracking_codes
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.orders import delivering, machine, pickup, replacing, returning
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
    Action.HAND_OVER: delivering.hand_over,
    Action.COLLECT: lambda order: delivering.collect(order, NOW),
    Action.DELIVER: lambda order: delivering.deliver(order, NOW),
    Action.DELIVER_PARTLY: lambda order: delivering.deliver(order, NOW, {"line0": 1}),
    Action.FAIL_DELIVERY: delivering.fail_delivery,
    Action.BRING_BACK: delivering.bring_back,
    Action.CHANGE_PARCELS: lambda order: pickup.change_parcels(order, 3),
    Action.CHANGE_COURIER: lambda order: pickup.change_courier(order, Courier.ELTA),
    Action.MISS_PICKUP: lambda order: pickup.miss_pickup(order, OFFER.schedule, NOW),
    Action.ISSUE_DELIVERY_NOTE: lambda order: pickup.issue_delivery_note(order, "N1", "http://market/n.pdf"),
    Action.ASK_RETURN: lambda order: returning.request_return(order, {"line0": 1}),
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
    Action.BRING_BACK: {"is_travelling_back": True},
    Action.MISS_PICKUP: {"pickup_window": OFFER.schedule.offer_windows(NOW)[0].on_the_wire()},
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
# More of an order that has come back in part, and the parcel of a cancelled order, change nothing that is told.
_UNTOLD = {(OrderState.PARTIALLY_RETURNED, Action.TAKE_BACK_PARTLY), (OrderState.CANCELLED, Action.BRING_BACK)}
_STEPS_OF_A_RETURN = {Action.ASK_RETURN, Action.SHIP_RETURN, Action.DROP_RETURN}
STATES_AND_ACTIONS = [(state, action) for state in OrderState for action in MOVES]


def _prepared(state: OrderState, action: Action) -> Order:
    return replace(order_in(state), **KINDS.get(action, {}))


def test_every_action_of_the_table_has_a_test() -> None:
    assert set(MOVES) == {action for state, action in TRANSITIONS if state is not None}


@pytest.mark.parametrize(("state", "action"), STATES_AND_ACTIONS)
def test_a_transition_succeeds_iff_the_table_has_it(state: OrderState, action: Action) -> None:
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


def test_an_order_starts_only_by_being_placed() -> None:
    ways_in = [key for key in TRANSITIONS if key[0] is None]
    assert ways_in == [(None, Action.PLACE), (None, Action.PLACE_FROM_WAREHOUSE)]
    asked = placement(("A", "1.00", 1))
    for from_warehouse, state in ((False, OrderState.OPEN), (True, OrderState.ACCEPTED)):
        facts = replace(asked.facts, fulfilled_by_skroutz=from_warehouse)
        step = machine.place(asked._replace(facts=facts), SETTINGS, NOW)
        assert step.order.state is state
        assert step.event(tells_deliveries=False) is OrderEventType.NEW_ORDER


@pytest.mark.parametrize("tells_deliveries", [False, True])
def test_only_transitions_listed_in_the_contract_send_an_event(tells_deliveries: bool) -> None:
    silent = set()
    for state, action in STATES_AND_ACTIONS:
        if (state, action) in TRANSITIONS and (state, action) not in _UNTOLD:
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
def test_a_refusal_names_the_state_of_the_order(state: OrderState, message: str) -> None:
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
        delivering.hand_over(accepted)
    with_voucher = pickup.issue_voucher(accepted, *VOUCHER).order
    with pytest.raises(DomainError, match="already has a voucher"):
        pickup.issue_voucher(with_voucher, *VOUCHER)
    assert delivering.hand_over(with_voucher).order.state is OrderState.DISPATCHED


def test_a_returning_parcel_restocks_its_pieces_once() -> None:
    pieces = (StockMove("A", 2, counted=False), StockMove("B", 1, counted=False))
    dispatched = order_in(OrderState.DISPATCHED)
    failed, cancelled = delivering.fail_delivery(dispatched), machine.cancel(dispatched)
    assert (failed.order.state, cancelled.order.state) == (OrderState.FOR_RETURN, OrderState.CANCELLED)
    for step, end in ((failed, OrderState.RETURNED), (cancelled, OrderState.CANCELLED)):
        assert machine.stock_to_return(step) == (), "the parcel is on its way"
        back = delivering.bring_back(step.order)
        assert (back.order.state, back.order.is_travelling_back) == (end, False)
        assert machine.stock_to_return(back) == pieces
        with pytest.raises(DomainError, match=r"Order (is not on its way back|already returned)\."):
            delivering.bring_back(back.order)
    never_left = machine.cancel(order_in(OrderState.ACCEPTED))
    assert machine.stock_to_return(never_left) == pieces
    with pytest.raises(DomainError, match="Order is not on its way back"):
        delivering.bring_back(never_left.order)


def test_a_new_voucher_has_new_tracking_codes() -> None:
    accepted = machine.accept(open_order(), good_accept(), OFFER, NOW).order
    changed = pickup.change_parcels(accepted, 2).order
    assert not changed.voucher_is_outdated, "there was none yet"
    first = pickup.issue_voucher(changed, "one", tracking_codes("ACS", "1-2", 2, changed.tracking_codes_issued)).order
    again = pickup.change_courier(first, Courier.ELTA).order
    assert again.voucher_is_outdated
    codes = tracking_codes("ACS", "1-2", 2, again.tracking_codes_issued)
    second = pickup.issue_voucher(again, "two", codes)
    assert second.changes is not None
    assert second.changes.courier_voucher == Change(old="one", new="two")
    assert second.changes.courier_tracking_codes is not UNSET
    told = second.changes.courier_tracking_codes
    assert (list(told.old), list(told.new)) == (["ACS1201", "ACS1202"], ["ACS1203", "ACS1204"])


@pytest.mark.parametrize("days", [-9, -1, 0, 1, 30])
def test_a_preorders_voucher_can_be_requested_once_on_any_day(days: int) -> None:
    day = date(2026, 12, 10)
    now = datetime(2026, 12, 10, 9, tzinfo=UTC) + timedelta(days=days)
    waiting = replace(order_in(OrderState.ACCEPTED), scheduled_shipment=day)
    asked = pickup.request_voucher(waiting, OFFER.schedule, now).order
    assert asked.pickup_window is not None
    assert (asked.scheduled_shipment, asked.pickup_window.start > now) == (None, True)
    with pytest.raises(DomainError, match="Cannot request voucher"):
        pickup.request_voucher(replace(waiting, courier_voucher="http://market/v.pdf"), OFFER.schedule, now)


def test_a_change_to_the_current_value_is_refused() -> None:
    accepted = machine.accept(open_order(), good_accept(), OFFER, NOW).order
    with pytest.raises(DomainError, match="already has 1 parcels"):
        pickup.change_parcels(accepted, 1)
    with pytest.raises(DomainError, match=f"already goes with {accepted.courier}"):
        pickup.change_courier(accepted, Courier(str(accepted.courier)))


def test_a_missed_pickup_moves_to_the_next_window_after_the_present_one() -> None:
    accepted = machine.accept(open_order(), good_accept(), OFFER, NOW).order
    moved = pickup.miss_pickup(accepted, OFFER.schedule, NOW).order
    assert accepted.pickup_window is not None
    assert moved.pickup_window is not None
    assert moved.pickup_window.start >= accepted.pickup_window.end
    later = pickup.miss_pickup(accepted, OFFER.schedule, LATER).order
    assert later.pickup_window is not None
    assert later.pickup_window.start > LATER


def test_the_next_order_gets_unnamed_lines_and_available_pieces() -> None:
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


def test_no_new_order_follows_if_no_piece_is_left() -> None:
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
