"""Faults in JSON bodies: change one place of an answer or a webhook.

A tolerant client survives every change (docs/contract.md#section-11). The contract itself allows them all, except a
changed type of a member other than an id. The tables below name the members that may be missing or null and the words
that may be new. Members that decide how a client treats an order
are not in them: its code, its lines with their uids and sizes, the options of an answer, the voucher, `custom`, the
invoice. A client cannot see that such a member is missing, and would do the wrong thing.
"""

import random
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from kalathi.contract.codec import UnreadableBodyError, encode
from kalathi.contract.reading import plain_json
from kalathi.contract.words import OrderEventType, OrderState, ReturnEventType, ReturnState
from kalathi.marketplace.sandbox.faults import FaultKind

# A path names a member of an order or a return, without indices: `order.line_items[].ean`. The orders and returns of a
# list have the same paths as a single one.
MAY_BE_ABSENT: Final = frozenset(
    {
        "changes",
        "meta.next_cursor",
        "order.customer.phone",
        "order.customer.mobile",
        "order.customer.skroutz_plus_user",
        "order.customer.address.comments",
        "order.line_items[].ean",
        "order.line_items[].mpn",
        "order.line_items[].extra_info",
        "order.line_items[].tags",
        "order.line_items[].rejection_reason",
        "order.line_items[].return_reason",
        "order.line_items[].size.ean",
        "order.line_items[].size.mpn",
        "order.pickup_window",
        "order.pickup_address",
        "order.number_of_parcels",
        "order.rejection_info",
        "order.replacements",
        "order.replacements[].type",
        "order.replaced",
        "order.returns",
        "order.reschedule_options",
        "order.relocate_options",
        "order.fulfillment_mode",
        "return.courier_tracking_ids",
        "return.courier",
        "return.returning_address",
        "return.return_line_items[].ean",
        "return.return_line_items[].return_reason",
        "return.return_line_items[].user_comment",
        "return.return_line_items[].user_photos",
    }
)
MAY_BE_NULL: Final = MAY_BE_ABSENT | {
    "order.courier",
    "order.customer.address.floor",
    "order.dispatch_until",
    "order.fbs_delivery_note",
    "order.fbs_delivery_note_url",
    "order.line_items[].serial_numbers",
    "order.uploaded_invoice_file",
}
# The words of lists that may grow, each with the words that stay as they are. A client cannot answer an order or a
# return if its state is not the known one, and it may ignore an event of an unknown type.
MAY_BE_NEW: Final[dict[str, frozenset[str]]] = {
    "event_type": frozenset({OrderEventType.NEW_ORDER, ReturnEventType.CREATED}),
    "order.state": frozenset({OrderState.OPEN}),
    "order.courier": frozenset(),
    "order.fulfillment_mode": frozenset(),
    "order.invoice_document": frozenset(),
    "order.payment_method": frozenset(),
    "order.rejection_info.actor": frozenset(),
    "order.replacements[].type": frozenset(),
    "order.line_items[].rejection_reason": frozenset(),
    "order.line_items[].return_reason": frozenset(),
    "order.line_items[].tags[]": frozenset(),
    "return.state": frozenset({ReturnState.PENDING_MERCHANT_REVIEW}),
    "return.courier": frozenset(),
    "return.return_line_items[].return_reason": frozenset(),
}
NEW_MEMBER: Final = "new_member"
_NEW_VALUES: Final[tuple[Any, ...]] = (None, True, 1, "new", [1], {"new": True})
# Longer numbers lose digits in many languages, and a leading zero is not part of a number.
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,14}")
_ROOTS: Final = {"orders[]": "order", "returns[]": "return"}
_MOST_INDENT: Final = 4


class _Place(NamedTuple):
    """A value in a body: its path, and the object or list that holds it under this key."""

    path: str
    holder: Any
    key: str | int

    @property
    def value(self) -> Any:
        return self.holder[self.key]

    def put(self, value: Any) -> None:
        self.holder[self.key] = value


def change_body(body: bytes, kind: FaultKind, chance: random.Random, member: str | None = None) -> bytes:
    """Return the body with one fault of this kind at a random place. With `member`, the place is a member of this name
    or path. A body that has no such place, or is not JSON, is returned unchanged."""
    try:
        content = plain_json(body)
    except UnreadableBodyError:
        return body
    if kind is FaultKind.LAYOUT:
        return _lay_out(content, chance)
    if kind is FaultKind.UNKNOWN_MEMBER:
        return _add_member(body, content, chance)
    fits, change = _CHANGES[kind]
    places = [place for place in _find_places(content) if fits(place) and _is_member(place.path, member)]
    if not places:
        return body
    place = chance.choice(places)
    old = place.value
    change(place)
    if kind is FaultKind.NEW_WORD:
        _repeat_in_changes(content, place, old)
    return encode(content)


