"""Write text to a terminal, with control characters in the data escaped.

Product names, customers' texts and other programs' messages come from outside. With control characters they could move
the cursor, hide text or change the terminal's title. So the output escapes every control character (`\\x1b`). Our own
styles contain a mark in place of ESC. Each process chooses a random private-use character as its mark, so that a text
from outside cannot contain it on purpose.
"""

import re
import secrets
from typing import Any, Final, TextIO

import click

_ESC: Final = "\x1b"
_MARK: Final = chr(0xF0000 + secrets.randbelow(0xFFFE))
_STYLE: Final = re.compile(f"{_MARK}\\[[0-9;]*[A-Za-z]")
_COLOUR: Final = re.compile(f"{_MARK}\\[[0-9;]*m")
# C0 and C1 except tab and line feed, line separators, and characters that change the direction of writing.
_CONTROL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]",
)
# Move the cursor to the first column and clear the line.
REWRITE_LINE: Final = f"{_MARK}[G{_MARK}[K"


def style(text: str, **options: Any) -> str:
    """Return a text with a style (`fg`, `bold`), which `EscapingText` writes to terminals only."""
    return click.style(escape_controls(text), **options).replace(_ESC, _MARK)


def escape_controls(text: str) -> str:
    """Return the text with its control characters in visible form, such as `\\x1b` and `\\u202e`."""
    return _CONTROL.sub(_escape, text)


def in_one_line(text: str) -> str:
    """Return the text with a question mark for each character that is not printable, line feeds included."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class EscapingText:
    """A text stream that escapes control characters. All other methods are those of the wrapped stream."""

    def __init__(self, stream: TextIO, *, is_plain: bool = False) -> None:
        """With `is_plain`, a terminal gets no colours either."""
        self._stream = stream
        self._is_plain = is_plain

    def write(self, text: str) -> int:
        """Write a text and return its length."""
        escaped = escape_controls(text)
        if not self._stream.isatty():
            styled = _STYLE.sub("", escaped)
        else:
            styled = (_COLOUR.sub("", escaped) if self._is_plain else escaped).replace(_MARK, _ESC)
        self._stream.write(styled)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
