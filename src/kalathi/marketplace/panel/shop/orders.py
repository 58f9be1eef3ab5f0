"""A shop's orders: the list, new ones by themselves, vouchers together."""

from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import queries
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.panel.answers import Answer, Shown
from kalathi.marketplace.panel.order_lists import OrderFilter, filter_of, is_code, row_of
from kalathi.marketplace.panel.paging import locate_page, read_page
from kalathi.marketplace.panel.visits import Visit

# What presses comes first, then the rest in the order of an order's life.
STATES = tuple(state.value for state in OrderState)


async def list_orders(visit: Visit) -> Answer:
    """`?state=&code=&page=`: the shop's orders, newest change first."""
    context, shop = visit.context, visit.shop
    wanted, page = filter_of(visit.query), read_page(visit.query)
    now = context.clock.now()

    def query(view: View) -> tuple[list[FoundOrder], int, str]:
        seen = orders.change_mark(view, shop.id)
        return (*_page(view, shop.id, wanted, page.per, page.offset), seen)

    found, count, seen = await context.database.read(query)
    content = {
        "problems": visit.problems,
        "shop": shop,
        "rows": [row_of(entry, now, visit.words) for entry in found],
        "position": locate_page(page, count),
        "wanted": wanted,
        "states": STATES,
        "seen": seen,
    }
    return Shown("shop/orders.html", content)


async def follow_orders(visit: Visit) -> Answer:
    """Says when an order of the shop has changed."""
    database, shop_id = visit.context.database, visit.shop.id

    async def mark() -> str:
        return await database.look(lambda view: orders.change_mark(view, shop_id))

    return visit.follow(("orders", "timeline"), mark)


def _page(view: View, shop_id: str, wanted: OrderFilter, per: int, offset: int) -> tuple[list[FoundOrder], int]:
    if not wanted.code:
        return queries.shop_orders(view, shop_id, wanted.states, 0, per, offset)
    return (
        orders.orders_of_code(view, shop_id, wanted.state, wanted.code, per, offset)
        if is_code(wanted.code)
        else ([], 0)
    )
