"""Money is `Decimal` in euros, at most two decimals; rounding is half up and happens once (docs/decisions/0010)."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
# A price above this is a mistake; the bound also keeps every sum far from the limits of any database.
LARGEST_AMOUNT = Decimal(10_000_000)


def as_amount(value: Decimal) -> Decimal | None:
    """Return the amount in whole cents. Return None if it is not finite, is negative, has parts of a cent, or is above
    the bound.

    The result always has two decimals, for example for `1E+3` and `10.4000`.
    """
    return _exact(value, CENT, LARGEST_AMOUNT)


def as_rate(value: Decimal) -> Decimal | None:
    """Return a rate from 0 to 100 percent with at most two decimals, or None for any other value."""
    return _exact(value, CENT, Decimal(100))


def _exact(value: Decimal, step: Decimal, largest: Decimal) -> Decimal | None:
    if not value.is_finite() or value < 0 or value > largest:
        return None
    exact = abs(value).quantize(step)  # -0 becomes 0.
    return exact if exact == value else None


def commission_of(total_price: Decimal, rate_percent: Decimal) -> Decimal:
    """A line's commission in euros: total price times rate, rounded half up to cents, once."""
    return (total_price * rate_percent / 100).quantize(CENT, ROUND_HALF_UP)


def without_vat(amount: Decimal, vat_rate_percent: Decimal) -> Decimal:
    """Return a price without the VAT that it includes, rounded half up to cents."""
    return (amount * 100 / (100 + vat_rate_percent)).quantize(CENT, ROUND_HALF_UP)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum; amounts are whole cents already, so nothing is rounded."""
    return sum(amounts, Decimal(0))
