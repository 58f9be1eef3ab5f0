"""The operator's list of orders. With a shop, it has the shop's own filters and search. Without one, it has the latest
orders of all shops, by state or by code."""

from datetime import datetime
from typing import Any, Final, NamedTuple

from kalathi.contract.words import OrderState
from kalathi.marketplace.figures.store import load_state_counts
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.search.listing import MOST_COUNTED, MOST_MATCHES, Sort
from kalathi.marketplace.orders.search.words import OrderKind
from kalathi.marketplace.panel.lists import is_code, locate_page, read_page, row_of
from kalathi.marketplace.panel.operator.overview import mark_place
from kalathi.marketplace.panel.pages import Answer, Shown
from kalathi.marketplace.panel.shop.order_filter import COURIERS, OrderListFilter, default_sort, read_filter
from kalathi.marketplace.panel.shop.orders import STATES, find_listed
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.web.paging import Page

# Without a shop, a state is looked for among as many of the latest orders.
MOST_LATEST: Final = 20_000
_MOST_CODES: Final = 500


class _Listed(NamedTuple):
    """A page of the list. `counts` are the numbers of the tabs; `hint` says why orders may be missing."""

    orders: list[FoundOrder]
    entries: int
    counts: dict[str, int]
    was_cut: bool = False
    hint: str = ""


async def list_orders(visit: Visit) -> Answer:
    """`?shop=&q=&state=&from=&to=&courier=&kind=&overdue=&sort=&page=`. Raises INVALID_PARAMETER."""
    wanted, page = read_filter(visit.query), read_page(visit.query)
    shop_id, now = visit.query.get("shop", ""), visit.context.clock.now()
    mark = mark_place(visit, "orders")

    def query(view: View) -> tuple[_Listed, list[tuple[str, str]]]:
        named = sorted((shop.name, shop.id) for shop in shops.shops(view))
        return _list(view, shop_id, wanted, page, now), named

    found, named = await visit.context.database.read_list(query)
    content: dict[str, Any] = {
        "rows": [row_of(entry, now, visit.words) for entry in found.orders],
        "position": locate_page(page, found.entries, MOST_COUNTED),
        "wanted": wanted,
        "tabs": [(state, found.counts.get(state, 0)) for state in STATES],
        "every": sum(found.counts.values()),
        "most": MOST_MATCHES if found.was_cut else 0,
        "most_counted": MOST_COUNTED if shop_id else 0,
        "most_latest": MOST_LATEST,
        "most_codes": _MOST_CODES,
        "hint": found.hint,
        "couriers": COURIERS,
        "kinds": tuple(OrderKind),
        "sorts": tuple(Sort),
        "default_sort": default_sort(wanted.state),
        "shops": named,
        "shop_id": shop_id,
        "seen": mark,
    }
    return Shown("operator/orders.html", content)


def _list(view: View, shop_id: str, wanted: OrderListFilter, page: Page, now: datetime) -> _Listed:
    if shop_id:
        found = find_listed(view, shop_id, wanted, now, page, MOST_MATCHES)
        return _Listed(found.orders, found.entries, dict(found.counts), found.was_cut)
    counts = load_state_counts(view)
    if wanted.is_limited:
        return _Listed([], 0, counts, hint="shop")
    if wanted.text:
        return _find_codes(view, wanted, page, counts)
    state: OrderState | None = wanted.state
    latest, entries = orders.latest_orders(view, state, "", page.per, page.offset, MOST_LATEST)
    every = counts.get(state, 0) if state else sum(counts.values())
    return _Listed(latest, entries, counts, hint="latest" if every > entries else "")


def _find_codes(view: View, wanted: OrderListFilter, page: Page, counts: dict[str, int]) -> _Listed:
    """Find the orders of all shops whose codes begin with the search, or else the latest orders with a code that
    contains it."""
    if not is_code(wanted.text):
        return _Listed([], 0, counts, hint="shop")
    codes = orders.codes_with_beginning(view, wanted.text, _MOST_CODES)
    read = (orders.by_code(view, code) for code in codes)
    found = [entry for entry in read if entry is not None and wanted.state in {None, entry.order.state}]
    if found:
        shown = found[page.offset : page.offset + page.per]
        return _Listed(shown, len(found), counts, hint="codes" if len(codes) == _MOST_CODES else "")
    latest, entries = orders.latest_orders(view, wanted.state, wanted.text, page.per, page.offset, MOST_LATEST)
    return _Listed(latest, entries, counts, hint="latest")
