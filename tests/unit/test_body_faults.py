"""Faults in bodies change only members that a client must tolerate, and a seed repeats them."""

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from kalathi.contract.orders import OrderBody, OrderList
from kalathi.contract.reading import plain_json, read
from kalathi.contract.returns import ReturnBody, ReturnList
from kalathi.contract.webhooks import OrderEvent, ReturnEvent, read_event_head
from kalathi.marketplace.sandbox.body_faults import (
    MAY_BE_ABSENT,
    MAY_BE_NEW,
    MAY_BE_NULL,
    NEW_MEMBER,
    change_body,
    takes_member,
)
from kalathi.marketplace.sandbox.faults import BODY_KINDS, FaultKind
from kalathi.merchant.decisions import decide, line_uids

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"
ORDERS = sorted(EXAMPLES.glob("api/orders/DEMO-*.json"))
EVENTS = sorted(EXAMPLES.glob("webhooks/*/*.json"))
RETURNS = sorted(EXAMPLES.glob("api/returns/DEMO-*.json"))
KINDS = sorted(BODY_KINDS)
SEEDS = range(60)
_NONE = msgspec.NODEFAULT


def _change(body: bytes, kind: FaultKind, seed: int = 1, member: str | None = None) -> bytes:
    return change_body(body, kind, random.Random(seed), member)


