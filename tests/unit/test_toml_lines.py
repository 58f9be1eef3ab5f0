"""The lines of keys and tables in TOML: the exact one, and the nearest if the path is not in the text."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.toml_lines import Path, find_line, lines_by_path

TEXT = '''# a comment with [[shops]]
port = 8090

[[shops]]  # line 4
id = "a"
note = """
[[shops]]
id = "not a table"
"""
when = 2026-12-01 10:00:00
"quoted key" = 'it''s'

  [[shops.listings]]
  shop_uid = "A"
  size = { label = "L", value = "42" }

  [[shops.listings]]
  tags = [
    "plus_deal", # ] not the end
    'coupons',
  ]

[[shops]]
id = "b"
listings = [
  { shop_uid = "A", quantity = 1 },
  { shop_uid = "B", quantity = -1 },
]
address.city = "Αθήνα"

[listen]
forward = "localhost:8000"
'''.replace("'it''s'", "'its'")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("port",), 2),
        (("shops",), 4),
        (("shops", 0), 4),
        (("shops", 0, "id"), 5),
        (("shops", 0, "note"), 6),
        (("shops", 0, "when"), 10),
        (("shops", 0, "quoted key"), 11),
        (("shops", 0, "listings", 0), 13),
        (("shops", 0, "listings", 0, "size", "value"), 15),
        (("shops", 0, "listings", 1), 17),
        (("shops", 0, "listings", 1, "tags", 1), 20),
        (("shops", 1), 23),
        (("shops", 1, "listings", 1), 27),
        (("shops", 1, "listings", 1, "quantity"), 27),
        (("shops", 1, "address", "city"), 29),
        (("listen", "forward"), 32),
        (("shops", 0, "listings", 1, "unit_price"), 17),
        (("shops", 1, "token"), 23),
        (("nothing",), 1),
    ],
)
def test_each_key_has_its_line_and_a_missing_one_that_of_its_table(path: Path, line: int) -> None:
    assert find_line(lines_by_path(TEXT), path) == line


def _paths(content: Any, path: Path = ()) -> set[Path]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return {path}.union(*(_paths(value, (*path, key)) for key, value in items))


def test_every_path_of_the_parsed_text_has_a_line() -> None:
    assert set(lines_by_path(TEXT)) | {()} == _paths(tomllib.loads(TEXT))


_KEY = st.sampled_from(["a", "b-c", '"d e"', "'f.g'", '"h\\"]"'])
_NUMBERS = ["1", "-2.5", "true", "inf", "2026-01-01", "2026-01-01 10:00:00", "07:00:00"]
_TEXTS = ['"x"', "'#]'", '""', '"\\\\"', '"""\n]]"""', "'''\n[a]\n'''", '""""quoted"""""']
_SCALAR = st.sampled_from([*_NUMBERS, *_TEXTS])
_LIST = st.lists(_SCALAR, max_size=3).map(lambda values: "[ # ]\n" + ",\n".join(values) + "\n]")
_INLINE = st.dictionaries(_KEY, _SCALAR, max_size=3).map(
    lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
)
_TABLE = st.dictionaries(_KEY, st.one_of(_SCALAR, _LIST, _INLINE), max_size=4).map(
    lambda table: "".join(f"{key} = {value} # }}\n" for key, value in table.items())
)


@given(st.lists(st.tuples(st.sampled_from(["[[x]]", "[[ x . y ]]", "[[x.z]] # x"]), _TABLE), max_size=6))
def test_any_valid_text_is_read_like_the_parser_reads_it(parts: list[tuple[str, str]]) -> None:
    text = "[[x]]\n" + "\n".join(f"{header}\n{table}" for header, table in parts)
    lines = lines_by_path(text)
    assert set(lines) | {()} == _paths(tomllib.loads(text))
    numbered = text.splitlines()
    for path, line in lines.items():
        last = path[-1]
        if isinstance(last, str) and last.isalpha():
            assert last in numbered[line - 1], (path, line)
