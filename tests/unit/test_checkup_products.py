"""Judging published stock: a pure function of the shop's calls of the Products API."""

import json
from typing import Any

import pytest

from kalathi.checkup.evidence import Evidence
from kalathi.checkup.judging_products import judge_published
from kalathi.checkup.outcomes import MET, Miss, NotSeen, Outcome
from kalathi.marketplace.sandbox.checks import Published

SCANNING = {"errors": [{"code": "invalid_shop_state", "messages": ["We are scanning."]}]}


def _batch(price: Any = 1040, status: int = 200, second: float = 0.0, *, quantity: int = 1, uid: str = "T-1") -> Any:
    product = {"product_id": uid, "quantity": quantity, "enabled": True, "price": price}
    answer = {"success": True, "id": f"id-{second}"} if status == 200 else SCANNING
    return {
        "call": "send_batch",
        "status": status,
        "path": "/merchants/products/batch",
        "body": json.dumps({"data": [product]}),
        "answer": json.dumps(answer),
        "real_at": f"2026-11-30T10:00:{second:06.3f}+00:00",
    }


def _read(batch_id: str) -> Any:
    return {"call": "show_batch", "status": 200, "path": f"/batch/{batch_id}/status", "body": "", "answer": "{}"}


def _judge(*calls: Any, waited_seconds: float = 1.0, **members: Any) -> Outcome:
    expectation = Published(product="KALATHI-STICK", price=1040, **members)
    evidence = Evidence("o", {}, (), (), batches=calls, names={"KALATHI-STICK": "T-1"})
    return judge_published(expectation, evidence, waited_seconds)


def _seen(outcome: Outcome) -> str:
    assert isinstance(outcome, tuple)
    [miss] = outcome
    assert isinstance(miss, Miss)
    return miss.seen.en


def test_an_accepted_batch_with_the_right_price_is_enough() -> None:
    assert _judge(_batch(), most_repeats=0) == MET
    assert _judge(_batch(price=10), _batch(second=1)) == MET


@pytest.mark.parametrize(
    ("calls", "seen"),
    [
        ((), "no batch was sent"),
        ((_batch(uid="T-2"),), "none of the 1 batches names it"),
        ((_batch(price=10),), "the price is 10, which is in euros"),
        ((_batch(price=1041),), "the price is 1041"),
        ((_batch(price=10.4, status=400),), "the batch was answered with 400: We are scanning."),
        (({**_batch(), "body": "{"},), "none of the 1 batches names it"),
        (({**_batch(status=400), "answer": '{"errors": ["x"]}'},), "the batch was answered with 400"),
    ],
)
def test_a_missing_or_wrong_batch_is_named(calls: tuple[Any, ...], seen: str) -> None:
    assert _seen(_judge(*calls)) == seen


def test_repeats_are_counted_only_without_a_change_between() -> None:
    same = [_batch(second=second) for second in (0, 1, 2)]
    assert _judge(*same, most_repeats=2) == MET
    assert _seen(_judge(*same, most_repeats=1)) == "2 did"
    assert _judge(_batch(), _batch(second=1, quantity=2), _batch(second=2), most_repeats=0) == MET


def test_the_status_of_the_batch_must_be_read() -> None:
    assert _judge(_batch(), _read("id-0.0"), reads_results=True) == MET
    assert "never read" in _seen(_judge(_batch(), _read("id-9.0"), reads_results=True))


def test_after_a_scan_a_batch_must_follow_and_not_in_a_storm() -> None:
    refused = _batch(status=422, second=1)
    assert _judge(refused, during_scan=True) == MET
    assert isinstance(_judge(_batch(), during_scan=True), NotSeen)
    assert _judge(refused, _batch(second=3), after_scan=True, pause_seconds=0.2) == MET
    assert isinstance(_judge(_batch(), refused, after_scan=True), NotSeen)
    assert _seen(_judge(_batch(), refused, after_scan=True, waited_seconds=91)) == "none was sent"
    storm = _judge(refused, _batch(status=422, second=1.05), _batch(second=3), after_scan=True, pause_seconds=0.2)
    assert _seen(storm) == "0.05 s"
