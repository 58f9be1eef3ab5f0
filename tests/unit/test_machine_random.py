"""The machine under random use: by property, and by a rule-based state machine that plays the whole marketplace."""

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import UNSET
from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.contract.orders import LineItem
from kalathi.contract.requests import (
    AcceptRequest,
    RejectedLine,
    RejectRequest,
    RelocateRequest,
    RescheduleRequest,
    TrackingDetail,
    TrackingRequest,
)
from kalathi.contract.webhooks import OrderChanges
from kalathi.contract.words import REJECTION_REASONS, Courier, FulfillmentMode, OrderState
from kalathi.marketplace.couriers.windows import WindowSchedule
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.orders import delivering, machine, pickup, replacing, returning
from kalathi.marketplace.orders.machine import TRANSITIONS, Action, Step
from kalathi.marketplace.orders.model import Order
from tests.unit.orders import LOCATION, NOW, OFFER, SETTINGS, good_accept, open_order
from tests.unit.test_machine_table import MOVES

LINES = st.lists(
    st.tuples(
        st.sampled_from("ABCDE"),
        st.decimals(0, 1000, places=2).map(str),
        st.integers(1, 9),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda line: line[0],
)


@st.composite
def rejections(draw: st.DrawFn) -> tuple[Order, RejectRequest]:
    """An order and a valid rejection of some of its lines."""
    order = open_order(*draw(LINES))
    named = []
    for line in draw(st.lists(st.sampled_from(order.lines()), min_size=1, unique_by=lambda line: line.id)):
        reason = draw(st.sampled_from(REJECTION_REASONS))
        available = draw(st.integers(0, line.quantity - 1)) if reason.requires_available_quantity else None
        named.append(RejectedLine(id=line.id, reason_id=reason.id, available_quantity=available))
    return order, RejectRequest(line_items=named)


def _pieces(lines: list[LineItem]) -> dict[str, int]:
    return {line.shop_uid: line.quantity for line in lines}


@given(rejections())
def test_every_piece_of_a_rejected_order_is_accounted_for(
    case: tuple[Order, RejectRequest],
) -> None:
    order, request = case
    ids = [f"new{number}" for number in range(10)]
    rejection = machine.reject(order, request, SETTINGS, NOW, successor_code="261124-0000002", line_ids=ids)
    before = _pieces(order.lines())
    goes_on = _pieces(rejection.successor.order.lines()) if rejection.successor else {}
    comes_back = {move.shop_uid: move.pieces for move in rejection.stock if not move.counted}
    counted = {move.shop_uid for move in rejection.stock if move.counted}
    named = {line.id: line for line in request.line_items or []}
    for line in order.lines():
        here = goes_on.get(line.shop_uid, 0) + comes_back.get(line.shop_uid, 0)
        if line.shop_uid in counted:
            assert here == named[line.id].available_quantity
        else:
            assert here == before[line.shop_uid]
    assert rejection.rejected.order.state is OrderState.REJECTED
    assert rejection.rejected.order.commission == order.commission


@given(LINES)
def test_an_orders_totals_are_exact_and_its_commission_is_the_sum_of_its_lines(lines: list[Any]) -> None:
    order = open_order(*lines)
    shown = order.lines()
    assert order.commission == sum(line.commission for line in shown)
    for line in shown:
        assert line.total_price == line.unit_price * line.quantity
        assert line.commission == line.commission.quantize(line.commission.__class__("0.01"))


VALUES = st.one_of(st.none(), st.integers(-(2**80), 2**80), st.text(max_size=12))


@given(location=VALUES, window=VALUES, parcels=VALUES)
def test_any_accept_request_is_accepted_or_cleanly_refused(
    location: int | str | None, window: int | str | None, parcels: int | str | None
) -> None:
    order = open_order()
    before = encode(order)
    request = AcceptRequest(pickup_location=location, pickup_window=window, number_of_parcels=parcels)
    try:
        machine.accept(order, request, OFFER, NOW)
    except DomainError as refused:
        assert refused.code is ErrorCode.INVALID_PARAMETER
        assert all(len(message) < 2000 for message in refused.messages)
    assert encode(order) == before


@given(
    lines=st.lists(
        st.builds(
            RejectedLine, id=st.sampled_from(["line0", "line1", "", 7]), reason_id=VALUES, available_quantity=VALUES
        ),
        max_size=4,
    ),
    text=st.one_of(st.none(), st.text(max_size=5)),
)
def test_any_reject_request_is_accepted_or_cleanly_refused(lines: list[RejectedLine], text: str | None) -> None:
    order = open_order()
    before = encode(order)
    request = RejectRequest(line_items=lines, rejection_reason_other=text)
    try:
        machine.reject(order, request, SETTINGS, NOW, successor_code="x", line_ids=["a", "b"])
    except DomainError as refused:
        assert refused.code is ErrorCode.INVALID_PARAMETER
    assert encode(order) == before


# The kinds of orders that may be placed, for what an action asks of an order beside its state.
KINDS: list[dict[str, object]] = [
    {},
    {"set_as_ready_required": True},
    {"store_pickup": True, "courier": None},
    {"mode": FulfillmentMode.MERCHANT},
    {"scheduled_shipment": date(2026, 12, 10)},
    {"express": True},
]
Rule = TypeVar("Rule", bound=Callable[..., None])
LISTED = OrderChanges.__struct_fields__
PLACES = (LOCATION, replace(LOCATION, id="other", street_number="2"))
# Reasons to refuse a transition beside the table, and whether the table is checked before them.
OF_THE_STATE = {ErrorCode.ORDER_STATUS, ErrorCode.ORDER_NOT_ELIGIBLE}
OF_THE_BODY = {ErrorCode.INVALID_PARAMETER, ErrorCode.RESCHEDULE_DATE, ErrorCode.PICKUP_LOCATION}


def in_turn(action: Action) -> Callable[[Rule], Rule]:
    """Tried only where the table has it, so that many orders come to their end; `out_of_turn` tries the rest."""
    return precondition(lambda self: (self.model, action) in TRANSITIONS)


class OrderLife(RuleBasedStateMachine):
    """One order of any kind, moved by all actors in any order, and a model that only knows the table.

    A late caller is played by moves on an older copy of the order: the version guard of the database refuses those,
    so here a move counts only when it was decided on the present order.
    """

    @initialize(kind=st.sampled_from(KINDS), accepted=st.booleans(), on_its_way=st.booleans())
    def placed(self, kind: dict[str, object], accepted: bool, on_its_way: bool) -> None:
        self.now: datetime = NOW
        self.order = replace(open_order(), **kind)
        self.model = OrderState.OPEN
        self.endings: list[Action] = []
        # The pieces of each live return, and of each that is back.
        self.returns: list[dict[str, int]] = []
        self.back: list[dict[str, int]] = []
        # Half of the orders begin further along: left to chance alone, few would be delivered.
        if accepted:
            self._move(Action.ACCEPT, lambda: machine.accept_express(self.order, OFFER, self.now))
        if accepted and on_its_way:
            for move in (self.issue_voucher, self.set_as_ready, self.hand_over):
                move()

    def _move(self, action: Action, step: Callable[[], Step | None]) -> None:
        before = encode(self.order)
        try:
            made = step()
        except DomainError as refused:
            assert encode(self.order) == before, "a refused move changes nothing"
            assert refused.code in OF_THE_STATE | OF_THE_BODY
            if refused.code in OF_THE_BODY:
                assert (self.model, action) in TRANSITIONS, "an illegal move is refused before its body is looked at"
            return
        assert encode(self.order) == before, "a move makes a new order"
        if made is None:
            return
        assert made.order.state is TRANSITIONS.get((self.model, made.action))
        told = {name for name in LISTED if getattr(self.order, name) != getattr(made.order, name)}
        assert {name for name in LISTED if getattr(made.changes, name) is not UNSET} == told
        self.order, self.model = made.order, made.order.state
        if action in {Action.ACCEPT, Action.REJECT, Action.EXPIRE, Action.CANCEL}:
            self.endings.append(action)

    @property
    def _schedule(self) -> WindowSchedule:
        return OFFER.schedule

    @rule(hours=st.sampled_from([1, 2, 3, 5, 12, 24]))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @in_turn(Action.ACCEPT)
    @rule()
    def accept(self) -> None:
        moment = machine.pickups_from(self.order, self.now)
        self._move(Action.ACCEPT, lambda: machine.accept(self.order, good_accept(moment), OFFER, self.now))

    @in_turn(Action.ACCEPT)
    @rule()
    def the_marketplace_accepts(self) -> None:
        self._move(Action.ACCEPT, lambda: machine.accept_express(self.order, OFFER, self.now))

    @in_turn(Action.ACCEPT)
    @rule()
    def accept_badly(self) -> None:
        if not (self.order.express or self.order.store_pickup):
            self._move(Action.ACCEPT, lambda: machine.accept(self.order, AcceptRequest(), OFFER, self.now))

    @in_turn(Action.REJECT)
    @rule(lines=st.booleans())
    def reject(self, lines: bool) -> None:
        request = (
            RejectRequest(line_items=[RejectedLine(id="line0", reason_id=4, available_quantity=1)])
            if lines
            else RejectRequest(rejection_reason_other="closed")
        )
        self._move(
            Action.REJECT,
            lambda: (
                machine.reject(
                    self.order, request, SETTINGS, self.now, successor_code="x", line_ids=["a", "b"]
                ).rejected
            ),
        )

    @in_turn(Action.EXPIRE)
    @rule()
    def expire(self) -> None:
        self._move(Action.EXPIRE, lambda: machine.expire(self.order, self.now))

    @in_turn(Action.CANCEL)
    @rule()
    def cancel(self) -> None:
        self._move(Action.CANCEL, lambda: machine.cancel(self.order))

    @in_turn(Action.EXTEND)
    @rule()
    def extend(self) -> None:
        self._move(Action.EXTEND, lambda: machine.extend(self.order, SETTINGS, self.now))

    @in_turn(Action.ISSUE_VOUCHER)
    @rule()
    def issue_voucher(self) -> None:
        self._move(Action.ISSUE_VOUCHER, lambda: pickup.issue_voucher(self.order, "http://v", ("T1",)))

    @in_turn(Action.REQUEST_VOUCHER)
    @rule()
    def request_voucher(self) -> None:
        self._move(Action.REQUEST_VOUCHER, lambda: pickup.request_voucher(self.order, self._schedule, self.now))

    @in_turn(Action.RESCHEDULE)
    @rule(days=st.integers(0, 5))
    def reschedule(self, days: int) -> None:
        request = RescheduleRequest(reschedule_date=(self.now.date() + timedelta(days=days)).isoformat())
        self._move(Action.RESCHEDULE, lambda: pickup.reschedule(self.order, request, self._schedule, self.now))

    @in_turn(Action.RESCHEDULE)
    @rule()
    def support_reschedules(self) -> None:
        window = self._schedule.offer_windows(self.now)[-1]
        self._move(Action.RESCHEDULE, lambda: pickup.reschedule_to(self.order, window))

    @in_turn(Action.RELOCATE)
    @rule(place=st.sampled_from([LOCATION.id, "other", "nowhere"]))
    def relocate(self, place: str) -> None:
        request = RelocateRequest(pickup_location=place)
        self._move(Action.RELOCATE, lambda: pickup.relocate(self.order, request, PLACES))

    @in_turn(Action.SET_AS_READY)
    @rule()
    def set_as_ready(self) -> None:
        self._move(Action.SET_AS_READY, lambda: pickup.set_as_ready(self.order, self._schedule, self.now))

    @in_turn(Action.SET_AS_READY)
    @rule()
    def download(self) -> None:
        self._move(Action.SET_AS_READY, lambda: pickup.mark_ready_by_download(self.order))

    @in_turn(Action.SET_AS_NOT_READY)
    @rule()
    def set_as_not_ready(self) -> None:
        self._move(Action.SET_AS_NOT_READY, lambda: pickup.set_as_not_ready(self.order, self.now))

    @in_turn(Action.TRACK)
    @rule(courier=st.sampled_from(["acs", "pigeon"]))
    def track(self, courier: str) -> None:
        request = TrackingRequest(tracking_details=[TrackingDetail(courier=courier, tracking_code="1")])
        self._move(Action.TRACK, lambda: pickup.track(self.order, request))

    @in_turn(Action.HAND_OVER)
    @rule()
    def hand_over(self) -> None:
        self._move(Action.HAND_OVER, lambda: delivering.hand_over(self.order))

    @in_turn(Action.COLLECT)
    @rule()
    def collect(self) -> None:
        self._move(Action.COLLECT, lambda: delivering.collect(self.order, self.now))
        assert self.model is not OrderState.DELIVERED or self.order.store_pickup

    @in_turn(Action.DELIVER)
    @rule(pieces=st.sampled_from([{"line0": 1}, {"line0": 1, "line1": 1}, {"line1": 1}, {"line0": 3}, None]))
    def deliver(self, pieces: dict[str, int] | None) -> None:
        self._move(Action.DELIVER, lambda: delivering.deliver(self.order, self.now, pieces))

    @in_turn(Action.FAIL_DELIVERY)
    @rule()
    def fail_delivery(self) -> None:
        self._move(Action.FAIL_DELIVERY, lambda: delivering.fail_delivery(self.order))

    @in_turn(Action.BRING_BACK)
    @rule()
    def bring_back(self) -> None:
        self._move(Action.BRING_BACK, lambda: delivering.bring_back(self.order))

    @in_turn(Action.CHANGE_PARCELS)
    @rule(count=st.sampled_from([1, 2]))
    def change_parcels(self, count: int) -> None:
        self._move(Action.CHANGE_PARCELS, lambda: pickup.change_parcels(self.order, count))

    @in_turn(Action.CHANGE_COURIER)
    @rule(courier=st.sampled_from([Courier.ACS, Courier.SKROUTZ_LAST_MILE]))
    def change_courier(self, courier: Courier) -> None:
        self._move(Action.CHANGE_COURIER, lambda: pickup.change_courier(self.order, courier))

    @in_turn(Action.MISS_PICKUP)
    @rule()
    def miss_pickup(self) -> None:
        self._move(Action.MISS_PICKUP, lambda: pickup.miss_pickup(self.order, self._schedule, self.now))

    @in_turn(Action.REPLACE)
    @rule(kind=st.sampled_from([None, "from_service"]))
    def send_a_replacement(self, kind: Any) -> None:
        self._move(Action.REPLACE, lambda: replacing.note_replacement(self.order, "261124-0000009", kind, {"line0": 1}))

    @in_turn(Action.ASK_RETURN)
    @rule(pieces=st.sampled_from([{"line0": 1}, {"line0": 2}, {"line0": 1, "line1": 1}, {"line1": 1}]))
    def request_return(self, pieces: dict[str, int]) -> None:
        asked = len(self.returns)
        self._move(Action.ASK_RETURN, lambda: returning.request_return(self.order, pieces))
        if self.order.asked_back and sum(self.order.asked_back.values()) > self._asked():
            self.returns.append(pieces)
        assert len(self.returns) <= asked + 1

    @in_turn(Action.DROP_RETURN)
    @rule()
    def drop_return(self) -> None:
        if self.returns:
            pieces = self.returns.pop()
            self._move(Action.DROP_RETURN, lambda: returning.drop_return(self.order, pieces))

    @in_turn(Action.SHIP_RETURN)
    @rule(codes=st.sampled_from([(), ("T1",), ("T1", "T2")]))
    def ship_return(self, codes: tuple[str, ...]) -> None:
        self._move(Action.SHIP_RETURN, lambda: returning.ship_return(self.order, "uuid", codes))
        assert [entry.tracking_ids for entry in self.order.returns if entry.return_uuid == "uuid"] == [list(codes)]

    @in_turn(Action.TAKE_BACK)
    @rule()
    def take_back(self) -> None:
        if self.returns:
            pieces = self.returns.pop()
            self.back.append(pieces)
            self._move(Action.TAKE_BACK, lambda: returning.take_back(self.order, pieces, {"line0": "faulty"}))

    def _asked(self) -> int:
        return sum(sum(pieces.values()) for pieces in (*self.returns, *self.back))

    @rule(action=st.sampled_from(list(MOVES)))
    def out_of_turn(self, action: Action) -> None:
        if (self.model, action) not in TRANSITIONS:
            self._move(action, lambda: MOVES[action](self.order))

    @invariant()
    def an_accepted_order_has_its_pickup_unless_the_customer_collects_it(self) -> None:
        if self.order.state is OrderState.ACCEPTED:
            assert (self.order.pickup_window is None) is self.order.store_pickup
            assert self.order.number_of_parcels in {1, 2}
            assert self.order.was_accepted

    @invariant()
    def at_most_one_of_accept_reject_expire_and_cancel_has_won_the_open_order(self) -> None:
        # A cancellation may still follow an acceptance; nothing else may follow anything.
        assert self.endings in ([], [Action.ACCEPT], [Action.ACCEPT, Action.CANCEL]) or len(self.endings) == 1

    @invariant()
    def the_order_is_where_the_table_says(self) -> None:
        assert self.order.state is self.model

    @invariant()
    def what_has_a_voucher_was_accepted_and_travels_with_a_courier_of_the_marketplace(self) -> None:
        assert self.order.courier_voucher is None or (self.order.was_accepted and self.order.needs_voucher)

    @invariant()
    def what_was_delivered_is_at_most_what_was_ordered(self) -> None:
        if self.order.delivered is None:
            assert self.order.state not in {OrderState.DELIVERED, OrderState.PARTIALLY_DELIVERED}
        else:
            ordered = {line.id: line.quantity for line in self.order.lines()}
            assert all(0 < count <= ordered[line_id] for line_id, count in self.order.delivered.items())
            if self.order.state in {OrderState.DELIVERED, OrderState.PARTIALLY_DELIVERED}:
                assert (self.order.delivered == ordered) is (self.order.state is OrderState.DELIVERED)

    @invariant()
    def no_piece_is_in_two_returns_and_all_that_are_back_end_the_order(self) -> None:
        delivered, asked = Counter(self.order.delivered or {}), Counter(self.order.asked_back or {})
        back = Counter(self.order.came_back or {})
        assert back <= asked <= delivered
        assert asked == sum((Counter(pieces) for pieces in (*self.returns, *self.back)), Counter())
        # A parcel that was not delivered comes back without a return.
        never_delivered = self.order.state is OrderState.RETURNED and self.order.delivered is None
        assert (self.order.state is OrderState.RETURNED) is ((bool(back) and back == delivered) or never_delivered)


TestOrderLife = OrderLife.TestCase
TestOrderLife.settings = settings(max_examples=150)
