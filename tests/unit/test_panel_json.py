"""JSON on pages: as it was written, escaped, folded, and compared."""

import json

from hypothesis import given
from hypothesis import strategies as st

from kalathi.marketplace.panel.json_view import colour_json, differences, read

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


def test_numbers_stay_as_they_were_written_and_texts_are_escaped() -> None:
    html = colour_json(
        read(b'{"price": 10.40, "big": 12345678901234567890, "name": "<b>\\"&", "none": null, "no": {}}')
    )
    for part in ("10.40", "12345678901234567890", "&lt;b&gt;\\&#34;&amp;", ">null<", ">{}<"):
        assert part in html
    assert "<b>" not in html


def test_deep_values_are_collapsed() -> None:
    html = colour_json(read(b'{"a": {"b": {"c": 1}}}'))
    assert html.count("<details open>") == 2
    assert html.count("<details>") == 1


def test_differences_name_the_place_and_both_values() -> None:
    old = read(b'{"state": "open", "lines": [{"q": 1}, {"q": 2}], "gone": 1}')
    new = read(b'{"state": "accepted", "lines": [{"q": 1}, {"q": 3}, {"q": 4}], "came": null}')
    found = {entry.path: (entry.old, entry.new) for entry in differences(old, new)}
    assert set(found) == {"state", "lines[1].q", "lines[2]", "gone", "came"}
    assert found["gone"][1] is None
    assert found["came"][0] is None
    assert "null" in str(found["came"][1])
    assert len(differences(read(b'{"code": "1"}'), read(b'{"code": 1}'))) == 1


@given(_VALUES, _VALUES)
def test_there_are_differences_exactly_where_two_values_differ(old: object, new: object) -> None:
    before, after = json.dumps(old).encode(), json.dumps(new).encode()
    assert bool(differences(read(before), read(after))) == (before != after and read(before) != read(after))
    assert differences(read(before), read(before)) == []
    colour_json(read(before))
