"""The filter of a shop's list of orders, as it stands in the page's address."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlencode

from kalathi.contract.words import TRACKING_COURIERS, Courier, OrderState
from kalathi.marketplace.kernel.clock import ATHENS, to_millis
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.orders.search.listing import Sort, Wanted
from kalathi.marketplace.orders.search.store import Span
from kalathi.marketplace.orders.search.words import OrderKind, mark_courier, mark_kind, read_search
from kalathi.marketplace.panel.refusals import NoSuchChoice, NotADay

Choice = TypeVar("Choice", bound=StrEnum)

COURIERS: Final = tuple(dict.fromkeys([*Courier, *TRACKING_COURIERS.values()]))
# The first and the last day of a filter that has only one of them.
_FIRST_DAY: Final = date(2000, 1, 1)
_LAST_DAY: Final = date(9000, 1, 1)
_LONGEST_SEARCH: Final = 200
# The search for a text without letters and digits: no word and no mark begins with it.
_IN_NO_ORDER: Final = "=="


class OrderListFilter(NamedTuple):
    """`?q=&state=&from=&to=&courier=&kind=&overdue=&sort=`; empty values do not limit the list. The days are days of
    placing in Athens, both included."""

    text: str
    state: OrderState | None
    first_day: date | None
    last_day: date | None
    courier: str
    kind: OrderKind | None
    is_overdue: bool
    sort: Sort

    @property
    def query(self) -> str:
        """The filter as the part of an address after the question mark, without empty values."""
        values = {
            "q": self.text,
            "state": self.state or "",
            "from": self.first_day or "",
            "to": self.last_day or "",
            "courier": self.courier,
            "kind": self.kind or "",
            "overdue": "1" if self.is_overdue else "",
            "sort": "" if self.sort is default_sort(self.state) else self.sort,
        }
        return urlencode({name: str(value) for name, value in values.items() if value})

    @property
    def is_limited(self) -> bool:
        """Whether the list is limited by anything but the state and the search."""
        return bool(self.first_day or self.last_day or self.courier or self.kind or self.is_overdue)

    @property
    def is_narrow(self) -> bool:
        """Whether the list is limited by anything but the state."""
        return bool(self.text) or self.is_limited

    def read_for(self, shop_id: str) -> Wanted:
        """Return the orders that the list has."""
        marks = [mark_courier(self.courier)] if self.courier else []
        marks += [mark_kind(self.kind)] if self.kind else []
        beginnings = read_search(self.text) or ((_IN_NO_ORDER,) if self.text else ())
        return Wanted(
            shop_id,
            beginnings,
            tuple(marks),
            (self.state,) if self.state else (),
            _span_of(self.first_day, self.last_day),
            self.is_overdue,
            self.sort,
        )


def read_filter(query: Mapping[str, str]) -> OrderListFilter:
    """Return the filter of a query. Open orders are sorted by their deadline unless the query names another order.
    Raises INVALID_PARAMETER for an unknown choice and for an unreadable day."""
    state = _choose(OrderState, query.get("state", ""))
    courier = query.get("courier", "")
    if courier and courier not in COURIERS:
        raise refuse(NoSuchChoice())
    return OrderListFilter(
        " ".join(query.get("q", "").split())[:_LONGEST_SEARCH],
        state,
        _read_day(query.get("from", "")),
        _read_day(query.get("to", "")),
        courier,
        _choose(OrderKind, query.get("kind", "")),
        query.get("overdue", "") not in {"", "0"},
        _choose(Sort, query.get("sort", "")) or default_sort(state),
    )


def default_sort(state: OrderState | None) -> Sort:
    """Return the sorting of a list that names none."""
    return Sort.DEADLINE if state is OrderState.OPEN else Sort.CHANGE


def _choose(choices: type[Choice], word: str) -> Choice | None:
    if not word:
        return None
    try:
        return choices(word)
    except ValueError:
        raise refuse(NoSuchChoice()) from None


def _read_day(text: str) -> date | None:
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise refuse(NotADay()) from None


def _span_of(first: date | None, last: date | None) -> Span | None:
    if first is None and last is None:
        return None
    after = (min(last, _LAST_DAY) if last else _LAST_DAY) + timedelta(days=1)
    return Span(_begin(max(first or _FIRST_DAY, _FIRST_DAY)), _begin(after))


def _begin(day: date) -> int:
    return to_millis(datetime(day.year, day.month, day.day, tzinfo=ATHENS))
