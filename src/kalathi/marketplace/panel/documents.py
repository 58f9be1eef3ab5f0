"""How documents of a page are sent: to be looked at, by nobody else, and never as a page."""

from typing import Final

PDF_HEADERS: Final = (
    (b"content-type", b"application/pdf"),
    (b"content-disposition", b'inline; filename="voucher.pdf"'),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