def list_members(kind: FaultKind) -> list[str]:
    """Return the paths of the members that this kind can change; empty if the kind does not limit them."""
    return sorted(_MEMBERS.get(kind, ()))


def takes_member(kind: FaultKind, member: str) -> bool:
    """Whether a rule of this kind can be limited to this member."""
    if kind in _MEMBERS:
        return any(_is_member(path, member) for path in _MEMBERS[kind])
    return kind in _CHANGES


_MEMBERS: Final = {
    FaultKind.ABSENT_MEMBER: MAY_BE_ABSENT,
    FaultKind.NULL_MEMBER: MAY_BE_NULL,
    FaultKind.NEW_WORD: frozenset(MAY_BE_NEW),
}


def _is_member(path: str, member: str | None) -> bool:
    return member is None or path.removesuffix("[]") == member or path.removesuffix("[]").endswith(f".{member}")


def _find_places(content: Any, path: str = "") -> Iterator[_Place]:
    """Yield every member and entry of a body, in their order."""
    entries: Any = ()
    if isinstance(content, dict):
        entries = content.items()
    elif isinstance(content, list):
        entries = enumerate(content)
    for key, value in entries:
        here = f"{path}[]" if isinstance(key, int) else f"{path}.{key}" if path else key
        here = _ROOTS.get(here, here)
        yield _Place(here, content, key)
        yield from _find_places(value, here)


def _may_be_absent(place: _Place) -> bool:
    return place.path in MAY_BE_ABSENT


def _remove(place: _Place) -> None:
    del place.holder[place.key]


def _may_be_null(place: _Place) -> bool:
    return place.path in MAY_BE_NULL and place.value is not None


def _set_null(place: _Place) -> None:
    place.put(None)


def _may_be_new(place: _Place) -> bool:
    words = MAY_BE_NEW.get(place.path)
    return words is not None and isinstance(place.value, str) and place.value not in words


def _set_new_word(place: _Place) -> None:
    place.put("new_" + place.path.rpartition(".")[2].removesuffix("[]"))


def _is_number(place: _Place) -> bool:
    return not isinstance(place.value, str | bool | dict | list | None)


def _write_as_text(place: _Place) -> None:
    place.put(str(place.value))


def _is_number_in_text(place: _Place) -> bool:
    return isinstance(place.value, str) and _NUMBER.fullmatch(place.value) is not None


def _write_as_number(place: _Place) -> None:
    place.put(int(place.value))


_CHANGES: Final[dict[FaultKind, tuple[Callable[[_Place], bool], Callable[[_Place], None]]]] = {
    FaultKind.ABSENT_MEMBER: (_may_be_absent, _remove),
    FaultKind.NULL_MEMBER: (_may_be_null, _set_null),
    FaultKind.NEW_WORD: (_may_be_new, _set_new_word),
    FaultKind.NUMBER_AS_TEXT: (_is_number, _write_as_text),
    FaultKind.TEXT_AS_NUMBER: (_is_number_in_text, _write_as_number),
}


def _repeat_in_changes(content: Any, place: _Place, old: Any) -> None:
    """Write a new word of an order or a return to the event's `changes` too, if the event has this change."""
    changes = content.get("changes")
    change = changes.get(place.path.rpartition(".")[2]) if isinstance(changes, dict) else None
    if place.path.count(".") == 1 and isinstance(change, dict) and change.get("new") == old:
        change["new"] = place.value


def _add_member(body: bytes, content: Any, chance: random.Random) -> bytes:
    """Add a member to a random object."""
    objects = [place.value for place in _find_places(content) if isinstance(place.value, dict)]
    objects += [content] if isinstance(content, dict) else []
    if not objects:
        return body
    chosen = chance.choice(objects)
    members = [(name, value) for name, value in chosen.items() if name != NEW_MEMBER]
    members.insert(chance.randint(0, len(members)), (NEW_MEMBER, chance.choice(_NEW_VALUES)))
    chosen.clear()
    chosen.update(members)
    return encode(content)


def _lay_out(content: Any, chance: random.Random) -> bytes:
    """Write the same content with the members of each object in another order, and with whitespace."""
    indent = chance.randint(1, _MOST_INDENT)
    written = msgspec.json.format(encode(_shuffle(content, chance)), indent=indent)
    return b"\n" + written + b"\n"


def _shuffle(content: Any, chance: random.Random) -> Any:
    if isinstance(content, list):
        return [_shuffle(entry, chance) for entry in content]
    if not isinstance(content, dict):
        return content
    names = list(content)
    chance.shuffle(names)
    return {name: _shuffle(content[name], chance) for name in names}
