"""Real PDFs, as small as they can be."""

from functools import cache
from io import BytesIO

import pypdfium2


@cache
def a_pdf(width: int = 100, *, pages: int = 1) -> bytes:
    """A PDF of empty pages; the width tells one from another."""
    document = pypdfium2.PdfDocument.new()
    for _ in range(pages):
        document.new_page(width, 200)
    written = BytesIO()
    document.save(written)
    document.close()
    return written.getvalue()
