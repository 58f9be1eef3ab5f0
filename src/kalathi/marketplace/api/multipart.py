"""Forms with files as real clients send them (RFC 7578), read whole and leniently.

The clients of shops write line feeds without carriage returns, blanks after a boundary, folded headers, and names with
brackets, such as `invoice_file[]`. A library that follows the grammar refuses such forms.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from python_multipart.multipart import parse_options_header

# A form of this API has one file. The bound keeps a hostile body of many tiny parts from taking seconds.
_MOST_PARTS: Final = 100
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_BRACKETS: Final = re.compile(r"\[\d*\]$")


class Part(NamedTuple):
    """One part of a form. `name` has no brackets at its end."""

    name: str
    content: bytes


def read_parts(body: bytes, boundary: bytes) -> Iterator[Part]:
    """Yield at most 100 parts, up to the first syntax error. A part without a closing boundary is left out.

    Text before the first boundary is ignored (RFC 2046, section 5.1.1).
    """
    marker = b"--" + re.escape(boundary)
    first = re.search(rb"(?:\A|\n)" + marker + rb"[ \t]*(\r?)\n", body)
    if first is None:
        return
    # The line end before a boundary belongs to the boundary, so a part's content can end with any bytes.
    line_end = b"\r\n" if first[1] else b"\n"
    start = first.end()
    following = re.compile(line_end + marker + rb"(--|[ \t]*\r?\n)")
    for _ in range(_MOST_PARTS):
        # A part without headers and content ends where it begins.
        end = following.search(body, start - len(line_end))
        if end is None:
            return
        part = _part(body[start : max(start, end.start())])
        if part is not None:
            yield part
        if end[1] == b"--":
            return
        start = end.end()


def _part(block: bytes) -> Part | None:
    """Return the part, or None if its headers name no field."""
    head_end = _HEAD_END.search(block)
    if head_end is None:
        return None
    for line in re.split(rb"\r?\n", _FOLD.sub(b" ", block[: head_end.start()])):
        header, _, value = line.partition(b":")
        if header.strip().lower() == b"content-disposition":
            _, options = parse_options_header(value.strip())
            name = options.get(b"name", b"").decode("utf-8", "replace")
            return Part(_BRACKETS.sub("", name), block[head_end.end() :])
    return None
