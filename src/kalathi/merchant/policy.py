"""A shop's policy: the rules for answers without a person. It is a short TOML file:

    [orders]
    window = "last"            # Which pickup window on offer: "first" (default) or "last".
    location = "YlpD0KROym"    # The id of the pickup location. Default: the first on offer.
    parcels = 1
    person_above = 500         # In euros. Larger orders wait for a person.
    price_tolerance = 0.05     # In euros a piece. Larger differences from the shop's price wait for a person.

    [returns]
    approve = ["withdrawal"]   # Returns with only these reasons are approved.
    reject_late_withdrawals = false

Every line is optional.
"""

import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from kalathi.contract.words import ReturnReason
from kalathi.merchant.return_decisions import ReturnPolicy
from kalathi.texts import read_text


class PolicyError(ValueError):
    """The policy cannot be read. The sentence names the file and the error."""


class OrderPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for orders. Amounts are in euros; None means no limit."""

    window: Literal["first", "last"] = "first"
    location: str | None = None
    parcels: Annotated[int, Meta(ge=1)] = 1
    person_above: Decimal | None = None
    price_tolerance: Decimal | None = None


class _Returns(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    approve: tuple[ReturnReason, ...] = ()
    reject_late_withdrawals: bool = False


class _Written(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    orders: OrderPolicy = OrderPolicy()
    returns: _Returns = _Returns()


class Policy(Struct, frozen=True, kw_only=True):
    """The rules for orders and returns. `decide` is a shop's own Python function that replaces `decisions.decide`. It
    has the same arguments and answers, must be pure, and may call `decisions.decide`."""

    orders: OrderPolicy = field(default_factory=OrderPolicy)
    returns: ReturnPolicy = ReturnPolicy()
    decide: Callable[..., Any] | None = None


def read_policy(path: Path) -> Policy:
    """Read a policy from a TOML file. Raises PolicyError."""
    try:
        content = tomllib.loads(read_text(path), parse_float=Decimal)
        written = msgspec.convert(content, _Written)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise PolicyError(f"{path}: {error}") from error
    returns = ReturnPolicy(frozenset(written.returns.approve), written.returns.reject_late_withdrawals)
    return Policy(orders=written.orders, returns=returns)
