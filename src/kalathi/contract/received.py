"""A received body for another system, without added and without omitted members.

The tolerant reader (reading.py) gives a missing price its default, 0, and omits an unreadable line. That is right for
the connector's own decisions, but a system that books the order would use 0 as the price. So such a system gets the
body itself: readable members in the reader's form, everything else unchanged.
"""

import math
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from kalathi.contract.codec import encode
from kalathi.contract.reading import Reading, plain_json


def read_received(reading: Reading[Any]) -> Any:
    """Return the body of a reading as plain JSON.

    A readable member has the reader's form: for example, an id that was received as a number is a text. A missing
    member stays missing, null stays null, and an unreadable or unknown member is unchanged. Numbers with a fraction are
    floats.
    """
    content = plain_json(reading.body)
    return _merge(_with_floats(content), _with_floats(plain_json(encode(reading.value))), set(reading.unread), "$")


def _merge(content: Any, value: Any, unread: Collection[str], path: str) -> Any:
    if content is None or path in unread:
        return content
    if isinstance(value, dict):
        members = content if isinstance(content, dict) else {}
        return {
            name: _merge(member, value[name], unread, f"{path}.{name}") if name in value else member
            for name, member in members.items()
        }
    if isinstance(value, list) and isinstance(content, list):
        return _merge_lists(content, value, unread, path)
    return value


def _merge_lists(content: list[Any], value: list[Any], unread: Collection[str], path: str) -> list[Any]:
    """Merge the received entries with the read ones, which lack unreadable entries and, in a list of texts, nulls."""
    rest = iter(value)
    merged = []
    for index, entry in enumerate(content):
        place = f"{path}[{index}]"
        if place in unread:
            merged.append(entry)
        elif entry is not None:
            merged.append(_merge(entry, next(rest, entry), unread, place))
    return merged


def _with_floats(content: Any) -> Any:
    match content:
        case Decimal():
            # JSON has no infinity: a number that is too large for a float stays a text.
            return number if math.isfinite(number := float(content)) else str(content)
        case dict():
            return {name: _with_floats(member) for name, member in content.items()}
        case list():
            return [_with_floats(entry) for entry in content]
    return content
