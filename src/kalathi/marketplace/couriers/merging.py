"""Many vouchers as one PDF."""

import io
from collections.abc import Sequence
from typing import Final

_A4_WIDTH_POINTS: Final = 595.276
_A4_HEIGHT_POINTS: Final = 841.89


def merge_pdfs(pdfs: Sequence[bytes]) -> bytes:
    """Return one PDF with the pages of all documents, in order. Not thread-safe, because its library is not."""
    import pypdfium2  # noqa: PLC0415  (few processes merge, and it takes a fifteenth of a start)

    target = pypdfium2.PdfDocument.new()
    try:
        for pdf in pdfs:
            with pypdfium2.PdfDocument(pdf) as single:
                target.import_pages(single)
        content = io.BytesIO()
        target.save(content)
    finally:
        target.close()
    return content.getvalue()


def merge_on_a4(pdfs: Sequence[bytes]) -> bytes:
    """Return the same with four pages on each A4 page, in rows. A6 labels keep their size. Not thread-safe either."""
    import pypdfium2  # noqa: PLC0415  (few processes merge, and it takes a fifteenth of a start)

    with pypdfium2.PdfDocument(merge_pdfs(pdfs)) as labels:
        sheets = pypdfium2.raw.FPDF_ImportNPagesToOne(labels, _A4_WIDTH_POINTS, _A4_HEIGHT_POINTS, 2, 2)
        target = pypdfium2.PdfDocument(sheets)
        try:
            content = io.BytesIO()
            target.save(content)
        finally:
            target.close()
    return content.getvalue()
