"""JSON on pages: folded and coloured, and its differences from another JSON value."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from markupsafe import Markup

# Deeper levels are folded, and so are objects with more members than fit a screen.
_OPEN_DEPTH: Final = 2
_OPEN_MEMBERS: Final = 40
_MOST_DIFFERENCES: Final = 500


class Difference(NamedTuple):
    """A difference between two bodies. `old` or `new` is None if that body has no value at this path."""

    path: str
    old: Markup | None
    new: Markup | None


class _Number(str):
    """A number with its original digits, so that `10.40` stays `10.40`."""

    __slots__ = ()


def read(body: bytes) -> Any:
    """Decode JSON, keeping the original digits of numbers. Raises ValueError."""
    return json.loads(body, parse_float=_Number, parse_int=_Number)


def colour_json(value: Any, depth: int = 0, name: str | None = None) -> Markup:
    """Render the value as HTML, after its name if there is one. Objects and lists can be folded without a script."""
    key = Markup() if name is None else Markup('<span class="key">{}</span>: ').format(_quote(name))
    if isinstance(value, dict) and value:
        return _fold(key, "{}", [colour_json(entry, depth + 1, inner) for inner, entry in value.items()], depth)
    if isinstance(value, list) and value:
        return _fold(key, "[]", [colour_json(entry, depth + 1) for entry in value], depth)
    if isinstance(value, str) and not isinstance(value, _Number):
        return key + Markup('<span class="text">{}</span>').format(_quote(value))
    return key + Markup('<span class="plain">{}</span>').format(_plain(value))


def differences(old: Any, new: Any) -> list[Difference]:
    """Return the differences in the order of the new value, up to 500."""
    return list(islice(_compare(old, new, ""), _MOST_DIFFERENCES))


def _fold(key: Markup, brackets: str, members: list[Markup], depth: int) -> Markup:
    is_open = Markup(" open") if depth < _OPEN_DEPTH and len(members) <= _OPEN_MEMBERS else Markup()
    inner = Markup().join(Markup("<div>{}</div>").format(member) for member in members)
    return Markup("<details{}><summary>{}{} <span>{} … {}</span></summary>{}<span>{}</span></details>").format(
        is_open, key, brackets[0], len(members), brackets[1], inner, brackets[1]
    )


def _compare(old: Any, new: Any, path: str) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**new, **old}:
            inner = f"{path}.{name}" if path else name
            yield from _one(old.get(name, _NOTHING), new.get(name, _NOTHING), inner)
    elif isinstance(old, list) and isinstance(new, list):
        for place in range(max(len(old), len(new))):
            here = f"{path}[{place}]"
            yield from _one(
                old[place] if place < len(old) else _NOTHING, new[place] if place < len(new) else _NOTHING, here
            )
    elif old != new or type(old) is not type(new):
        yield Difference(path, colour_json(old, _OPEN_DEPTH), colour_json(new, _OPEN_DEPTH))


_NOTHING: Final = object()


def _one(old: Any, new: Any, path: str) -> Iterator[Difference]:
    if old is _NOTHING:
        yield Difference(path, None, colour_json(new, _OPEN_DEPTH))
    elif new is _NOTHING:
        yield Difference(path, colour_json(old, _OPEN_DEPTH), None)
    else:
        yield from _compare(old, new, path)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, _Number) else json.dumps(value)
