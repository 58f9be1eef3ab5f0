"""The texts of a form that no page shows again: shown for copying, so that a person need not type them twice."""

import re
from typing import Final

from kalathi.marketplace.panel import wording
from kalathi.marketplace.panel.languages import Words
from kalathi.marketplace.panel.visits import Form

# Fields of a table's row that hold no typed text: a choice's word, and the hidden field of each listing.
_NOT_IN_ROWS: Final = frozenset({"reason", "shop_uid"})
_MOST: Final = 100
_NAME: Final = re.compile(r"(?:\w+\[(?P<row>\d{1,6})\]\[)?(?P<last>\w+)\]?")


def label_of(name: str, words: Words) -> str:
    """Return the label of a field, with its row's number; empty for a field without typed text."""
    found = _NAME.fullmatch(name)
    if found is None or (found["row"] and found["last"] in _NOT_IN_ROWS) or found["last"] not in wording.TYPED_FIELDS:
        return ""
    row = f"{int(found['row']) + 1}. " if found["row"] else ""
    return row + words.text(wording.TYPED_FIELDS[found["last"]])


def list_typed_texts(form: Form, words: Words) -> list[tuple[str, str]]:
    """Label and text of the typed fields, in the form's order; the first hundred of them."""
    named = ((label_of(name, words), value) for name, value in form.values.items() if value.strip())
    return [(label, value) for label, value in named if label][:_MOST]
