"""Numbers of a stock source: whole pieces and prices, written as shops write them.

An ambiguous text is refused with the reason. For example, `1.000` is one piece in an English file and a thousand in a
Greek one. It is refused unless the shop has configured the decimal sign (`--stock-decimal`). Typed numbers of JSON and
SQL are never ambiguous.
"""

import math
import re
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal

DecimalSign = Literal[".", ","]

_MOST_PIECES: Final = 999_999_999
_LONGEST_TEXT: Final = 40
# Spaces that group thousands: the plain one, the no-break ones, and the thin ones.
_SPACES: Final = re.compile("[\u00a0\u2007\u2009\u202f]")
_SIGNED: Final = re.compile(r"([+-]?)([0-9., ]*[0-9][0-9., ]*)")
_GROUPED: Final = re.compile(r"[1-9][0-9]{0,2}(?:([., ])[0-9]{3})(?:\1[0-9]{3})*")
_CURRENCY: Final = re.compile(r"(?i)^\s*(?:€|eur)\s*|\s*(?:€|eur)\s*$")


class UnreadableNumberError(ValueError):
    """The value is not a number, or it is ambiguous. The sentence gives the reason."""


def read_quantity(value: object, decimal_sign: DecimalSign | None = None) -> int:
    """Return whole pieces. A negative number counts as zero, because shops use it for pieces that they owe.

    Raises UnreadableNumberError.
    """
    number = _number(value, decimal_sign, "quantity")
    if number != number.to_integral_value():
        raise UnreadableNumberError(f"the quantity {_show_value(value)} is not a whole number of pieces")
    if abs(number) > _MOST_PIECES:
        raise UnreadableNumberError(f"the quantity {_show_value(value)} is more than {_MOST_PIECES} pieces")
    return max(int(number), 0)


def read_price(value: object, decimal_sign: DecimalSign | None = None) -> Decimal | None:
    """Return a price in euros, or None where there is none. A text may carry a euro sign.

    Raises UnreadableNumberError.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    number = _number(_CURRENCY.sub("", value) if isinstance(value, str) else value, decimal_sign, "price")
    if number < 0 or number > _MOST_PIECES:
        raise UnreadableNumberError(f"the price {_show_value(value)} is not the price of a product")
    return number


def _number(value: object, decimal_sign: DecimalSign | None, what: str) -> Decimal:
    if isinstance(value, bytes | bytearray):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        # Most numbers are short and plain, and there are a hundred thousand of them.
        return Decimal(value) if value.isdecimal() and value.isascii() else _number_of_text(value, decimal_sign, what)
    if value is None:
        raise UnreadableNumberError(f"there is no {what}")
    if isinstance(value, float | Decimal) and math.isfinite(value):
        return Decimal(str(value))
    if isinstance(value, int) and not isinstance(value, bool):
        # Limit huge numbers before they are converted.
        return Decimal(max(min(value, _MOST_PIECES + 1), -_MOST_PIECES - 1))
    raise UnreadableNumberError(f"the {what} {_show_value(value)} is not a number")


@lru_cache(maxsize=4096)
def _number_of_text(text: str, decimal_sign: DecimalSign | None, what: str) -> Decimal:
    stripped = _SPACES.sub(" ", text).strip()
    if not stripped:
        raise UnreadableNumberError(f"there is no {what}")
    signed = _SIGNED.fullmatch(stripped) if len(stripped) <= _LONGEST_TEXT else None
    if signed is None:
        raise UnreadableNumberError(f"the {what} {_show_value(text)} is not a number")
    sign, digits = signed.groups()
    point = decimal_sign or _decimal_sign_of(digits, text, what)
    whole, _, fraction = digits.partition(point)
    if not re.fullmatch("[0-9]*", fraction) or not (re.fullmatch("[0-9]*", whole) or _GROUPED.fullmatch(whole)):
        chosen = f" with {decimal_sign!r} before the decimals (--stock-decimal)" if decimal_sign else ""
        raise UnreadableNumberError(f"the {what} {_show_value(text)} is not a number{chosen}")
    return Decimal(f"{sign}{re.sub('[., ]', '', whole) or '0'}.{fraction or '0'}")


def _decimal_sign_of(digits: str, text: str, what: str) -> str:
    """Return the decimal sign that the text itself shows, or NUL, which is not in the text, if it has no decimals."""
    signs = [character for character in digits if character in "., "]
    if not signs or signs[-1] == " " or signs.count(signs[-1]) > 1:
        return "\0"  # A repeated sign can only group thousands.
    point = signs[-1]
    whole, _, fraction = digits.partition(point)
    # If there is another sign, it groups the thousands, and the last one is the decimal sign.
    if len(signs) == 1 and len(fraction) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0"):
        raise UnreadableNumberError(
            f"the {what} {_show_value(text)} may mean {whole} or {whole}{fraction}."
            " Say which sign stands before the decimals with --stock-decimal"
        )
    return point


def _show_value(value: object) -> str:
    text = str(value)
    return f'"{text[:_LONGEST_TEXT]}..."' if len(text) > _LONGEST_TEXT else f'"{text}"'
