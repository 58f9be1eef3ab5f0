"""Promised pieces: those of orders that are open at the marketplace. The published number is made without them.

The marketplace subtracts the pieces of an order from its own number when a customer orders, and adds them again if the
order ends before its dispatch. Its number can be a stale one, and ours can change in the same moment. So the products
of every new order and of every order that ends are published again, even if our number is the last published one.
"""

from collections import Counter
from collections.abc import Sequence

from kalathi.contract.orders import Order
from kalathi.contract.words import OrderState
from kalathi.merchant.decisions import claims
from kalathi.merchant.inbox.publications import Publications
from kalathi.merchant.inbox.reservations import Claim
from kalathi.merchant.stock import Shelf


class Promises:
    """The open orders of this run. They are kept in memory, because each start fetches every open order again."""

    def __init__(self, publications: Publications) -> None:
        self._publications = publications
        self._open: dict[str, Sequence[Claim]] = {}
        self._accepted: set[str] = set()

    def note(self, order: Order, *, has_ended: bool) -> None:
        """Record the pieces of an order as it is now. `has_ended`: its pieces will not be sent."""
        if order.fulfilled_by_skroutz:
            return
        code, wanted = order.code, claims(order)
        is_new = code not in self._open and code not in self._accepted
        self._open.pop(code, None)
        self._accepted.discard(code)
        if order.state == OrderState.OPEN:
            self._open[code] = wanted
        elif order.state == OrderState.ACCEPTED:
            self._accepted.add(code)
        else:
            is_new = False
        if is_new or has_ended:
            self._publications.note_moved({uid for claim in wanted for uid in claim.uids if uid})

    def keep(self, code: str) -> None:
        """Count an order no longer, because its pieces are reserved now."""
        self._open.pop(code, None)
        self._accepted.add(code)

    def pieces(self, shelf: Shelf) -> Counter[str]:
        """Return the promised pieces by the uids under which the source counts them."""
        found: Counter[str] = Counter()
        for claim in (claim for some in self._open.values() for claim in some):
            found[shelf.uid_of(claim.uids) or claim.uids[-1]] += claim.quantity
        return found
