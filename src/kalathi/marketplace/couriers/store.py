"""Vouchers in the database, as bytes, so that any machine can serve them (docs/decisions/0005)."""

from typing import NamedTuple

from kalathi.marketplace.kernel.storage.changes import Insert
from kalathi.marketplace.kernel.storage.database import View


class Voucher(NamedTuple):
    """A voucher and the code of its order."""

    code: str
    pdf: bytes


def voucher(view: View, shop_id: str, link: str) -> Voucher | None:
    """The PDF behind an unguessable link, or None."""
    row = view.one(
        "SELECT code, pdf FROM vouchers WHERE shop_id = :shop_id AND link = :link", {"shop_id": shop_id, "link": link}
    )
    return Voucher(*row) if row else None


def insert_voucher(shop_id: str, link: str, code: str, pdf: bytes) -> Insert:
    """A voucher of an order."""
    return Insert("vouchers", {"shop_id": shop_id, "link": link, "code": code, "pdf": pdf})
