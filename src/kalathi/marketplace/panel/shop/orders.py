"""A shop's list of orders, and the vouchers of several orders as one PDF."""

import asyncio
from functools import partial
from typing import Final, NamedTuple

from kalathi.contract.words import OrderState
from kalathi.marketplace.couriers import store
from kalathi.marketplace.couriers.merging import merge_pdfs
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import commands, queries
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.panel.lists import OrderFilter, filter_of, is_code, locate_page, read_page, row_of
from kalathi.marketplace.panel.pages import Answer, Shown
from kalathi.marketplace.panel.refusals import NoOrdersChosen, OrderWithoutVoucher, TooManyOrdersChosen, UnknownOrder
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.web.reply import PDF_HEADERS, Reply

# The states in the order of an order's life; the open ones, which need an answer, come first.
STATES = tuple(state.value for state in OrderState)
_MOST_VOUCHERS: Final = 100


async def list_orders(visit: Visit) -> Answer:
    """`?state=&code=&page=`: the shop's orders, newest change first."""
    context, shop = visit.context, visit.shop
    wanted, page = filter_of(visit.query), read_page(visit.query)
    now = context.clock.now()

    def query(view: View) -> tuple[list[FoundOrder], int, str]:
        seen = orders.change_mark(view, shop.id)
        return (*_page(view, shop.id, wanted, page.per, page.offset), seen)

    found, count, seen = await context.database.read_list(query)
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
    """Stream the changes of the shop's orders."""
    database, shop_id = visit.context.database, visit.shop.id

    async def mark() -> str:
        return await database.read(lambda view: orders.change_mark(view, shop_id))

    return visit.follow(("orders", "timeline"), mark)


def _page(view: View, shop_id: str, wanted: OrderFilter, per: int, offset: int) -> tuple[list[FoundOrder], int]:
    if not wanted.code:
        return queries.shop_orders(view, shop_id, wanted.states, 0, per, offset)
    return (
        orders.orders_of_code(view, shop_id, wanted.state, wanted.code, per, offset)
        if is_code(wanted.code)
        else ([], 0)
    )


class _Taken(NamedTuple):
    """A voucher and its link, as read from the order."""

    link: str
    pdf: bytes


async def merge_vouchers(visit: Visit) -> Answer:
    """`order=&order=`: the vouchers of these orders as one PDF, in this sequence. As with a single download, this marks
    the orders as ready if the shop is not enrolled in set-as-ready (docs/contract.md#section-3). Raises
    INVALID_PARAMETER, ORDER_NOT_FOUND."""
    codes = list(dict.fromkeys(visit.form.every("order")))
    if not codes:
        raise refuse(NoOrdersChosen())
    if len(codes) > _MOST_VOUCHERS:
        raise refuse(TooManyOrdersChosen())
    vouchers = await visit.context.database.read_list(lambda view: [_voucher(visit, view, code) for code in codes])
    loop = asyncio.get_running_loop()
    pdf = await loop.run_in_executor(visit.context.threads, merge_pdfs, [voucher.pdf for voucher in vouchers])
    for code, voucher in zip(codes, vouchers, strict=True):
        await visit.context.commands.run(partial(_note_download, code, voucher.link))
    return Reply(200, pdf, PDF_HEADERS)


def _voucher(visit: Visit, view: View, code: str) -> _Taken:
    found = orders.by_code(view, code)
    if found is None or found.shop.id != visit.shop.id:
        raise refuse(UnknownOrder(code[:40]))
    link = (found.order.courier_voucher or "").rpartition("/")[2].removesuffix(".pdf")
    voucher = store.voucher(view, found.shop.id, link)
    if voucher is None:
        raise refuse(OrderWithoutVoucher(code))
    return _Taken(link, voucher.pdf)


def _note_download(code: str, link: str, facts: Facts) -> tuple[ChangeSet, None]:
    found = orders.by_code(facts.view, code)
    recorded = found and commands.note_voucher_download(found, link, facts)
    return recorded.changes if recorded else ChangeSet(), None
