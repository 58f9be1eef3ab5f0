"""Vouchers behind unguessable links: no token and no Accept header is needed (docs/decisions/0014)."""

from typing import Final

from kalathi.marketplace.api.calls import Call
from kalathi.marketplace.api.context import Context
from kalathi.marketplace.api.reply import SECRET_FILE, Reply
from kalathi.marketplace.couriers import store
from kalathi.marketplace.kernel.changes import ChangeSet
from kalathi.marketplace.kernel.database import View
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.orders import commands
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.sandbox.demo_orders import DEMO_SHOP_ID, SAMPLE_LINK

PDF_HEADERS: Final = (
    (b"content-type", b"application/pdf"),
    (b"content-disposition", b'inline; filename="voucher.pdf"'),
    # Browsers show a PDF as an object inside of a page of their own, with a style of its own.
    (b"content-security-policy", b"default-src 'none'; object-src 'self'; style-src 'unsafe-inline'"),
    *SECRET_FILE,
)


async def download_voucher(context: Context, call: Call) -> Reply:
    """The PDF. If the shop is not enrolled in set-as-ready, downloading marks the order ready
    (docs/contract.md#section-3).

    Raises NOT_FOUND.
    """
    shop_id, link = call.path["shop_id"], call.path["link"]
    if shop_id == DEMO_SHOP_ID and link == SAMPLE_LINK:
        return Reply(200, await context.sample.pdf(), PDF_HEADERS)

    def command(view: View) -> tuple[ChangeSet, bytes]:
        voucher = store.voucher(view, shop_id, link)
        if voucher is None:
            raise DomainError(ErrorCode.NOT_FOUND, "Voucher not found")
        found = orders.by_code(view, voucher.code)
        recorded = found and commands.note_voucher_download(found, link, context.terms, context.clock.now())
        return recorded.changes if recorded else ChangeSet(), voucher.pdf

    return Reply(200, await context.database.run(command), PDF_HEADERS)
