"""Text files that people write by hand, on every system: settings, a policy, a token."""

import codecs
from pathlib import Path

# Windows PowerShell writes UTF-16 with a byte order mark; editors on Windows write UTF-8 with one.
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path) -> str:
    """Return the text of a file, in UTF-8 or in the encoding of its byte order mark, without the mark.

    Raises OSError, UnicodeDecodeError.
    """
    content = path.read_bytes()
    encoding = next((encoding for mark, encoding in _ENCODINGS if content.startswith(mark)), "utf-8")
    return content.decode(encoding)
