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

    [stock]                    # With --publish-stock.
    buffer = 1                 # Pieces of each product that are not offered. Default: 0.
    buffers = { "MEM-64" = 3 } # Other numbers of single products.
    disable_at_zero = true     # A product without pieces is taken off sale. Default: it stays, with 0 pieces.
    largest_price_fall = 0.3   # A price that falls by more than this share waits for a person. Default: 0.5.
    full_at_hour = 3           # The hour in Athens at which everything is sent again.

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


class StockPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for published stock and prices."""

    # Pieces that are kept back from the marketplace, and other numbers of single products.
    buffer: Annotated[int, Meta(ge=0)] = 0
    buffers: dict[str, Annotated[int, Meta(ge=0)]] = field(default_factory=dict)
    # Whether a product without pieces is taken off sale too.
    disable_at_zero: bool = False
    # The largest share by which a price may fall without a person.
    largest_price_fall: Decimal = Decimal("0.5")
    # The hour in Athens at which everything is compared and sent again.
    full_at_hour: Annotated[int, Meta(ge=0, le=23)] = 3

    def buffer_of(self, uid: str, product_id: str) -> int:
        """Return the pieces that are kept back: of the variation, else of its product, else of every product."""
        return self.buffers.get(uid, self.buffers.get(product_id, self.buffer))


class _Returns(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    approve: tuple[ReturnReason, ...] = ()
    reject_late_withdrawals: bool = False


class _Written(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    orders: OrderPolicy = OrderPolicy()
    returns: _Returns = _Returns()
    stock: StockPolicy = field(default_factory=StockPolicy)


class Policy(Struct, frozen=True, kw_only=True):
    """The rules for orders and returns. `decide` is a shop's own Python function that replaces `decisions.decide`. It
    has the same arguments and answers, must be pure, and may call `decisions.decide`."""

    orders: OrderPolicy = field(default_factory=OrderPolicy)
    returns: ReturnPolicy = ReturnPolicy()
    stock: StockPolicy = field(default_factory=StockPolicy)
    decide: Callable[..., Any] | None = None


def read_policy(path: Path) -> Policy:
    """Read a policy from a TOML file. Raises PolicyError."""
    try:
        content = tomllib.loads(read_text(path), parse_float=Decimal)
        written = msgspec.convert(content, _Written)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise PolicyError(f"{path}: {error}") from error
    if not 0 <= written.stock.largest_price_fall <= 1:
        raise PolicyError(f"{path}: stock.largest_price_fall is a share from 0 to 1, such as 0.3")
    returns = ReturnPolicy(frozenset(written.returns.approve), written.returns.reject_late_withdrawals)
    return Policy(orders=written.orders, returns=returns, stock=written.stock)