def _flat(content: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    """Every value that is no object or list, and every empty one, by its path."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    if not entries:
        yield path, content
    for key, value in entries:
        yield from _flat(value, f"{path}.{key}")


@pytest.mark.parametrize("path", [*ORDERS, *EVENTS, *RETURNS], ids=lambda path: path.stem)
def test_every_body_with_a_fault_is_read_and_needs_no_guess(path: Path) -> None:
    body = path.read_bytes()
    content = plain_json(body)
    wanted: Any = OrderBody if "order" in content else ReturnBody
    before = read(body, wanted).value
    for kind in KINDS:
        for seed in SEEDS:
            reading = read(_change(body, kind, seed), wanted)
            assert reading.unread == (), (kind, seed)
            if wanted is OrderBody:
                _check_order(before.order, reading.value.order, kind)
            else:
                assert _names(reading.value.returned) == _names(before.returned), (kind, seed)
            if "event_type" in content:
                assert read_event_head(_change(body, kind, seed))[:2] == read_event_head(body)[:2], (kind, seed)


def _check_order(before: Any, after: Any, kind: FaultKind) -> None:
    """A client answers the order with the fault as it answers the order without."""
    assert after.code == before.code
    if before.state == "open":
        plenty = {uid: 1000 for line in before.line_items for uid in (line.shop_uid, line.shop_variation_uid) if uid}
        assert decide(after, plenty) == decide(before, plenty), kind
    for line, same in zip(before.line_items, after.line_items, strict=True):
        assert (line.id, line_uids(line), bool(line.size)) == (same.id, line_uids(same), bool(same.size))
        assert (line.quantity, line.unit_price, line.total_price) == (same.quantity, same.unit_price, same.total_price)


def _names(returned: Any) -> tuple[Any, ...]:
    lines = [(line.id, line.returning_quantity) for line in returned.return_line_items]
    return returned.return_code, returned.order_code, lines


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_changes_one_place_and_no_other(kind: FaultKind) -> None:
    body = (EXAMPLES / "webhooks/orders/01-new-order.json").read_bytes()
    before = dict(_flat(plain_json(body)))
    changed = 0
    for seed in SEEDS:
        after = dict(_flat(plain_json(_change(body, kind, seed))))
        different = {name for name in before.keys() | after.keys() if before.get(name, "?") != after.get(name, "?")}
        tops = {name.split(NEW_MEMBER)[0] for name in different}
        changed += bool(different)
        if kind is FaultKind.LAYOUT:
            assert not different
        elif kind not in {FaultKind.ABSENT_MEMBER, FaultKind.NULL_MEMBER}:
            assert len(tops) == 1, different
    assert (changed == 0) == (kind is FaultKind.LAYOUT)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_fault_again_and_others_give_others(kind: FaultKind) -> None:
    body = (EXAMPLES / "api/orders/DEMO-ACCEPTED.json").read_bytes()
    assert [_change(body, kind, seed) for seed in SEEDS] == [_change(body, kind, seed) for seed in SEEDS]
    assert len({_change(body, kind, seed) for seed in SEEDS}) > 1


def test_a_layout_has_other_bytes_and_the_same_content() -> None:
    body = (EXAMPLES / "api/orders/DEMO-OPEN.json").read_bytes()
    laid_out = _change(body, FaultKind.LAYOUT)
    assert laid_out != body
    assert plain_json(laid_out) == plain_json(body)
    assert list(plain_json(laid_out)["order"]) != list(plain_json(body)["order"])
    assert laid_out[:1].isspace()
    assert laid_out[-1:].isspace()


def test_amounts_keep_their_digits() -> None:
    body = b'{"order":{"code":"1","commission":10.40,"payment_method":"card"}}'
    assert _change(body, FaultKind.NEW_WORD) == body.replace(b'"card"', b'"new_payment_method"')
    assert _change(body, FaultKind.NUMBER_AS_TEXT) == body.replace(b"10.40", b'"10.40"')


def test_a_digit_text_becomes_a_number_unless_it_begins_with_zero() -> None:
    lines = b'[{"id":"a","shop_uid":"0012"},{"id":"b","shop_uid":"12"}]'
    changed = plain_json(_change(b'{"order":{"line_items":' + lines + b"}}", FaultKind.TEXT_AS_NUMBER))
    assert [line["shop_uid"] for line in changed["order"]["line_items"]] == ["0012", 12]


def test_a_new_word_is_in_the_events_changes_too() -> None:
    order = {"code": "1", "state": "accepted", "line_items": []}
    changes = {"state": {"old": "open", "new": "accepted"}}
    event = msgspec.json.encode({"event_type": "order_updated", "order": order, "changes": changes})
    changed = plain_json(_change(event, FaultKind.NEW_WORD, member="state"))
    assert changed["order"]["state"] == "new_state"
    assert changed["changes"] == {"state": {"old": "open", "new": "new_state"}}
    assert plain_json(_change(event, FaultKind.NEW_WORD, member="event_type"))["event_type"] == "new_event_type"


@pytest.mark.parametrize(
    "body",
    [
        b'{"event_type":"new_order","order":{"code":"1","state":"open","line_items":[]}}',
        b'{"event_type":"merchant_return_created","return":{"return_code":"1","state":"pending_merchant_review"}}',
    ],
)
def test_words_that_call_for_an_answer_stay(body: bytes) -> None:
    assert {_change(body, FaultKind.NEW_WORD, seed) for seed in SEEDS} == {body}


def test_a_member_limits_the_fault_to_it() -> None:
    body = (EXAMPLES / "api/orders/DEMO-ACCEPTED.json").read_bytes()
    for member in ("payment_method", "order.payment_method"):
        after = {
            plain_json(_change(body, FaultKind.NEW_WORD, seed, member))["order"]["payment_method"] for seed in SEEDS
        }
        assert after == {"new_payment_method"}
    assert takes_member(FaultKind.NUMBER_AS_TEXT, "id")
    assert takes_member(FaultKind.NEW_WORD, "tags")
    assert not takes_member(FaultKind.NEW_WORD, "code")
    assert not takes_member(FaultKind.LAYOUT, "code")


@pytest.mark.parametrize("body", [b"", b"%PDF-1.7", b"{", b"[]", b"1", b'{"success":true}'])
def test_a_body_without_a_fitting_place_stays_as_it_is(body: bytes) -> None:
    for kind in BODY_KINDS - {FaultKind.LAYOUT, FaultKind.UNKNOWN_MEMBER, FaultKind.NUMBER_AS_TEXT}:
        assert _change(body, kind) == body
    if not body.startswith(b'{"'):
        assert _change(body, FaultKind.UNKNOWN_MEMBER) == body


def _members(kind: inspect.Type, path: str) -> Iterator[tuple[str, inspect.Field]]:
    """Every member of a struct by its path as the tables write it."""
    match kind:
        case inspect.Metadata():
            yield from _members(kind.type, path)
        case inspect.UnionType():
            for one in kind.types:
                yield from _members(one, path)
        case inspect.ListType():
            yield from _members(kind.item_type, f"{path}[]")
        case inspect.StructType():
            prefix = {"orders[]": "order", "returns[]": "return"}.get(path, path)
            for field in kind.fields:
                name = f"{prefix}.{field.encode_name}" if prefix else field.encode_name
                yield name, field
                yield from _members(field.type, name)


def test_the_tables_name_only_members_that_the_contract_lets_be_absent_null_or_new() -> None:
    structs = (OrderEvent, ReturnEvent, OrderBody, OrderList, ReturnBody, ReturnList)
    fields = {name: field for struct in structs for name, field in _members(inspect.type_info(struct), "")}
    for name in MAY_BE_ABSENT:
        field = fields[name]
        # The inspection shows a member that may be unset as one without a default that is not required.
        assert (field.required, field.default, field.default_factory) == (False, _NONE, _NONE), f"{name} is always sent"
    for name in MAY_BE_NULL - MAY_BE_ABSENT:
        found = fields[name].type
        assert isinstance(found, inspect.UnionType), name
        assert found.includes_none, name
    assert {name.removesuffix("[]") for name in MAY_BE_NEW} <= fields.keys()
    assert not [name for name in MAY_BE_ABSENT | MAY_BE_NULL if fields[name].required]


def test_decimals_are_exact_in_every_kind() -> None:
    body = b'{"order":{"line_items":[{"id":"a","ean":"5","unit_price":0.10,"total_price":1234567890.10}]}}'
    for kind in BODY_KINDS - {FaultKind.NUMBER_AS_TEXT}:
        line = plain_json(_change(body, kind))["order"]["line_items"][0]
        assert str(line["total_price"]) == "1234567890.10", kind
        assert line["unit_price"] == Decimal("0.10")
