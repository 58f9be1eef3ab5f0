"""The line of each key and table of a TOML text, for messages about a file. The standard library's parser gives none.

The text must be valid TOML: `tomllib` reads it first. Paths are those of the parsed content, for example
`("shops", 0, "listings", 1, "unit_price")`.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

Path = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACES: Final = re.compile(r"[ \t]*")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
# A number, a boolean or a time. A time may have a space before its hour.
_BARE_VALUE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^,\]}\s#]*|[^,\]}\s#]+")


@lru_cache(maxsize=1)
def lines_by_path(text: str) -> Mapping[Path, int]:
    """Return the line of each table, key and list entry, counted from 1. The last text's lines are kept, because a file
    can have many mistakes."""
    return _Scanner(text).scan()


def find_line(lines: Mapping[Path, int], path: Path) -> int:
    """Return the line of the path. If it is not in the text, return that of the nearest table around it, else 1."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        # The position up to which line ends are counted, and the line there.
        self._counted, self._line = 0, 1
        self._lines: dict[Path, int] = {}
        # The number of tables in each list of tables.
        self._lengths: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._read_header()
            else:
                self._read_pair(table)
            self._skip(_BLANK)
        return self._lines

    def _read_header(self) -> Path:
        """Read `[a.b]` or `[[a.b]]`. Return the path of the table."""
        is_list = self._text.startswith("[[", self._at)
        line = self._current_line()
        self._at += 2 if is_list else 1
        *outer, last = self._read_keys()
        path: Path = ()
        for key in outer:
            path = self._enter((*path, key))
        path = (*path, last)
        if is_list:
            number = self._lengths.get(path, 0)
            self._lengths[path] = number + 1
            self._lines.setdefault(path, line)
            path = (*path, number)
        self._lines.setdefault(path, line)
        self._skip(_SPACES)
        self._at += 2 if is_list else 1
        return path

    def _enter(self, path: Path) -> Path:
        """Return the path of the table; of the last one, if it is a list of tables."""
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _read_pair(self, table: Path) -> None:
        """Read `key = value`."""
        line = self._current_line()
        path = table
        for key in self._read_keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._skip(_SPACES)
        self._at += 1  # the equals sign
        self._skip(_SPACES)
        self._read_value(path)

    def _read_value(self, path: Path) -> None:
        if self._text.startswith("[", self._at):
            self._read_list(path)
        elif self._text.startswith("{", self._at):
            self._read_inline_table(path)
        elif not self._skip(_STRING):
            self._skip(_BARE_VALUE)

    def _read_list(self, path: Path) -> None:
        number = 0
        self._at += 1
        self._skip(_BLANK)
        while not self._text.startswith("]", self._at):
            self._lines[*path, number] = self._current_line()
            self._read_value((*path, number))
            number += 1
            self._read_separator()
        self._at += 1

    def _read_inline_table(self, path: Path) -> None:
        self._at += 1
        self._skip(_BLANK)
        while not self._text.startswith("}", self._at):
            self._read_pair(path)
            self._read_separator()
        self._at += 1

    def _read_separator(self) -> None:
        self._skip(_BLANK)
        if self._text.startswith(",", self._at):
            self._at += 1
            self._skip(_BLANK)

    def _read_keys(self) -> list[str]:
        """Read a key and its dots, such as `a."b c".d`."""
        keys = [self._read_key()]
        self._skip(_SPACES)
        while self._text.startswith(".", self._at):
            self._at += 1
            keys.append(self._read_key())
            self._skip(_SPACES)
        return keys

    def _read_key(self) -> str:
        self._skip(_SPACES)
        start = self._at
        if self._skip(_BARE_KEY):
            return self._text[start : self._at]
        self._skip(_STRING)
        key: str = tomllib.loads(f"key = {self._text[start : self._at]}")["key"]
        return key

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Move behind the pattern. Return whether it was there."""
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found is not None

    def _current_line(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
