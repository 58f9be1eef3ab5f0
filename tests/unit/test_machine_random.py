"""The machine under random use: by property, and by a rule-based state machine that plays the whole marketplace."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kalathi.contract.codec import encode
from kalathi.contract.orders import LineItem
from kalathi.contract.requests import AcceptRequest, RejectedLine, RejectRequest
from kalathi.contract.words import REJECTION_REASONS, OrderState
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.orders import machine, pickup
from kalathi.marketplace.orders.machine import TRANSITIONS, Action, Step
from kalathi.marketplace.orders.model import Order
from tests.unit.orders import NOW, OFFER, SETTINGS, good_accept, open_order

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
def test_every_piece_of_a_rejected_order_goes_on_comes_back_or_is_known_to_be_missing(
    case: tuple[Order, RejectRequest],
) -> None:
    order, request = case
    ids = [f"new{number}" for number in range(10)]
    rejection = machine.reject(order, request, SETTINGS, NOW, successor_code="261124-0000002", line_ids=ids)
    before = _pieces(order.lines())
    goes_on = _pieces(rejection.successor.order.lines()) if rejection.successor else {}
    comes_back = {move.shop_uid: move.pieces for move in rejection.stock if not move.counted}
    counted = {move.shop_uid for move in rejection.stock if move.counted}
    named = {line.id: line for line in request.line_items}
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
def test_an_accept_of_anything_at_all_is_taken_or_cleanly_refused(
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
def test_a_rejection_of_anything_at_all_is_taken_or_cleanly_refused(
    lines: list[RejectedLine], text: str | None
) -> None:
    order = open_order()
    before = encode(order)
    request = RejectRequest(line_items=lines, rejection_reason_other=text)
    try:
        machine.reject(order, request, SETTINGS, NOW, successor_code="x", line_ids=["a", "b"])
    except DomainError as refused:
        assert refused.code is ErrorCode.INVALID_PARAMETER
    assert encode(order) == before


class OrderLife(RuleBasedStateMachine):
    """One order, moved by everybody at once in any order, and a model that only knows the table.

    A late caller is played by moves on an older copy of the order: the version guard of the database refuses those,
    so here a move counts only when it was decided on the present order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = NOW
        self.order = open_order()
        self.model = OrderState.OPEN
        self.endings: list[Action] = []

    def _move(self, action: Action, step: Any) -> None:
        before = encode(self.order)
        expected = TRANSITIONS.get((self.model, action))
        try:
            made: Step = step()
        except DomainError as refused:
            assert encode(self.order) == before, "a refused move changes nothing"
            assert refused.code in {ErrorCode.ORDER_STATUS, ErrorCode.INVALID_PARAMETER}
            if refused.code is ErrorCode.INVALID_PARAMETER:
                assert expected is not None, "an illegal move is refused before its parameters are looked at"
            return
        assert encode(self.order) == before, "a move makes a new order"
        assert made.order.state is expected
        self.order, self.model = made.order, made.order.state
        if action in {Action.ACCEPT, Action.REJECT, Action.EXPIRE, Action.CANCEL}:
            self.endings.append(action)

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def accept(self) -> None:
        self._move(Action.ACCEPT, lambda: machine.accept(self.order, good_accept(self.now), OFFER, self.now))

    @rule()
    def accept_badly(self) -> None:
        self._move(Action.ACCEPT, lambda: machine.accept(self.order, AcceptRequest(), OFFER, self.now))

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

    @rule()
    def expire(self) -> None:
        self._move(Action.EXPIRE, lambda: machine.expire(self.order, self.now))

    @rule()
    def cancel(self) -> None:
        self._move(Action.CANCEL, lambda: machine.cancel(self.order))

    @rule()
    def extend(self) -> None:
        self._move(Action.EXTEND, lambda: machine.extend(self.order, SETTINGS, self.now))

    @rule()
    def issue_voucher(self) -> None:
        self._move(Action.ISSUE_VOUCHER, lambda: pickup.issue_voucher(self.order, "http://v", ("T1",)))

    @rule()
    def hand_over(self) -> None:
        self._move(Action.HAND_OVER, lambda: machine.hand_over(self.order))

    @rule()
    def deliver(self) -> None:
        self._move(Action.DELIVER, lambda: machine.deliver(self.order))

    @precondition(lambda self: self.order.state is OrderState.ACCEPTED)
    @rule()
    def an_accepted_order_has_its_pickup(self) -> None:
        assert self.order.pickup_window is not None
        assert self.order.number_of_parcels == 1

    @invariant()
    def at_most_one_of_accept_reject_expire_and_cancel_has_won_the_open_order(self) -> None:
        # A cancellation may still follow an acceptance; nothing else may follow anything.
        assert self.endings in ([], [Action.ACCEPT], [Action.ACCEPT, Action.CANCEL]) or len(self.endings) == 1

    @invariant()
    def the_order_is_where_the_table_says(self) -> None:
        assert self.order.state is self.model

    @invariant()
    def what_has_a_voucher_was_accepted(self) -> None:
        assert self.order.courier_voucher is None or Action.ACCEPT in self.endings


TestOrderLife = OrderLife.TestCase
