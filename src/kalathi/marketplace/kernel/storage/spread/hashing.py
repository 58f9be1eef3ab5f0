"""The hash by which a row's node is chosen: PostgreSQL's own for texts (Jenkins' lookup3), so that no server is asked.

Each process compares it with the server's when it opens the database (`nodes.py`).
"""

from functools import lru_cache
from typing import Final

_MASK: Final = 0xFFFFFFFF
# PostgreSQL's start value: the golden ratio, and a number of its own.
_START: Final = 0x9E3779B9 + 3923095


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _rotate(c, bits)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _finish(a: int, b: int, c: int) -> int:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotate(b, bits)) & _MASK
        a, b, c = b, c, a
    return b


@lru_cache(maxsize=100_000)
def hash_text(text: str) -> int:
    """Return PostgreSQL's `hashtext(text)` in a collation that compares bytes: a signed number of 32 bits."""
    data = text.encode()
    a = b = c = (_START + len(data)) & _MASK
    whole = len(data) // 12 * 12
    for at in range(0, whole, 12):
        a = (a + int.from_bytes(data[at : at + 4], "little")) & _MASK
        b = (b + int.from_bytes(data[at + 4 : at + 8], "little")) & _MASK
        c = (c + int.from_bytes(data[at + 8 : at + 12], "little")) & _MASK
        a, b, c = _mix(a, b, c)
    rest = data[whole:]
    a = (a + int.from_bytes(rest[:4], "little")) & _MASK
    b = (b + int.from_bytes(rest[4:8], "little")) & _MASK
    # The lowest byte of the last number is kept for the length.
    c = (c + (int.from_bytes(rest[8:], "little") << 8)) & _MASK
    result = _finish(a, b, c)
    return result - 2**32 if result >= 2**31 else result
