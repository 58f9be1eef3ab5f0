"""Judge one expectation against the evidence. Pure: no clock, no network."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import msgspec

from kalathi.checkup import sentences
from kalathi.checkup.evidence import Evidence, Probed
from kalathi.checkup.judging_products import judge_published
from kalathi.checkup.outcomes import MET, Miss, NotSeen, Outcome
from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.sandbox.checks import Answered, AnyExpectation, Called, InShop, Published, Reached, Sent
from kalathi.marketplace.sandbox.scenario import resolve, value_at

_CENT: Final = 0.005
_NOT_SENT: Final = "not_sent"


def judge(expectation: AnyExpectation, evidence: Evidence, waited_seconds: float = 0.0) -> Outcome:
    """Return the misses of an expectation, none if it is met, or the reason why it cannot be judged."""
    match expectation:
        case Answered():
            return tuple(_judge_answers(expectation, evidence))
        case Reached():
            if evidence.state == expectation.state:
                return MET
            expected = sentences.state_reached(evidence.code, expectation.state)
            seen = sentences.state_seen(evidence.state, waited_seconds)
            return (Miss(expected, seen, tuple(evidence.webhooks), tuple(evidence.calls)),)
        case Called():
            return tuple(_judge_calls(expectation, evidence))
        case Sent():
            return tuple(_judge_bodies(expectation, evidence))
        case InShop():
            return _judge_shop(expectation, evidence)
        case Published():
            return judge_published(expectation, evidence, waited_seconds)


def _judge_answers(expectation: Answered, evidence: Evidence) -> Iterator[Miss]:
    wanted = [webhook for webhook in evidence.webhooks if expectation.event in {None, webhook["event_type"]}]
    is_first_unsent = bool(wanted) and wanted[0]["state"] == _NOT_SENT
    if is_first_unsent or (not wanted and expectation.event):
        event = wanted[0]["event_type"] if wanted else str(expectation.event)
        yield Miss(sentences.webhook_answered(event, exactly=expectation.exactly), sentences.webhook_seen(None, 0))
    for webhook in wanted:
        attempts = webhook["attempts"]
        if webhook["state"] == _NOT_SENT:
            continue  # An update of a return is sent only if its first event was delivered, which is judged itself.
        last = attempts[0 if expectation.at_once else -1] if attempts else None
        if last is None or not _is_success(last, exactly=expectation.exactly):
            expected = sentences.webhook_answered(webhook["event_type"], exactly=expectation.exactly)
            yield Miss(expected, sentences.webhook_seen(last, len(attempts)), (webhook,))
        elif expectation.within_seconds is not None and last["duration_millis"] > expectation.within_seconds * 1000:
            expected = sentences.webhook_in_time(webhook["event_type"], expectation.within_seconds)
            yield Miss(expected, sentences.time_seen(last["duration_millis"] / 1000), (webhook,))


def _is_success(attempt: Mapping[str, Any], *, exactly: bool) -> bool:
    status = attempt["status"]
    is_enough = status == 200 if exactly else status is not None and status // 100 == 2
    return is_enough and not attempt["error"]


def calls_of(evidence: Evidence, call: str, status: str = "") -> list[Mapping[str, Any]]:
    """Return the calls of this name whose status, or class of statuses such as `2xx`, is the wanted one. A call whose
    answer a fault cut off has no status."""
    return [
        entry
        for entry in evidence.calls
        if entry["call"] == call and status in {"", str(entry["status"]), f"{(entry['status'] or 0) // 100}xx"}
    ]


def _judge_calls(expectation: Called, evidence: Evidence) -> Iterator[Miss]:
    call = expectation.call
    wanted, every = calls_of(evidence, call, expectation.status), calls_of(evidence, call)
    if len(wanted) < expectation.least or (expectation.most is not None and len(wanted) > expectation.most):
        expected = sentences.count_expected(call, expectation.least, expectation.most, expectation.status)
        seen = sentences.count_seen(call, len(wanted), [entry["status"] for entry in every])
        yield Miss(expected, seen, calls=tuple(every))
    if expectation.pause_seconds:
        times = [datetime.fromisoformat(entry["real_at"]).timestamp() for entry in every]
        pauses = [later - earlier for earlier, later in pairwise(times)]
        # A pause in business time counts too: the clock may have moved between two calls.
        moved = [datetime.fromisoformat(entry["at"]).timestamp() for entry in every]
        longest = [max(real, later - earlier) for real, (earlier, later) in zip(pauses, pairwise(moved), strict=True)]
        if longest and min(longest) < expectation.pause_seconds:
            expected = sentences.pause_expected(call, expectation.pause_seconds)
            yield Miss(expected, sentences.pause_seen(min(longest)), calls=tuple(every))


def _judge_bodies(expectation: Sent, evidence: Evidence) -> Iterator[Miss]:
    made = calls_of(evidence, expectation.call)
    if not made:
        expected = sentences.count_expected(expectation.call, 1, None, "")
        yield Miss(expected, sentences.count_seen(expectation.call, 0, []))
    for entry in made:
        body = _read_body(entry["body"])
        for path, value in expectation.body.items():
            expected, seen = resolve(value, evidence.subject), _value(body, path)
            if str(expected) != str(seen):
                sentence = sentences.member_expected(expectation.call, path, expected)
                yield Miss(sentence, sentences.member_seen(seen), calls=(entry,))


def _read_body(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _value(body: Any, path: str) -> Any:
    try:
        return value_at(body, path)
    except DomainError:
        return None


def _judge_shop(expectation: InShop, evidence: Evidence) -> Outcome:
    if evidence.probed is None:
        return MET if expectation.extra else NotSeen(sentences.NO_PROBE)
    misses, lacking = [], []
    for name, expected, seen in _compare(expectation, evidence.probed, evidence.subject):
        if seen is None:
            lacking.append(name)
        elif not _is_equal(name, expected, seen):
            misses.append(Miss(sentences.in_shop(name, _show(expected)), sentences.seen_in_shop(_show(seen))))
    if misses:
        # The webhooks and calls of the order show how it came to this.
        first = misses[0]._replace(webhooks=tuple(evidence.webhooks), calls=tuple(evidence.calls))
        return (first, *misses[1:])
    return NotSeen(sentences.probe_lacks(lacking[0])) if lacking else MET


def _compare(expectation: InShop, probed: Probed, order: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name, the expected and the shown value of each expectation; None if the probe does not show it."""
    answer = probed.answer
    if expectation.orders is not None:
        yield "orders", expectation.orders, answer.orders
    if expectation.state:
        state = "none" if answer.orders == 0 else answer.state
        yield "state", expectation.state, state
    if expectation.total is not None:
        yield "total", expectation.total, answer.total
    if expectation.tracking_codes is not None:
        yield "tracking_codes", resolve(expectation.tracking_codes, order), answer.tracking_codes
    if expectation.customer is not None:
        yield "customer", expectation.customer, answer.customer
    for uid, moved in (expectation.stock or {}).items():
        name = probed.names[uid]
        yield f"stock {name}", moved, probed.moved.get(name)


def _is_equal(name: str, expected: Any, seen: Any) -> bool:
    match name:
        case "state":
            return seen in expected
        case "total":
            return abs(float(expected) - float(seen)) < _CENT
        case "tracking_codes":
            return sorted(map(str, expected)) == sorted(map(str, seen))
        case _:
            return bool(expected == seen)


def _show(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " / ".join(map(str, value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)
