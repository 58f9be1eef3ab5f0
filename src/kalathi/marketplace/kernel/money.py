"""Money is `Decimal` in euros, at most two decimals; rounding is half up and happens once (DESIGN, decision 10)."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
# A price above this is a mistake; the bound also keeps every sum far from the limits of any database.
LARGEST_AMOUNT = Decimal(10_000_000)


def is_amount(value: Decimal) -> bool:
    """Whether this can be an amount of money: finite, not negative, whole cents, below the bound."""
    return value.is_finite() and 0 <= value <= LARGEST_AMOUNT and value == value.quantize(CENT)


def commission_of(total_price: Decimal, rate_percent: Decimal) -> Decimal:
    """A line's commission in euros: total price times rate, rounded half up to cents, once."""
    return (total_price * rate_percent / 100).quantize(CENT, ROUND_HALF_UP)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum; amounts are whole cents already, so nothing is rounded."""
    return sum(amounts, Decimal(0))
