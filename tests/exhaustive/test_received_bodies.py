"""A body as it was received, with each of its members replaced or left out: nothing is made up or left out."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kalathi.contract.codec import UnexpectedShapeError
from kalathi.contract.orders import OrderBody
from kalathi.contract.reading import read
from kalathi.contract.received import read_received
from kalathi.contract.returns import ReturnBody
from tests.unit.test_reading import EVENTS, ORDERS, RETURNS, _named, _places, _variants


def _at(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        content = content[key]
    return content


def _differences(found: Any, came: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places that are not the same fact: an id may have become a text, and a text a number or a list."""
    if isinstance(came, dict):
        if not isinstance(found, dict) or found.keys() != came.keys():
            yield place
            return
        for key, value in came.items():
            yield from _differences(found[key], value, (*place, key))
    elif isinstance(came, list):
        # Null in a list of texts is nothing; PHP writes an empty object as a list.
        if len(found) != len(came) and found != [one for one in came if one is not None]:
            yield place
        elif None not in came:
            for index, value in enumerate(came):
                yield from _differences(found[index], value, (*place, index))


@pytest.mark.parametrize("path", _named([*ORDERS, *EVENTS, *RETURNS]))
def test_every_received_member_is_kept_and_no_other_is_added(path: Path) -> None:
    wanted = ReturnBody if "returns" in path.parts else OrderBody
    read_one = 0
    for place, changed in _variants(msgspec.json.decode(path.read_bytes())):
        body = msgspec.json.encode(changed)
        try:
            found = read_received(read(body, wanted))
        except UnexpectedShapeError:
            continue  # It is not handed over at all.
        read_one += 1
        came = msgspec.json.decode(body)
        assert list(_differences(found, came)) == [], place
        if _at(came, place) is None and isinstance(place[-1], str):
            assert _at(found, place) is None, place
    assert read_one > 100


@pytest.mark.parametrize("path", _named([*ORDERS, *RETURNS]))
def test_a_missing_member_is_not_added(path: Path) -> None:
    wanted = ReturnBody if "returns" in path.parts else OrderBody
    content = msgspec.json.decode(path.read_bytes())
    for place in [place for place in _places(content) if isinstance(place[-1], str)]:
        changed = copy.deepcopy(content)
        del _at(changed, place[:-1])[place[-1]]
        try:
            found = read_received(read(msgspec.json.encode(changed), wanted))
        except UnexpectedShapeError:
            continue
        assert place[-1] not in _at(found, place[:-1]), place
