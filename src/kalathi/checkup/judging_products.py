"""Judge published stock against the shop's calls of the Products API. Pure: no clock, no network."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import msgspec

from kalathi.checkup import sentences
from kalathi.checkup.evidence import Evidence
from kalathi.checkup.outcomes import MET, Miss, NotSeen, Outcome
from kalathi.marketplace.sandbox.checks import Published

BATCH_CALLS: Final = ("send_batch", "show_batch")
_REFUSED: Final = 422

_Call = Mapping[str, Any]


def judge_published(expectation: Published, evidence: Evidence, waited_seconds: float) -> Outcome:
    """Return the misses of published stock, none if all is well, or the reason why it cannot be judged."""
    product = evidence.names.get(expectation.product, expectation.product)
    sent = [call for call in evidence.batches if call["call"] == BATCH_CALLS[0]]
    named = [call for call in sent if _entry_of(call, product) is not None]
    refused = [call for call in named if call["status"] == _REFUSED]
    if expectation.during_scan:
        return MET if refused else NotSeen(sentences.NO_BATCH_DURING_SCAN)
    if expectation.after_scan:
        hurried = _find_hurried(refused, expectation)
        if hurried is not None:
            return (hurried,)
    accepted = [call for call in named if call["status"] == 200]
    last_refused = sent.index(refused[-1]) if refused else -1
    if expectation.after_scan and refused and not any(sent.index(call) > last_refused for call in accepted):
        if waited_seconds < expectation.within_seconds:
            return NotSeen(sentences.batch_may_follow(expectation.within_seconds))
        return (Miss(sentences.BATCH_FOLLOWS, sentences.NO_BATCH_FOLLOWED, calls=tuple(refused)),)
    if not accepted:
        return (_find_missing(expectation, product, named, sent),)
    return tuple(_judge_accepted(expectation, product, accepted, evidence.batches))


def _judge_accepted(
    expectation: Published, product: str, accepted: Sequence[_Call], batches: Sequence[_Call]
) -> Iterator[Miss]:
    last = accepted[-1]
    price = (_entry_of(last, product) or {}).get("price")
    if price != expectation.price:
        expected = sentences.price_expected(product, expectation.price)
        yield Miss(expected, sentences.price_seen(price, expectation.price), calls=(last,))
    if expectation.most_repeats is not None:
        sent = [call for call in batches if call["call"] == BATCH_CALLS[0] and call["status"] == 200]
        repeats = [later for earlier, later in pairwise(sent) if _content(earlier) == _content(later)]
        if len(repeats) > expectation.most_repeats:
            expected = sentences.repeats_expected(expectation.most_repeats)
            yield Miss(expected, sentences.repeats_seen(len(repeats)), calls=tuple(repeats[:3]))
    if expectation.reads_results:
        batch_id = str(_decode(last["answer"]).get("id", ""))
        if not any(call["call"] == BATCH_CALLS[1] and batch_id in call["path"] for call in batches):
            yield Miss(sentences.RESULTS_READ, sentences.results_not_read(batch_id), calls=(last,))


def _find_missing(expectation: Published, product: str, named: Sequence[_Call], sent: Sequence[_Call]) -> Miss:
    """Return the finding that no batch with the product was accepted, with the marketplace's answer to the last one."""
    expected = sentences.price_expected(product, expectation.price)
    if not named:
        return Miss(expected, sentences.product_not_named(len(sent)), calls=tuple(sent[-3:]))
    last = named[-1]
    errors = _decode(last["answer"]).get("errors") or [{}]
    messages = errors[0].get("messages") or [] if isinstance(errors[0], dict) else []
    return Miss(expected, sentences.batch_refused(last["status"], [str(text) for text in messages]), calls=(last,))


def _find_hurried(refused: Sequence[_Call], expectation: Published) -> Miss | None:
    """Return the finding that refused batches came too quickly one after the other."""
    times = [datetime.fromisoformat(call["real_at"]).timestamp() for call in refused]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    if not pauses or min(pauses) >= expectation.pause_seconds:
        return None
    expected = sentences.pause_expected(BATCH_CALLS[0], expectation.pause_seconds)
    return Miss(expected, sentences.pause_seen(min(pauses)), calls=tuple(refused[-2:]))


def _entry_of(call: _Call, product: str) -> Mapping[str, Any] | None:
    """Return the entry of a product in the body of a batch, or None."""
    data = _content(call)
    entries = data if isinstance(data, list) else []
    found = (entry for entry in entries if isinstance(entry, dict) and str(entry.get("product_id")) == product)
    return next(found, None)


def _content(call: _Call) -> Any:
    return _decode(call["body"]).get("data")


def _decode(text: str) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
