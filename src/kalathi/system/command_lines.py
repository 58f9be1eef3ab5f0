"""Split the command line that a user gives in a setting."""

import shlex
import sys

_ESCAPES = "" if sys.platform == "win32" else "\\"


def split_command(text: str) -> list[str]:
    """Return the words of a command line. Quotes group words. A backslash protects the next character; on Windows it
    separates folders and protects nothing. Raises ValueError if a quote is not closed."""
    words = shlex.shlex(text, posix=True)
    words.whitespace_split = True
    words.commenters = ""
    words.escape = _ESCAPES
    return list(words)
