"""Bounded answers: the JSON of a tool, with long texts and long lists cut, and a note about each cut."""

import json
from typing import Any, Final, NamedTuple

MOST_CHARACTERS: Final = 40_000
_MOST_NOTES: Final = 10
# The text of an error can repeat an argument. Its end often has the advice.
_ERROR_START: Final = 1_500
_ERROR_END: Final = 500


class Limits(NamedTuple):
    """The longest text, and the most entries of a list or an object."""

    characters: int
    entries: int


# The first limits with which the answer is short enough are used.
LIMITS: Final = (Limits(10_000, 100), Limits(2_000, 50), Limits(500, 30), Limits(200, 10), Limits(100, 4))


def render_answer(value: Any) -> list[str]:
    """Return the texts of an answer: its JSON, and a note if it was cut."""
    text, cuts = "", list[str]()
    for limits in LIMITS:
        cuts = []
        text = json.dumps(_cut(value, limits, "", cuts), ensure_ascii=False)
        if len(text) <= MOST_CHARACTERS:
            break
    else:
        cuts = [f"the whole answer ({len(text)} characters, the first {MOST_CHARACTERS} are shown)"]
        text = text[:MOST_CHARACTERS]
    if not cuts:
        return [text]
    more = f", and {len(cuts) - _MOST_NOTES} more" if len(cuts) > _MOST_NOTES else ""
    return [text, f"This answer is cut: {', '.join(cuts[:_MOST_NOTES])}{more}. Request one entry, or a smaller `per`."]


def render_error(text: str) -> str:
    """Return the text of an error; of a long one, its start and its end."""
    left_out = len(text) - _ERROR_START - _ERROR_END
    if left_out <= 0:
        return text
    return f"{text[:_ERROR_START]} ... {left_out} characters are left out here ... {text[-_ERROR_END:]}"


def _cut(value: Any, limits: Limits, path: str, cuts: list[str]) -> Any:
    """Return the value within the limits. `cuts` gets a sentence for each cut at its path."""
    if isinstance(value, str) and len(value) > limits.characters:
        cuts.append(f"{path} ({len(value)} characters, the first {limits.characters} are shown)")
        return value[: limits.characters]
    if isinstance(value, list):
        if len(value) > limits.entries:
            cuts.append(f"{path} ({len(value)} entries, the first and the last {limits.entries // 2} are shown)")
        return [_cut(entry, limits, f"{path}[{index}]", cuts) for index, entry in _ends(value, limits.entries)]
    if isinstance(value, dict):
        if len(value) > limits.entries:
            cuts.append(f"{path} ({len(value)} members, the first {limits.entries} are shown)")
        members = list(value.items())[: limits.entries]
        return {name: _cut(entry, limits, f"{path}.{name}".lstrip("."), cuts) for name, entry in members}
    return value


def _ends(entries: list[Any], most: int) -> list[tuple[int, Any]]:
    """Return the entries with their positions. Of a long list they are both ends, with a sentence between them: some
    lists have the newest entry first, others last."""
    numbered = list(enumerate(entries))
    left_out = len(entries) - most
    if left_out <= 0:
        return numbered
    gap = f"... {left_out} entries are left out here ..."
    return [*numbered[: most // 2], (most // 2, gap), *numbered[-(most // 2) :]]
