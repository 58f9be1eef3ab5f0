"""Lists of a shop's orders: search, filters and sorting.

A list without a search, sorted by the latest change, reads its page from an index, however many orders there are. Every
other list takes at most `MOST_MATCHES` matches and sorts them in memory: the orders that have waited longest if
deadlines count, else the latest. A list that was cut says so.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NamedTuple

from msgspec import Struct

from kalathi.contract.codec import decode
from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.money import total
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.model import FoundOrder, Order
from kalathi.marketplace.orders.search import store
from kalathi.marketplace.orders.search.store import Match, Matches, Span
from kalathi.marketplace.orders.search.words import list_words

MOST_MATCHES: Final = 2_000
# Counting all orders of a state took most of the time of a page with a million orders.
MOST_COUNTED: Final = 10_000
# The states in which the shop has to do something until a deadline.
_WAITING: Final = (OrderState.OPEN, OrderState.ACCEPTED)
_FAR: Final = datetime.max.replace(tzinfo=UTC)


class Sort(StrEnum):
    """The order of a list."""

    CHANGE = "change"
    DEADLINE = "deadline"
    DATE = "date"
    TOTAL = "total"


class Wanted(NamedTuple):
    """A shop's list of orders: the beginnings of their words, their marks, their states (all if empty), the span in
    which they were placed, and whether only overdue ones count."""

    shop_id: str
    beginnings: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    states: tuple[OrderState, ...] = ()
    span: Span | None = None
    is_overdue: bool = False
    sort: Sort = Sort.CHANGE

    @property
    def is_narrow(self) -> bool:
        """Whether it is limited by more than states."""
        return bool(self.beginnings or self.marks or self.span or self.is_overdue)


class Found(NamedTuple):
    """A page of a list, and the number of all its entries. `counts` has the number of orders by state, also of states
    that are not wanted. A number above `MOST_COUNTED` stands for any larger one. `was_cut`: there are more matches than
    were looked at."""

    orders: list[FoundOrder]
    entries: int
    counts: Mapping[str, int]
    was_cut: bool = False


class _Line(Struct):
    total_price: Decimal = Decimal(0)


class _Sorted(Struct):
    """The members of an order's document by which lists are sorted."""

    state: OrderState
    line_items: list[_Line]
    expires_at: datetime
    dispatch_until: datetime | None = None
    shipping_cost: Decimal = Decimal(0)
    fulfilled_by_skroutz: bool = False

    @property
    def deadline(self) -> datetime:
        """The end of the time for the shop's next step; far in the future without one."""
        return find_deadline(self.state, self.expires_at, self.dispatch_until, is_fbs=self.fulfilled_by_skroutz) or _FAR

    @property
    def total(self) -> Decimal:
        """The price of the lines and the shipping, in euros."""
        return total(line.total_price for line in self.line_items) + self.shipping_cost


def find_deadline(
    state: OrderState, expires_at: datetime, dispatch_until: datetime | None, *, is_fbs: bool
) -> datetime | None:
    """Return the end of the time for the shop's answer or for the dispatch. None if the shop has nothing to do: an
    order from the marketplace's warehouse is no work for it."""
    if is_fbs or state not in _WAITING:
        return None
    return expires_at if state is OrderState.OPEN else dispatch_until


def list_orders(view: View, wanted: Wanted, now: datetime, limit: int, offset: int, most: int = MOST_MATCHES) -> Found:
    """Return a page of the list. `most` is the largest number of matches that are looked at."""
    states = wanted.states or tuple(OrderState)
    if not wanted.is_narrow and wanted.sort is Sort.CHANGE:
        every = store.count_by_state(view, wanted.shop_id, MOST_COUNTED + 1)
        entries = sum(every.get(state, 0) for state in states)
        last = min(limit, max(entries - offset, 0))
        page = orders.page_of_shop(view, wanted.shop_id, states, 0, last, offset) if last else []
        return Found(page, entries, every)
    matches, was_cut = _find(view, wanted, states, most)
    documents: dict[str, _Sorted] = {}
    if wanted.is_overdue or wanted.sort in {Sort.DEADLINE, Sort.TOTAL}:
        codes = [match.code for match in matches if match.state in states or wanted.is_overdue]
        read = store.load_orders(view, wanted.shop_id, codes)
        documents = {code: decode(found.document, _Sorted) for code, found in read.items()}
    if wanted.is_overdue:
        matches = [match for match in matches if match.code in documents and documents[match.code].deadline <= now]
    counts = Counter(match.state for match in matches) if wanted.is_narrow else None
    listed = sorted((match for match in matches if match.state in states), key=_sort_key(wanted.sort, documents))
    shown = listed[offset : offset + limit]
    loaded = store.load_orders(view, wanted.shop_id, [match.code for match in shown])
    return Found(
        [loaded[match.code] for match in shown if match.code in loaded],
        len(listed),
        store.count_by_state(view, wanted.shop_id, MOST_COUNTED + 1) if counts is None else counts,
        was_cut,
    )


def _find(view: View, wanted: Wanted, states: Collection[OrderState], most: int) -> Matches:
    waits = wanted.is_overdue or wanted.sort is Sort.DEADLINE
    if wanted.beginnings or wanted.marks:
        matches = store.find_by_words(view, wanted.shop_id, wanted.beginnings, wanted.marks, wanted.span, most)
    elif wanted.span is not None:
        matches = store.find_by_time(view, wanted.shop_id, wanted.span, most)
    else:
        # The tabs of a list of overdue orders count both states.
        looked_at: Iterable[OrderState] = _WAITING if wanted.is_overdue else states
        return store.find_by_change(view, wanted.shop_id, looked_at, most, is_oldest_first=waits)
    return _find_among(view, wanted, matches, most) if matches.was_cut and (wanted.states or waits) else matches


def _find_among(view: View, wanted: Wanted, matches: Matches, most: int) -> Matches:
    """Look for matches among the orders of the wanted states, if there are few of them: a search with too many matches
    can miss these."""
    states = wanted.states or _WAITING
    few = store.find_by_change(view, wanted.shop_id, states, most)
    if few.was_cut:
        return matches
    read = store.load_orders(view, wanted.shop_id, [match.code for match in few.found])
    found = [match for match in few.found if match.code in read and _has_words(read[match.code].order, wanted)]
    others = [match for match in matches.found if match.state not in states]
    is_complete = bool(wanted.states) or wanted.is_overdue
    return Matches(found + others, was_cut=not is_complete)


def _has_words(order: Order, wanted: Wanted) -> bool:
    words, placed = list_words(order), to_millis(order.created_at)
    return (
        all(any(word.startswith(beginning) for word in words) for beginning in wanted.beginnings)
        and words.issuperset(wanted.marks)
        and (wanted.span is None or wanted.span.since_millis <= placed < wanted.span.until_millis)
    )


def _sort_key(sort: Sort, documents: Mapping[str, _Sorted]) -> Callable[[Match], tuple[Any, ...]]:
    match sort:
        case Sort.DEADLINE:
            return lambda match: (documents[match.code].deadline, match.code) if match.code in documents else (_FAR, "")
        case Sort.TOTAL:
            return lambda match: (-documents[match.code].total if match.code in documents else 0, match.code)
        case Sort.DATE:
            return lambda match: (-match.created_at, match.code)
        case Sort.CHANGE:
            return lambda match: (-match.updated_at, match.code)
