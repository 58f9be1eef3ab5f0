"""Form-encoded bodies with the JSON body's names (docs/contract.md#section-1), nested names in brackets.

`pickup_window=2` · `line_items[0][id]=a&line_items[0][reason_id]=1` · `line_items[][id]=a&line_items[][reason_id]=1`,
where a name that comes again begins the next element, as browsers and the usual client libraries write it.
"""

import re
from typing import Any, Final
from urllib.parse import parse_qsl

CONTENT_TYPE: Final = b"application/x-www-form-urlencoded"
# Far above the needs of any call; it bounds the memory of a hostile body.
_MOST_FIELDS: Final = 5000
_NAME: Final = re.compile(r"(\w+)(?:\[(\d{0,4})\]\[(\w+)\])?")


def read_form(body: bytes) -> dict[str, Any]:
    """The form as the JSON object that it stands for; every value is a text.

    Names that stand for nothing here and fields that were left blank are ignored. Raises ValueError when it is not
    UTF-8, has too many fields, or one name for a value and a list.
    """
    form: dict[str, Any] = {}
    for name, value in parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS):
        match = _NAME.fullmatch(name)
        if match is None or not value.strip():
            continue
        member, place, inner = match.groups()
        if inner is None:
            form[member] = value
        else:
            elements = form.setdefault(member, {})
            if not isinstance(elements, dict):
                raise ValueError(f"{member} is both a value and a list")
            elements.setdefault(_element(elements, place, inner), {})[inner] = value
    return {name: list(value.values()) if isinstance(value, dict) else value for name, value in form.items()}


def _element(elements: dict[str, dict[str, str]], place: str, inner: str) -> str:
    """Which element of a list a field belongs to: the one of its number, or the last until a name comes again."""
    if place:
        return place
    last = next(reversed(elements), None)
    return f"next{len(elements)}" if last is None or inner in elements[last] else last
