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
# The text before the first boundary, and the headers of a part.
_PREAMBLE_BYTES: Final = 100_000
_HEAD_BYTES: Final = 8192
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_BRACKETS: Final = re.compile(r"\[\d*\]$")


class Part(NamedTuple):
    """One part of a form. `name` has no brackets at its end; `filename` is None for a field."""

    name: str
    content: bytes
    filename: str | None = None


def read_parts(body: bytes, boundary: bytes) -> Iterator[Part]:
    """Yield at most 100 parts, up to the first syntax error. A part without a closing boundary is left out.

    Up to 100,000 bytes before the first boundary are ignored (RFC 2046, section 5.1.1).
    """
    marker = b"--" + re.escape(boundary)
    blanks = rb"[ \t]{0,100}"
    first = re.compile(rb"(?:\A|\n)" + marker + blanks + rb"(\r?)\n").search(body, 0, _PREAMBLE_BYTES)
    if first is None:
        return
    # The line end before a boundary belongs to the boundary, so a part's content can end with any bytes.
    line_end = b"\r\n" if first[1] else b"\n"
    start = first.end()
    following = re.compile(line_end + marker + rb"(--|" + blanks + rb"\r?\n)")
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
    """Return the part, or None if its headers name no field or are too long."""
    head_end = _HEAD_END.search(block, 0, _HEAD_BYTES)
    if head_end is None:
        return None
    for line in re.split(rb"\r?\n", _FOLD.sub(b" ", block[: head_end.start()])):
        header, _, value = line.partition(b":")
        if header.strip().lower() == b"content-disposition":
            _, options = parse_options_header(value.strip())
            name = options.get(b"name", b"").decode("utf-8", "replace")
            given = options.get(b"filename")
            filename = None if given is None else given.decode("utf-8", "replace")
            return Part(_BRACKETS.sub("", name), block[head_end.end() :], filename)
    return None
