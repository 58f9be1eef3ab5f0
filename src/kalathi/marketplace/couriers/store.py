"""Vouchers in the database, as bytes, so that any machine can serve them (DESIGN, decision 5)."""

from kalathi.marketplace.kernel.changes import Insert
from kalathi.marketplace.kernel.database import View


def voucher_pdf(view: View, shop_id: str, link: str) -> bytes | None:
    """The PDF behind an unguessable link, or None."""
    row = view.one(
        "SELECT pdf FROM vouchers WHERE shop_id = :shop_id AND link = :link", {"shop_id": shop_id, "link": link}
    )
    return row[0] if row else None


def insert_voucher(shop_id: str, link: str, code: str, pdf: bytes) -> Insert:
    """A voucher of an order."""
    return Insert("vouchers", {"shop_id": shop_id, "link": link, "code": code, "pdf": pdf})
