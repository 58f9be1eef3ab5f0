"""Judging an expectation: a pure function of the expectation and the evidence."""

import json
from typing import Any

import pytest

from kalathi.checkup.evidence import Evidence, ProbeAnswer, Probed, are_tried, has_waiting_retry
from kalathi.checkup.judging import judge
from kalathi.checkup.outcomes import MET, Miss, NotSeen, Outcome
from kalathi.marketplace.sandbox.checks import Answered, AnyExpectation, Called, InShop, Reached, Sent, read_expectation

ORDER = {"code": "261130-1", "state": "accepted", "line_items": [{"id": "L1"}], "courier_tracking_codes": ["B", "A"]}


def _webhook(*statuses: int | None, state: str = "pending", error: str = "", millis: int = 5) -> dict[str, Any]:
    base = {"error": error, "explanation": "", "at": "", "url": "", "duration_millis": millis}
    attempts = [base | {"status": status} for status in statuses]
    return {"event_type": "new_order", "state": state, "attempts": attempts}


def _call(name: str, status: int | None = 200, at: str = "2026-11-30T10:00:00Z", body: object = None) -> dict[str, Any]:
    return {"call": name, "status": status, "at": at, "real_at": at, "body": json.dumps(body)}


def _judge(expectation: AnyExpectation, **members: Any) -> Outcome:
    webhooks, calls = members.get("webhooks", []), members.get("calls", [])
    return judge(expectation, Evidence("261130-1", ORDER, webhooks, calls, members.get("probed")))


def _first_miss(outcome: Outcome) -> Miss:
    assert not isinstance(outcome, NotSeen)
    return outcome[0]


def _probed(moved: int | None = None, **members: Any) -> Probed:
    return Probed(ProbeAnswer(**members), {} if moved is None else {"T-01-A": moved}, {"KALATHI-A": "T-01-A"})


def test_every_success_counts_as_an_answer_unless_the_check_is_about_the_exact_status() -> None:
    accepted = [_webhook(202)]
    assert _judge(Answered(), webhooks=accepted) == MET
    assert _judge(Answered(exactly=True), webhooks=accepted) != MET
    assert _judge(Answered(exactly=True), webhooks=[_webhook(200)]) == MET


@pytest.mark.parametrize("status", [None, 204 + 100, 400, 500])
def test_any_other_status_is_a_miss_that_names_it(status: int | None) -> None:
    miss = _first_miss(_judge(Answered(), webhooks=[_webhook(status)]))
    assert (str(status) if status else "no answer") in miss.seen.en
    assert miss.webhooks


def test_an_answer_whose_loss_was_injected_is_no_answer() -> None:
    assert _judge(Answered(), webhooks=[_webhook(200, error="injected_timeout")]) != MET


def test_a_later_attempt_is_enough_unless_the_first_must_succeed() -> None:
    retried = [_webhook(500, 200, state="delivered")]
    assert _judge(Answered(), webhooks=retried) == MET
    assert _judge(Answered(at_once=True), webhooks=retried) != MET


def test_a_slow_answer_is_a_miss_only_if_a_time_is_named() -> None:
    slow = [_webhook(200, millis=6000)]
    assert _judge(Answered(), webhooks=slow) == MET
    assert "6.0 s" in _first_miss(_judge(Answered(within_seconds=5), webhooks=slow)).seen.en
    assert _judge(Answered(within_seconds=7), webhooks=slow) == MET


def test_an_event_that_was_never_sent_is_a_miss() -> None:
    assert _judge(Answered(event="order_updated"), webhooks=[_webhook(200)]) != MET
    assert _judge(Answered(event="new_order"), webhooks=[_webhook(state="not_sent")]) != MET


def test_an_update_that_was_not_sent_is_no_fault_of_the_receiver() -> None:
    assert _judge(Answered(), webhooks=[_webhook(202), _webhook(state="not_sent")]) == MET


def test_the_state_is_compared() -> None:
    assert _judge(Reached(state="accepted")) == MET
    assert _judge(Reached(state="rejected")) != MET


