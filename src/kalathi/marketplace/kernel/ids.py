"""Ids and codes. Ids are opaque and random; order codes come from a counter, scrambled so that they tell no volume."""

import secrets
from datetime import date
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CODE_RANGE: Final = 10_000_000  # seven digits
_HALF: Final = 4096  # two halves of twelve bits hold every seven-digit number
_ROUND_KEYS: Final = (0x9E3B, 0x79B9, 0x7F4A, 0x7C15)


def opaque_id() -> str:
    """Ten characters such as `YlpD0KROym` (contract, section 1): 59 random bits, so that a collision is not met."""
    value = int.from_bytes(secrets.token_bytes(8))
    characters = []
    for _ in range(10):
        value, digit = divmod(value, 62)
        characters.append(_ALPHABET[digit])
    return "".join(characters)


def secret_token() -> str:
    """An unguessable text of 64 random bytes, safe in a URL and in a header (DESIGN, decision 14)."""
    return secrets.token_urlsafe(64)


def scramble(number: int) -> int:
    """A bijection of the seven-digit numbers: four Feistel rounds over 24 bits, walked until the result has seven
    digits again (M. Luby, C. Rackoff 1988; J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", 2002)."""
    while True:
        left, right = divmod(number, _HALF)
        for key in _ROUND_KEYS:
            left, right = right, left ^ ((right * right + right * key + (key >> 3)) >> 5) % _HALF
        number = left * _HALF + right
        if number < _CODE_RANGE:
            return number


def return_code(day: date, number: int) -> str:
    """`R-YYMMDD-NNNNNNN`, unique as order codes are."""
    return f"R-{order_code(day, number)}"


def purchase_order_code(day: date, number: int) -> str:
    """`YYMMDD-NNNN-NNNN`, unique as order codes are."""
    digits = f"{scramble(number % _CODE_RANGE):08d}"
    return f"{day:%y%m%d}-{digits[:4]}-{digits[4:]}"


def order_code(day: date, number: int) -> str:
    """`YYMMDD-NNNNNNN` of a business day in Athens; unique as long as a day has fewer than ten million orders."""
    return f"{day:%y%m%d}-{scramble(number % _CODE_RANGE):07d}"
