"""Check that a voucher is one complete PDF before it is written, so that a truncated download is never printed."""

import re
import threading
from typing import Final

from kalathi.extras import has_library

# PDF readers accept the header within this many bytes of the beginning, and the end mark within this many bytes of the
# end. There may be other bytes outside: a byte order mark, a newline or a proxy's text.
_ROOM_BYTES: Final = 1024
_HEADER: Final = b"%PDF-"
_END: Final = b"%%EOF"
# The beginning of an update that was appended to the PDF. A complete update ends with its own %%EOF.
_MORE: Final = re.compile(rb"\b(?:obj|xref|startxref|trailer)\b")
_SHOWN_BYTES: Final = 40

# Only one thread of a process may use pdfium at a time. Hold this lock from opening a document to closing it.
PDFIUM: Final = threading.Lock()


class NotAVoucherError(Exception):
    """The bytes are not one whole PDF. The sentence names the order and the fault."""


def whole_pdf(code: str, content: bytes) -> bytes:
    """Return the PDF without any bytes before its header, because CUPS recognises a PDF by its first bytes. Its pages
    are opened if the extra `pdf` is installed. Raises NotAVoucherError."""
    if not content:
        raise NotAVoucherError(f"the voucher of {code} is empty")
    start = content.find(_HEADER, 0, _ROOM_BYTES - 1 + len(_HEADER))
    if start < 0:
        begin = content[:_SHOWN_BYTES].decode("utf-8", "replace")
        raise NotAVoucherError(f"the voucher of {code} is not a PDF: it begins with {begin!r}")
    pdf = content[start:]
    last_end = pdf.rfind(_END)
    is_cut = last_end >= 0 and _MORE.search(pdf, last_end) is not None
    if is_cut or _END not in pdf.rstrip(b"\0\t\n\f\r ")[-_ROOM_BYTES:]:
        raise NotAVoucherError(
            f"the voucher of {code} is not a whole PDF: its {len(content)} bytes have no %%EOF at their end"
        )
    if has_library("pypdfium2"):
        _check_pages(code, pdf)
    return pdf


def _check_pages(code: str, pdf: bytes) -> None:
    """Open every page, as a printer does. Raises NotAVoucherError."""
    import pypdfium2  # noqa: PLC0415  (optional)

    with PDFIUM:
        try:
            with pypdfium2.PdfDocument(pdf) as document:
                pages = len(document)
                for number in range(pages):
                    document[number].close()
        except pypdfium2.PdfiumError as error:
            raise NotAVoucherError(f"the voucher of {code} is a PDF that cannot be read: {error}") from None
    if not pages:
        raise NotAVoucherError(f"the voucher of {code} is a PDF without a page")
