"""Promised pieces: those of orders that are open at the marketplace. The published number is made without them.

The marketplace subtracts the pieces of an order from its own number when a customer orders, and adds them again if the
order ends before its dispatch. Its number can be a stale one, and ours can change in the same moment. So the products
of every new order and of every order that ends are published again, even if our number is the last published one.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from kalathi.contract.orders import Order
from kalathi.contract.words import OrderState
from kalathi.merchant.decisions import claims
from kalathi.merchant.inbox.publications import Publications
from kalathi.merchant.inbox.reservations import Claim
from kalathi.merchant.stock import Shelf

_PATIENCE_SECONDS: Final = 600.0


class Promises:
    """The open orders of this run. They are kept in memory, because each start fetches every open order again."""

    def __init__(self, publications: Publications) -> None:
        self._publications = publications
        self._open: dict[str, Sequence[Claim]] = {}
        self._accepted: set[str] = set()
        # The orders that this run has not fetched yet; None before the first reconciliation.
        self._awaited: set[str] | None = None
        self._awaited_since = 0.0

    def await_orders(self, codes: Iterable[str], now: float) -> None:
        """Record the orders to fetch after a reconciliation (seconds since 1970). Only the first call counts."""
        if self._awaited is None:
            self._awaited, self._awaited_since = set(codes), now

    def are_known(self, now: float) -> bool:
        """Whether the orders of the marketplace are known, so that no number is too high. An order that cannot be
        fetched for ten minutes is not waited for."""
        if self._awaited is None:
            return False
        return not self._awaited or not 0 <= now - self._awaited_since < _PATIENCE_SECONDS

    def note(self, order: Order, *, has_ended: bool) -> None:
        """Record the pieces of an order as it is now. `has_ended`: its pieces will not be sent."""
        code, wanted = order.code, [] if order.fulfilled_by_skroutz else claims(order)
        is_active = order.state in {OrderState.OPEN, OrderState.ACCEPTED}
        is_new = is_active and code not in self._open and code not in self._accepted
        if is_new or has_ended:
            # Before the memory changes: if this fails, the next look at the order repeats it.
            self._publications.note_moved({uid for claim in wanted for uid in claim.uids if uid})
        self.drop(code)
        if order.state == OrderState.OPEN:
            self._open[code] = wanted
        elif is_active:
            self._accepted.add(code)

    def drop(self, code: str) -> None:
        """Forget an order, for example one that the marketplace does not know."""
        self._open.pop(code, None)
        self._accepted.discard(code)
        if self._awaited is not None:
            self._awaited.discard(code)

    def list_open(self) -> list[str]:
        """Return the open orders."""
        return list(self._open)

    def pieces(self, shelf: Shelf, reserved: Collection[str]) -> Counter[str]:
        """Return the promised pieces by the uids under which the source counts them. `reserved`: the orders with
        reserved pieces, which count as such."""
        found: Counter[str] = Counter()
        for claim in (claim for code, some in self._open.items() if code not in reserved for claim in some):
            found[shelf.uid_of(claim.uids) or claim.uids[-1]] += claim.quantity
        return found
