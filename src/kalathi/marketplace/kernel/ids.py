"""Ids and codes. Ids are opaque and random. Codes come from a counter, scrambled with a key of the installation, so
that they do not reveal how many orders the marketplace has."""

import hashlib
import secrets
from datetime import date
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CODE_RANGE: Final = 10_000_000  # seven digits
_HALF: Final = 4096  # two halves of twelve bits hold every seven-digit number
_ROUNDS: Final = tuple(bytes([number]) for number in range(4))
CODE_KEY_BYTES: Final = 32


def opaque_id() -> str:
    """Return ten random characters such as `YlpD0KROym` (docs/contract.md#section-1): 59 bits, so collisions are
    practically impossible."""
    value = int.from_bytes(secrets.token_bytes(8))
    characters = []
    for _ in range(10):
        value, digit = divmod(value, 62)
        characters.append(_ALPHABET[digit])
    return "".join(characters)


def secret_token() -> str:
    """An unguessable text of 64 random bytes, safe in a URL and in a header (docs/decisions/0014)."""
    return secrets.token_urlsafe(64)


def scramble(number: int, key: bytes) -> int:
    """Map the seven-digit numbers onto themselves, in an order that depends on a secret key.

    Four Feistel rounds over 24 bits with a keyed hash (BLAKE2, RFC 7693), repeated until the result has seven digits
    again (M. Luby, C. Rackoff 1988; J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", 2002). 6 µs.
    """
    while True:
        left, right = divmod(number, _HALF)
        for mark in _ROUNDS:
            digest = hashlib.blake2b(mark + right.to_bytes(2), digest_size=2, key=key).digest()
            left, right = right, left ^ int.from_bytes(digest) % _HALF
        number = left * _HALF + right
        if number < _CODE_RANGE:
            return number


def return_code(day: date, number: int, key: bytes) -> str:
    """Return a return code, `R-YYMMDD-NNNNNNN`, as unique as an order code."""
    return f"R-{order_code(day, number, key)}"


def purchase_order_code(day: date, number: int, key: bytes) -> str:
    """Return the code of a purchase order, `YYMMDD-NNNN-NNNN`, as unique as an order code."""
    digits = f"{scramble(number % _CODE_RANGE, key):08d}"
    return f"{day:%y%m%d}-{digits[:4]}-{digits[4:]}"


def order_code(day: date, number: int, key: bytes) -> str:
    """`YYMMDD-NNNNNNN` of a business day in Athens; unique as long as a day has fewer than ten million orders."""
    return f"{day:%y%m%d}-{scramble(number % _CODE_RANGE, key):07d}"
