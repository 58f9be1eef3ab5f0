"""The return machine: by its table, the review by its lists and its errors in order, and under random use."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.contract.requests import ReviewRequest
from kalathi.contract.returns import ReturningAddress, ReturnLineItem
from kalathi.contract.webhooks import ReturnChanges
from kalathi.contract.words import ReturnEventType, ReturnReason, ReturnState, ReviewWord
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.returns import machine, wire
from kalathi.marketplace.returns.machine import CAME_TO_NOTHING, TRANSITIONS, Action, Step
from kalathi.marketplace.returns.model import Return, ReturnedGoods, Shipment
from kalathi.marketplace.returns.review import FAULTY, MISSING_PART, WITHDRAWAL, options_of
from tests.unit.orders import NOW

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"
SHIPMENT = Shipment("ACS", ReturningAddress(street_name="Ερμού", street_number="12", country_code="GR"))
LATE = NOW + timedelta(hours=72)
FINAL = {ReturnState.RETURNED, ReturnState.REJECTED, ReturnState.EXPIRED, ReturnState.CANCELLED}


def goods(*reasons: ReturnReason, days: int = 1, **facts: Any) -> ReturnedGoods:
    """One piece for each reason, of an order that was delivered some days ago."""
    lines = tuple(
        ReturnLineItem(id=f"line{number}", product_name="P", returning_quantity=1, return_reason=reason)
        for number, reason in enumerate(reasons or (ReturnReason.FAULTY,))
    )
    usual: dict[str, Any] = {"is_virtual": False, "is_from_warehouse": False, "shipment": SHIPMENT}
    return ReturnedGoods("R-1", "uuid", "shop", "order", lines, NOW - timedelta(days=days), **(usual | facts))


def asked(*reasons: ReturnReason, **facts: Any) -> Return:
    """A fresh return."""
    return machine.request(goods(*reasons, **facts), Settings(), NOW).returned


def _review(returned: Return, option: str = "approve", now: datetime = NOW, **more: object) -> Step:
    return machine.review(returned, ReviewRequest(option=option, **more), SHIPMENT, now)


MOVES: dict[Action, Callable[[Return], Step]] = {
    Action.APPROVE: _review,
    Action.REFUSE: lambda returned: _review(returned, "resolved_via_customer_communication"),
    Action.SEND_PART: lambda returned: _review(returned, "send_missing_part"),
    Action.EXPIRE: lambda returned: machine.expire(returned, LATE),
    Action.CANCEL: machine.cancel,
    Action.HAND_OVER: lambda returned: machine.hand_over(returned, ("T1",)),
    Action.REASSIGN: lambda returned: machine.reassign(returned, "Speedex", ()),
    Action.ARRIVE: machine.arrive,
    Action.TAKE_BACK: machine.take_back,
    Action.TURN_DOWN: lambda returned: machine.inspect(returned, accepted=False),
}


def _prepared(state: ReturnState, action: Action) -> Return:
    returned = asked(ReturnReason.MISSING_PART if action is Action.SEND_PART else ReturnReason.FAULTY)
    with_shipment = replace(returned, courier="ACS", returning_address=SHIPMENT.address)
    return replace(returned if state is ReturnState.PENDING_MERCHANT_REVIEW else with_shipment, state=state)


@pytest.mark.parametrize("action", list(MOVES))
@pytest.mark.parametrize("state", list(ReturnState))
def test_a_transition_succeeds_iff_the_table_has_it(state: ReturnState, action: Action) -> None:
    returned = _prepared(state, action)
    before = encode(returned)
    following = TRANSITIONS.get((state, action))
    if following is None:
        with pytest.raises(DomainError) as refused:
            MOVES[action](returned)
        assert refused.value.code is ErrorCode.RETURN_STATUS
    else:
        step = MOVES[action](returned)
        assert (step.returned.state, step.action) == (following, action)
        assert step.event is ReturnEventType.UPDATED
    assert encode(returned) == before


def test_every_action_of_the_table_has_a_test() -> None:
    assert set(MOVES) == {action for state, action in TRANSITIONS if state is not None}
    assert {state for state in ReturnState if not any(key[0] is state for key in TRANSITIONS)} == FINAL
    assert CAME_TO_NOTHING | {ReturnState.RETURNED} == FINAL


@pytest.mark.parametrize(
    ("reason", "days", "reviewed"),
    [
        *((reason, 1, True) for reason in ReturnReason if reason is not ReturnReason.WITHDRAWAL),
        (ReturnReason.WITHDRAWAL, 1, False),
        (ReturnReason.WITHDRAWAL, 14, False),
        (ReturnReason.WITHDRAWAL, 15, True),
    ],
)
def test_every_reason_needs_a_review_but_a_withdrawal_within_the_policy(
    reason: ReturnReason, days: int, reviewed: bool
) -> None:
    step = machine.request(goods(reason, days=days), Settings(), NOW)
    assert step.event is ReturnEventType.CREATED
    returned = step.returned
    if reviewed:
        assert returned.state is ReturnState.PENDING_MERCHANT_REVIEW
        assert returned.review_until == NOW + timedelta(hours=72)
        assert not returned.has_shipment
    else:
        assert returned.state is ReturnState.RETURNING
        assert returned.review_until is None
        assert (returned.courier, returned.returning_address) == SHIPMENT


@pytest.mark.parametrize(
    ("name", "returned"),
    [
        ("faulty", asked(ReturnReason.FAULTY)),
        ("faulty", asked(ReturnReason.OTHER)),
        ("faulty", asked(ReturnReason.MISSING_PART, ReturnReason.WRONG_PRODUCT)),
        ("missing-part", asked(ReturnReason.MISSING_PART)),
        ("missing-part", asked(ReturnReason.MISSING_PART, ReturnReason.WITHDRAWAL)),
        ("withdrawal-policy", asked(ReturnReason.WITHDRAWAL, days=15)),
    ],
)
def test_the_reason_chooses_one_of_the_three_recorded_lists(name: str, returned: Return) -> None:
    recorded = msgspec.json.decode((EXAMPLES / "review_options" / f"{name}.json").read_bytes())
    shown = msgspec.json.decode(encode(wire.render_return(returned)))
    assert shown["review_options"] == recorded["review_options"]


def test_a_missing_part_of_a_warehouse_order_cannot_be_sent_by_the_shop() -> None:
    returned = asked(ReturnReason.MISSING_PART, is_from_warehouse=True)
    words = [option.option for option in options_of(returned)]
    assert words == [option.option for option in MISSING_PART if option.option != "send_missing_part"]
    with pytest.raises(DomainError) as refused:
        _review(returned, "send_missing_part")
    assert refused.value.code is ErrorCode.REVIEW_OPTION


@pytest.mark.parametrize(
    ("reason", "option", "more", "code", "message"),
    [
        (ReturnReason.FAULTY, None, {}, ErrorCode.REVIEW_OPTION, "Invalid or missing option."),
        (ReturnReason.FAULTY, "", {}, ErrorCode.REVIEW_OPTION, "Invalid or missing option."),
        (ReturnReason.FAULTY, ["approve"], {}, ErrorCode.REVIEW_OPTION, "Invalid or missing option."),
        (ReturnReason.FAULTY, "send_missing_part", {}, ErrorCode.REVIEW_OPTION, "Invalid or missing option."),
        (ReturnReason.FAULTY, "not_faulty", {}, ErrorCode.REVIEW_COMMENT, "Comment is required."),
        (ReturnReason.FAULTY, "not_faulty", {"comment": " \n"}, ErrorCode.REVIEW_COMMENT, "Comment is required."),
        (ReturnReason.FAULTY, "not_faulty", {"comment": 7}, ErrorCode.REVIEW_COMMENT, "Comment is required."),
        (
            ReturnReason.FAULTY,
            "not_faulty",
            {"comment": "ά" * 1001},
            ErrorCode.REVIEW_COMMENT_LENGTH,
            "Comment is too long (maximum is 1000 characters).",
        ),
        (
            ReturnReason.FAULTY,
            "resolved_via_customer_communication",
            {"comment": "x" * 1001},
            ErrorCode.REVIEW_COMMENT_LENGTH,
            "Comment is too long (maximum is 1000 characters).",
        ),
    ],
)
def test_a_review_is_refused_in_the_order_of_its_errors(
    reason: ReturnReason, option: Any, more: dict[str, Any], code: ErrorCode, message: str
) -> None:
    returned = asked(reason)
    before = encode(returned)
    with pytest.raises(DomainError) as refused:
        _review(returned, option, **more)
    assert (refused.value.code, refused.value.messages) == (code, (message,))
    # Whatever else is wrong with it, a return that waits for no review says so first.
    for gone in (replace(returned, state=ReturnState.RETURNED), returned):
        with pytest.raises(DomainError) as late:
            _review(gone, option, now=LATE, **more)
        assert late.value.code is ErrorCode.RETURN_STATUS
        assert late.value.messages == ("Return is not pending merchant review.",)
    assert encode(returned) == before


@pytest.mark.parametrize("option", [option.option for option in (*FAULTY, *MISSING_PART, *WITHDRAWAL)])
def test_each_option_leads_to_its_state_and_keeps_its_allowed_texts(option: str) -> None:
    reason = next(
        reason
        for reason, options in (
            (ReturnReason.FAULTY, FAULTY),
            (ReturnReason.MISSING_PART, MISSING_PART),
            (ReturnReason.WITHDRAWAL, WITHDRAWAL),
        )
        if option in {entry.option for entry in options}
    )
    step = _review(asked(reason, days=15), option, comment="x" * 1000, proposed_part_url="https://shop.example/part")
    word = ReviewWord(option)
    state = {"approve": ReturnState.RETURNING, "send_missing_part": ReturnState.CANCELLED}.get(
        option, ReturnState.REJECTED
    )
    assert step.returned.state is state
    decision = step.returned.decision
    assert decision is not None
    assert decision.option is word
    assert decision.comment == ("" if option in {"approve", "send_missing_part"} else "x" * 1000)
    has_url = option == "part_not_included"
    assert decision.proposed_part_url == ("https://shop.example/part" if has_url else None)
    assert "review_options" not in msgspec.json.decode(encode(wire.render_return(step.returned)))


def test_a_comment_of_any_length_on_an_approval_is_ignored() -> None:
    assert _review(asked(), "approve", comment="x" * 5000).returned.decision.comment == ""  # type: ignore[union-attr]


def test_a_withdrawal_out_of_the_policy_has_a_comment_of_its_own() -> None:
    decision = _review(asked(ReturnReason.WITHDRAWAL, days=15), "out_of_policy_withdrawal").returned.decision
    assert decision is not None
    assert decision.comment


def test_the_review_ends_with_its_time_and_not_before() -> None:
    returned = asked()
    with pytest.raises(DomainError, match="still under review"):
        machine.expire(returned, LATE - timedelta(seconds=1))
    assert _review(returned, now=LATE - timedelta(seconds=1)).returned.state is ReturnState.RETURNING
    assert machine.expire(returned, LATE).returned.state is ReturnState.EXPIRED


def test_changes_name_changed_fields_and_use_null_for_missing_values() -> None:
    approved = _review(asked())
    handed_over = machine.hand_over(approved.returned, ("T1", "T2", "T1"))
    again = machine.hand_over(handed_over.returned, ("T2",))
    reassigned = machine.reassign(handed_over.returned, "Speedex", ("S1",))
    address = msgspec.to_builtins(SHIPMENT.address)
    assert _told(approved) == {
        "state": {"old": "pending_merchant_review", "new": "returning"},
        "courier": {"old": None, "new": "ACS"},
        "returning_address": {"old": None, "new": address},
    }
    assert _told(handed_over) == {"courier_tracking_ids": {"old": None, "new": ["T1", "T2"]}}
    assert again.event is None, "nothing has changed, so nothing is told"
    assert _told(reassigned) == {
        "courier": {"old": "ACS", "new": "Speedex"},
        "courier_tracking_ids": {"old": ["T1", "T2"], "new": ["S1"]},
    }


def test_a_virtual_return_refuses_actions_on_a_shipment() -> None:
    returned = _review(asked(is_virtual=True)).returned
    for move in (Action.HAND_OVER, Action.REASSIGN, Action.ARRIVE):
        with pytest.raises(DomainError, match="no shipment"):
            MOVES[move](returned)
    shown = msgspec.json.decode(encode(wire.render_return(machine.take_back(returned).returned)))
    assert shown["state"] == "returned"
    assert shown.keys() & {"courier", "returning_address", "courier_tracking_ids", "review_options"} == set()


def _told(step: Step) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.json.decode(encode(step.changes))
    return told


@given(option=st.one_of(st.none(), st.text(max_size=40), st.integers(), st.sampled_from(list(ReviewWord))),
       comment=st.one_of(st.none(), st.text(max_size=20), st.integers(), st.lists(st.integers(), max_size=2)),
       url=st.one_of(st.none(), st.text(max_size=20), st.booleans()))  # fmt: skip
def test_any_review_is_accepted_or_cleanly_refused(option: Any, comment: Any, url: Any) -> None:
    returned = asked()
    before = encode(returned)
    try:
        step = _review(returned, option, comment=comment, proposed_part_url=url)
        assert step.returned.state in {ReturnState.RETURNING, ReturnState.REJECTED}
    except DomainError as refused:
        assert refused.code in {ErrorCode.REVIEW_OPTION, ErrorCode.REVIEW_COMMENT}
    assert encode(returned) == before


class ReturnLife(RuleBasedStateMachine):
    """One return, moved by everybody in any order, and a model that knows the table only."""

    @initialize(reason=st.sampled_from(list(ReturnReason)), virtual=st.booleans(), days=st.sampled_from([1, 20]))
    def placed(self, reason: ReturnReason, virtual: bool, days: int) -> None:
        self.now = NOW
        self.returned = machine.request(goods(reason, days=days, is_virtual=virtual), Settings(), NOW).returned
        self.model = self.returned.state
        self.told = wire.render_return(self.returned)
        self.decisions = 0

    @rule(hours=st.sampled_from([1, 12, 71]))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(action=st.sampled_from(list(MOVES)))
    def move(self, action: Action) -> None:
        before = encode(self.returned)
        try:
            step = machine.expire(self.returned, self.now) if action is Action.EXPIRE else self._made(action)
        except DomainError:
            assert encode(self.returned) == before
            return
        assert step.returned.state is TRANSITIONS[self.model, step.action]
        changes = step.changes or ReturnChanges()
        known = msgspec.to_builtins(self.told)
        for name, change in msgspec.json.decode(encode(changes)).items():
            assert known.get(name) == change["old"]
            known[name] = change["new"]
        shown = wire.render_return(step.returned)
        now = msgspec.to_builtins(shown)
        for name in ("state", "courier", "returning_address", "courier_tracking_ids"):
            assert known.get(name) == now.get(name), "who has only listened knows it all"
        self.returned, self.model, self.told = step.returned, step.returned.state, shown
        self.decisions += action in {Action.APPROVE, Action.REFUSE, Action.SEND_PART}

    def _made(self, action: Action) -> Step:
        if action in {Action.APPROVE, Action.REFUSE, Action.SEND_PART}:
            option = {Action.APPROVE: "approve", Action.SEND_PART: "send_missing_part"}.get(
                action, options_of(self.returned)[-1].option
            )
            return _review(self.returned, option, now=self.now, comment="because")
        return MOVES[action](self.returned)

    @invariant()
    def it_was_decided_once_at_most_and_a_virtual_return_never_travels(self) -> None:
        assert self.decisions <= 1
        assert not (self.returned.is_virtual and self.returned.has_shipment)
        assert (self.returned.state is ReturnState.PENDING_MERCHANT_REVIEW) is (
            "review_options" in msgspec.json.decode(encode(self.told))
        )


TestReturnLife = ReturnLife.TestCase
TestReturnLife.settings = settings(max_examples=120)
