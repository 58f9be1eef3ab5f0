"""A shop's policy: the rules for answers without a person. Small enough to be read whole; written in TOML:

[orders] window = "last" # of the pickup windows on offer; "first" unless told location = "YlpD0KROym" # where the
courier picks up; the first on offer unless told parcels = 1 person_above = 500 # euros: bigger orders wait for a person
price_tolerance = 0.05 # euros a piece: other differences from the shop's own price wait for a person

[returns] approve = ["withdrawal"] reject_late_withdrawals = false
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
    """The policy cannot be read; the sentence says where."""


class OrderPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How orders are answered. Amounts in euros; None: no such limit."""

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
    """Both parts. `decide` is a shop's own decision in Python in place of `decisions.decide`, which it may call: the
    same arguments, the same answers, and pure as that is."""

    orders: OrderPolicy = field(default_factory=OrderPolicy)
    returns: ReturnPolicy = ReturnPolicy()
    decide: Callable[..., Any] | None = None


def read_policy(path: Path) -> Policy:
    """The policy of a file. Raises PolicyError."""
    try:
        content = tomllib.loads(read_text(path), parse_float=Decimal)
        written = msgspec.convert(content, _Written)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise PolicyError(f"{path}: {error}") from error
    returns = ReturnPolicy(frozenset(written.returns.approve), written.returns.reject_late_withdrawals)
    return Policy(orders=written.orders, returns=returns)
