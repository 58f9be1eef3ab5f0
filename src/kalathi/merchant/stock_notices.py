"""Notices about stock and prices that are not published. A person sees them in `kalathi merchant status`."""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Final

from kalathi.merchant.client import CallError, UnauthorizedError
from kalathi.merchant.context import Context
from kalathi.merchant.inbox.publications import Publication
from kalathi.merchant.publishing import Blocked, Obstacle

_UNREADABLE: Final = "stock unreadable"
_NO_PRICES: Final = "stock without prices"
_REFUSED: Final = "stock refused"
_PRICES: Final = "stock prices"
_NOT_TAKEN: Final = "stock not taken"
_GONE: Final = "stock gone"
_BROKEN: Final = "stock broken"
_NAMED: Final = 5
# So many products are compared with those of the last report.
_COMPARED: Final = 100
_LONGEST_ANSWER: Final = 100


class StockNotices:
    """Keeps one notice for each reason, and tells a person once about a new one."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._notices = context.inbox.notices
        self._publications = context.inbox.publications
        # By topic, the products of the last report. A person is told about new ones, not about a new line number.
        self._named: dict[str, frozenset[str]] = {}

    def report_blocked(self, blocked: Collection[Blocked], product_count: int) -> None:
        """Report the products whose number or price cannot be read, and those without a price."""
        blocked = sorted(blocked)
        unreadable = [entry for entry in blocked if entry.obstacle is Obstacle.UNREADABLE]
        without = [entry for entry in blocked if entry.obstacle is Obstacle.NO_PRICE]
        named = _join([f"{entry.product_id[:40]} ({entry.detail[:200]})" for entry in unreadable], len(unreadable))
        text = f"{_count(unreadable)} cannot be read and is not published: {named}"
        self._keep(_UNREADABLE, [entry.product_id for entry in unreadable], text)
        if len(without) == product_count:
            text = "the stock source has no prices, so nothing is published. Add the column price"
        else:
            named = _join([entry.product_id[:40] for entry in without], len(without))
            text = f"{_count(without)} has no price in the stock source and is not published: {named}"
        self._keep(_NO_PRICES, [entry.product_id for entry in without], text)

    def report_waiting_prices(self, share: Decimal) -> None:
        """Report the prices that fall by more than the share."""
        waiting = self._publications.list_waiting_prices(_COMPARED)
        prices = [f"{row.product_id} {row.waiting_price}" for row in waiting]
        named = _join([_describe_price(row) for row in waiting[:_NAMED]], len(waiting))
        text = (
            f"a price falls by more than {share:.0%}: {named}. The earlier price stays. If the new one is right, run:"
            " kalathi merchant allow-price"
        )
        self._keep(_PRICES, prices, text)

    def report_refused(self) -> None:
        """Report the products whose values the marketplace has not taken."""
        count = self._publications.count_failed()
        failed = self._publications.list_failed(_COMPARED)
        named = _join([f"{row.product_id[:40]} ({row.answer[:_LONGEST_ANSWER]})" for row in failed[:_NAMED]], count)
        products = "1 product" if count == 1 else f"{count} products"
        text = f"the marketplace has not taken the stock of {products}: {named}. See: kalathi merchant stock"
        self._keep(_REFUSED, [f"{row.product_id} {row.answer}" for row in failed], text)

    def report_not_taken(self, error: CallError) -> None:
        """Report that the marketplace takes no batch at all."""
        hint = "; is --products-token-file right?" if isinstance(error, UnauthorizedError) else ""
        self._keep(_NOT_TAKEN, [str(error)], f"the marketplace takes no stock and prices ({error}){hint}")

    def report_broken(self, error: Exception) -> None:
        """Report that publishing fails again and again for a reason of this machine, or because of a bug."""
        text = f"stock and prices cannot be published ({type(error).__name__}: {error}). The log has the details"
        self._keep(_BROKEN, [str(error)], text)

    def settle_broken(self) -> None:
        """Settle that notice, because publishing works again."""
        self._keep(_BROKEN, [], "")

    def settle_not_taken(self) -> None:
        """Settle that notice, because the marketplace has taken a batch."""
        self._keep(_NOT_TAKEN, [], "")

    def report_gone(self, count: int, product_count: int) -> None:
        """Report that the source has lost more products than it still has. A count of 0 settles the notice."""
        text = (
            f"the stock source no longer names {count} of the published products, and names only {product_count}. They"
            " stay on sale as they are. Check the source; if they are gone, take them off sale at the marketplace"
        )
        self._keep(_GONE, ["most products"] if count else [], text)

    def _keep(self, topic: str, found: Sequence[str], text: str) -> None:
        """Keep the notice while something is found, and settle it otherwise. Tell a person if something is new."""
        before, self._named[topic] = self._named.get(topic), frozenset(found)
        if not found:
            self._notices.settle(topic)
            return
        has_changed = self._notices.add(topic, text, self._context.clock())
        # The first report after a start is compared with the stored notice.
        if has_changed if before is None else not before >= self._named[topic]:
            self._context.tell_person(text)


def _count(entries: Sequence[object]) -> str:
    return "1 product" if len(entries) == 1 else f"each of {len(entries)} products"


def _join(named: Sequence[str], count: int) -> str:
    return ", ".join([*named[:_NAMED], *(["..."] if count > _NAMED else [])])


def _describe_price(row: Publication) -> str:
    before = "" if row.update is None else f"from {row.update.price / 100:.2f} "
    return f"{row.product_id[:40]} {before}to {(row.waiting_price or 0) / 100:.2f} €"