def test_calls_are_counted_by_name_and_class_of_status() -> None:
    calls = [_call("accept", 503), _call("accept", 200), _call("show", 200), _call("accept", None)]
    assert _judge(Called(call="accept", status="2xx", least=1, most=1), calls=calls) == MET
    assert _judge(Called(call="accept", most=2), calls=calls) != MET
    assert _judge(Called(call="reject", most=0), calls=calls) == MET
    assert _judge(Called(call="reject", least=1), calls=calls) != MET
    assert _judge(Called(call="accept", status="5xx", least=2), calls=calls) != MET


def test_a_pause_in_real_time_or_in_business_time_is_enough() -> None:
    near = [_call("accept", 429), _call("accept", 200, "2026-11-30T10:00:00.200Z")]
    assert _judge(Called(call="accept", pause_seconds=0.9), calls=near) != MET
    moved = [near[0], near[1] | {"at": "2026-11-30T10:20:00Z"}]
    assert _judge(Called(call="accept", pause_seconds=0.9), calls=moved) == MET


def test_a_body_is_compared_by_paths_and_numbers_may_be_texts() -> None:
    expected = Sent(call="reject", body={"line_items[0].id": "@line_items[0].id", "line_items[0].reason_id": 4})
    right = [_call("reject", body={"line_items": [{"id": "L1", "reason_id": "4"}]})]
    assert _judge(expected, calls=right) == MET
    wrong: list[object] = [
        {"line_items": [{"id": "L1"}]},
        {"line_items": []},
        {"rejection_reason_other": "x"},
        [],
        None,
    ]
    for body in wrong:
        assert _judge(expected, calls=[_call("reject", body=body)]) != MET
    assert _judge(expected, calls=[_call("reject") | {"body": "no JSON"}]) != MET


def test_without_a_probe_the_shop_is_not_seen_and_an_extra_expectation_is_left_out() -> None:
    assert isinstance(_judge(InShop(orders=1)), NotSeen)
    assert _judge(InShop(orders=1, extra=True)) == MET


def test_the_shop_is_compared_member_by_member() -> None:
    whole = {"orders": 1, "state": "accepted", "total": 20.8, "tracking_codes": ("A", "B"), "customer": "Ελένη"}
    expected = InShop(
        orders=1,
        state=("accepted", "open"),
        total=20.80,
        stock={"KALATHI-A": -1},
        tracking_codes="@courier_tracking_codes",
        customer="Ελένη",
    )
    assert _judge(expected, probed=_probed(-1, **whole)) == MET
    others = {"orders": 2, "state": "cancelled", "total": 25.79, "tracking_codes": ("A",), "customer": "?"}
    for name, value in others.items():
        outcome = _judge(expected, probed=_probed(-1, **{**whole, name: value}))
        assert str(value) in _first_miss(outcome).seen.en or name == "tracking_codes"
    assert "T-01-A" in _first_miss(_judge(expected, probed=_probed(0, **whole))).expected.en


def test_no_order_in_the_shop_is_the_state_none() -> None:
    assert _judge(InShop(state=("cancelled", "none")), probed=_probed(orders=0)) == MET
    assert _judge(InShop(state=("cancelled",)), probed=_probed(orders=0)) != MET


def test_a_value_that_the_probe_does_not_show_is_not_seen_and_a_wrong_one_still_fails() -> None:
    assert isinstance(_judge(InShop(orders=1, total=20.8), probed=_probed(orders=1)), NotSeen)
    assert isinstance(_judge(InShop(orders=1, total=20.8), probed=_probed(orders=2)), tuple)


def test_a_retry_waits_only_if_no_webhook_waits_for_its_first_attempt() -> None:
    failed, fresh, done = _webhook(500), _webhook(), _webhook(200, state="delivered")
    assert has_waiting_retry([failed, done])
    assert not has_waiting_retry([failed, fresh])
    assert not has_waiting_retry([done])
    assert are_tried([failed, done])
    assert not are_tried([fresh])


def test_a_misspelt_member_of_an_expectation_is_refused() -> None:
    with pytest.raises(Exception, match="mosst"):
        read_expectation({"expect": "calls", "call": "accept", "mosst": 1})
    with pytest.raises(Exception, match="expect"):
        read_expectation({"expect": "nothing"})
