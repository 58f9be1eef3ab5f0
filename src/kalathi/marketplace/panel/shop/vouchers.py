"""The vouchers of the selected orders as one PDF."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from kalathi.marketplace.couriers import store
from kalathi.marketplace.couriers.merging import merge_on_a4, merge_pdfs
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import commands
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.panel.pages import Answer
from kalathi.marketplace.panel.refusals import OrderWithoutVoucher
from kalathi.marketplace.panel.shop.chosen import find_chosen, read_chosen
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.web.reply import PDF_HEADERS, Reply

_MOST_NAMED = 10


class _Taken(NamedTuple):
    """A voucher and its link, as read from the order."""

    code: str
    link: str
    pdf: bytes


async def merge_vouchers(visit: Visit) -> Answer:
    """Return the vouchers of the selected orders, one label on each page. As with a single download, this marks the
    orders as ready if the shop is not enrolled in set-as-ready (docs/contract.md#section-3). Raises INVALID_PARAMETER,
    ORDER_NOT_FOUND."""
    return await _merge(visit, merge_pdfs)


async def merge_vouchers_on_a4(visit: Visit) -> Answer:
    """Return the same with four labels on each A4 page."""
    return await _merge(visit, merge_on_a4)


async def _merge(visit: Visit, merge: Callable[[Sequence[bytes]], bytes]) -> Answer:
    codes = read_chosen(visit)
    vouchers = await visit.context.database.read_list(lambda view: _find_vouchers(visit, view, codes))
    loop = asyncio.get_running_loop()
    pdf = await loop.run_in_executor(visit.context.threads, merge, [voucher.pdf for voucher in vouchers])
    for voucher in vouchers:
        await visit.commands.run(partial(_note_download, voucher.code, voucher.link))
    return Reply(200, pdf, PDF_HEADERS)


def _find_vouchers(visit: Visit, view: View, codes: list[str]) -> list[_Taken]:
    """Raises INVALID_PARAMETER with each order that has no voucher, up to ten."""
    vouchers, missing = [], []
    for found in find_chosen(visit, view, codes):
        link = (found.order.courier_voucher or "").rpartition("/")[2].removesuffix(".pdf")
        voucher = store.voucher(view, found.shop.id, link)
        if voucher is None:
            missing.append(OrderWithoutVoucher(found.order.code))
        else:
            vouchers.append(_Taken(found.order.code, link, voucher.pdf))
    if missing:
        raise DomainError(ErrorCode.INVALID_PARAMETER, *missing[:_MOST_NAMED])
    return vouchers


def _note_download(code: str, link: str, facts: Facts) -> tuple[ChangeSet, None]:
    found = orders.by_code(facts.view, code)
    recorded = found and commands.note_voucher_download(found, link, facts)
    return recorded.changes if recorded else ChangeSet(), None
