"""Form-encoded bodies with the JSON body's names (docs/contract.md#section-1), nested names in brackets.

`pickup_window=2` · `line_items[0][id]=a&line_items[0][reason_id]=1` · `line_items[][id]=a&line_items[][reason_id]=1`.
In the last form, a repeated name starts the next element, as browsers and common client libraries write it.
"""

import re
from typing import Any, Final
from urllib.parse import parse_qsl

CONTENT_TYPE: Final = b"application/x-www-form-urlencoded"
# Far more than any call needs. The limit bounds the memory for a hostile body.
_MOST_FIELDS: Final = 5000
_NAME: Final = re.compile(r"(\w+)(?:\[(\d{0,4})\]\[(\w+)\])?")


def read_form(body: bytes) -> dict[str, Any]:
    """Return a form as the equivalent JSON object. Every value is a text.

    Names in another notation and blank fields are ignored. Raises ValueError if the form is not UTF-8, has too many
    fields, or uses one name for a value and a list.
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
    """Return the key of the list element that a field belongs to: its number, or the last until a name repeats."""
    if place:
        return place
    last = next(reversed(elements), None)
    return f"next{len(elements)}" if last is None or inner in elements[last] else last
