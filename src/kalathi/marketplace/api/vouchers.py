"""Vouchers behind unguessable links: no token and no Accept header is needed (DESIGN, decision 14)."""

from kalathi.marketplace.api.desk import Desk
from kalathi.marketplace.api.operator import Call
from kalathi.marketplace.api.reply import Reply
from kalathi.marketplace.couriers import store
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode


async def download_voucher(desk: Desk, call: Call) -> Reply:
    """The PDF. Raises NOT_FOUND."""
    shop_id, link = call.path["shop_id"], call.path["link"]
    pdf = store.voucher_pdf(desk.database.point, shop_id, link)
    if pdf is None:
        raise DomainError(ErrorCode.NOT_FOUND, "Voucher not found")
    headers = ((b"content-type", b"application/pdf"), (b"content-disposition", b'inline; filename="voucher.pdf"'))
    return Reply(200, pdf, headers)
