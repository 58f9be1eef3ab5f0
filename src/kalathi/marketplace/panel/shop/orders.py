"""A shop's list of orders."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.errors import Refusal, refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.search import listing
from kalathi.marketplace.orders.search.listing import MOST_COUNTED, MOST_MATCHES, Found, Sort
from kalathi.marketplace.orders.search.store import is_indexing
from kalathi.marketplace.orders.search.words import OrderKind
from kalathi.marketplace.panel.lists import locate_page, read_page, row_of
from kalathi.marketplace.panel.notes_and_views import store as kept
from kalathi.marketplace.panel.notes_and_views.store import SavedView
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoViewName, TooManyViews
from kalathi.marketplace.panel.shop.order_filter import COURIERS, OrderListFilter, default_sort, read_filter
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.web.paging import Page

# The states in the order of an order's life; the open ones, which need an answer, come first.
STATES = tuple(state.value for state in OrderState)
MOST_EXPORTED: Final = 10_000
_CHOICES: Final[Mapping[str, Any]] = {
    "couriers": COURIERS,
    "kinds": tuple(OrderKind),
    "sorts": tuple(Sort),
    "most_exported": MOST_EXPORTED,
}
_LIST: Final = "/shop/orders"
_LONGEST_NAME: Final = 60
_MOST_VIEWS: Final = 20
# Such a text is looked for in every part of the codes. A shorter one would read all codes for little.
_PART_OF_CODE: Final = re.compile(r"[0-9-]{3,40}")


class BulkResult(NamedTuple):
    """The result of an action on several orders: how many were changed, and the reasons for each other one."""

    action: str
    succeeded: int
    failed: list[tuple[str, tuple[Refusal | str, ...]]]


async def list_orders(visit: Visit) -> Answer:
    """`?q=&state=&from=&to=&courier=&kind=&overdue=&sort=&page=`: the shop's orders; by default all of them, newest
    change first. Raises INVALID_PARAMETER."""
    return await show_list(visit)


async def show_list(visit: Visit, bulk: BulkResult | None = None) -> Shown:
    """Show the list, with the result of an action on several orders. Raises INVALID_PARAMETER."""
    context, shop = visit.context, visit.shop
    wanted, page = read_filter(visit.query), read_page(visit.query)
    now = context.clock.now()

    def query(view: View) -> tuple[Found, str, bool, list[SavedView]]:
        seen = orders.change_mark(view, shop.id)
        return (
            find_listed(view, shop.id, wanted, now, page, MOST_MATCHES),
            seen,
            is_indexing(view, shop.id),
            kept.saved_views(view, shop.id),
        )

    found, seen, is_being_indexed, views = await context.database.read_list(query)
    rows = [row_of(entry, now, visit.words) for entry in found.orders]
    content = {
        "problems": visit.problems,
        "shop": shop,
        "rows": rows,
        "pieces": sum(row.pieces for row in rows),
        "amount": sum((row.amount for row in rows), Decimal(0)),
        "position": locate_page(page, found.entries, MOST_COUNTED),
        "wanted": wanted,
        "tabs": [(state, found.counts.get(state, 0)) for state in STATES],
        "counts": found.counts,
        "every": sum(found.counts.values()),
        "most": MOST_MATCHES if found.was_cut else 0,
        "most_counted": MOST_COUNTED,
        "is_indexing": is_being_indexed,
        "windows": [(window.id, window.on_the_wire()) for window in context.terms.schedule.offer_windows(now)],
        "bulk": bulk,
        "views": views,
        "given": visit.form.given,
        "seen": seen,
    }
    return Shown("shop/orders.html", {**content, **_CHOICES, "default_sort": default_sort(wanted.state)})


async def save_view(visit: Visit) -> Answer:
    """`view_name=`, with the filter in the address: save the filter under a name. It replaces an earlier one of that
    name. Raises INVALID_PARAMETER."""
    name, wanted = visit.form.text("view_name"), read_filter(visit.query)
    if not name or len(name) > _LONGEST_NAME:
        raise refuse(NoViewName(_LONGEST_NAME))
    saved = SavedView(name, wanted.query)

    def command(view: View) -> tuple[ChangeSet, None]:
        present = {entry.name for entry in kept.saved_views(view, visit.shop.id)}
        if len(present | {name}) > _MOST_VIEWS:
            raise refuse(TooManyViews(_MOST_VIEWS))
        return kept.replace_view(visit.shop.id, saved), None

    await visit.context.database.run(command)
    return See(f"{_LIST}?{saved.query}", done="view")


async def remove_view(visit: Visit) -> Answer:
    """`name=`: remove a saved view."""
    await visit.context.database.commit(ChangeSet(kept.drop_view(visit.shop.id, visit.form.text("name"))))
    return See(_LIST, done="view_removed")


async def follow_orders(visit: Visit) -> Answer:
    """Stream the changes of the shop's orders."""
    database, shop_id = visit.context.database, visit.shop.id

    async def mark() -> str:
        return await database.read(lambda view: orders.change_mark(view, shop_id))

    return visit.follow(("orders", "timeline"), mark)


def find_listed(view: View, shop_id: str, wanted: OrderListFilter, now: datetime, page: Page, most: int) -> Found:
    """Return a page of the list with this filter. `most` is the largest number of matches that are looked at."""
    found = listing.list_orders(view, wanted.read_for(shop_id), now, page.per, page.offset, most)
    is_part = _PART_OF_CODE.fullmatch(wanted.text) and not wanted.is_limited
    if found.entries or not is_part:
        return found
    # Words are found by their beginnings. A code is found by any part of it too, such as its last digits.
    entries, count = orders.orders_of_code(view, shop_id, wanted.state, wanted.text, page.per, page.offset)
    return Found(entries, count, Counter(entry.order.state.value for entry in entries))
