"""Letters on labels: those that the fonts can show, and those that are left out.

The fonts show Latin, Greek and Cyrillic letters. An address in another script prints as boxes, and a courier in Greece
could not read it either, so the order says that its address needs a person.
"""

import re
import unicodedata
from typing import Final

# Letters that the fonts show: Latin, combining marks, Greek, Cyrillic, accented Latin and Greek, punctuation, € № ™.
_SHOWN: Final = (
    "\u0020-\u007e\u00a0-\u024f\u0300-\u036f\u0370-\u0377\u037a-\u037f\u0384-\u03ff\u0400-\u04ff\u1e00-\u1eff\u1f00-\u1ffe"
    "\u2010-\u2027\u2030-\u203a\u20ac\u2116\u2122"
)
_NOT_SHOWN: Final = re.compile(f"[^{_SHOWN}]")
# Control, format (direction marks, zero-width), private, surrogate and unassigned characters, but for white space.
_LEFT_OUT: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
# Two lines of a label.
LONGEST_NAME: Final = 60


def printable(text: str) -> str:
    """Return the text without control and direction characters, composed (NFC), with single spaces."""
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    kept = "".join(letter for letter in composed if unicodedata.category(letter) not in _LEFT_OUT)
    return " ".join(kept.split())


def shorten(name: str) -> str:
    """Return a name that fits on two lines of a label."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1].rstrip()}…"


def unreadable_letters(*texts: str) -> str:
    """Return the letters of printable texts that the fonts cannot show, each once."""
    return "".join(dict.fromkeys(letter for text in texts for letter in _NOT_SHOWN.findall(text)))
