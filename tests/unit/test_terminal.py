"""No control character of data reaches a terminal raw."""

import io
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalathi.terminal import REWRITE_LINE, EscapingText, escape_controls, in_one_line, style


class _Terminal(io.StringIO):
    """A stream that is a terminal, or not."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._is_terminal


def write_text(text: str, *, is_terminal: bool, is_plain: bool = False) -> str:
    """Return the text that reaches the stream."""
    stream = _Terminal(is_terminal=is_terminal)
    assert EscapingText(stream, is_plain=is_plain).write(text) == len(text)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\x1b]0;title\x07b", "a\\x1b]0;title\\x07b"),
        ("a\x9b31mb", "a\\x9b31mb"),
        ("a\rb", "a\\x0db"),
        ("a\x08b\x7f", "a\\x08b\\x7f"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u2028b", "a\\u2028b"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("Θήκη®\t😀\n", "Θήκη®\t😀\n"),
    ],
)
def test_control_characters_are_escaped(hostile: str, shown: str) -> None:
    for is_terminal in (True, False):
        assert write_text(hostile, is_terminal=is_terminal) == shown


@given(st.text())
def test_only_our_own_styles_write_escape_sequences(text: str) -> None:
    for is_terminal in (True, False):
        written = write_text(style(text, fg="red"), is_terminal=is_terminal)
        inside = written.removeprefix("\x1b[31m").removesuffix("\x1b[0m") if is_terminal else written
        assert inside == escape_controls(text)
        assert not [letter for letter in inside if ord(letter) < 32 and letter not in "\n\t"]


def test_styles_are_for_terminals_alone() -> None:
    assert write_text(style("ok", fg="green"), is_terminal=True) == "\x1b[32mok\x1b[0m"
    assert write_text(style("ok", fg="green"), is_terminal=False) == "ok"
    assert write_text(f"{REWRITE_LINE}12", is_terminal=True) == "\x1b[G\x1b[K12"
    assert write_text(f"{REWRITE_LINE}12", is_terminal=False) == "12"


def test_a_line_stays_one_line() -> None:
    assert in_one_line("a\nb\x1bc\u202ed\u2028e Θ") == "a?b?c?d?e Θ"


def test_other_attributes_come_from_the_wrapped_stream() -> None:
    stream = cast(Iterator[str], EscapingText(_Terminal(is_terminal=True)))
    assert stream.getvalue() == ""  # type: ignore[attr-defined]  # Given on by the stream.
