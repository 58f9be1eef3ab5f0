"""Documents as PDF: one reused typst compiler, which reads no file and knows no font but its own (docs/decisions/0018).

Every text reaches a template as data, never as markup, so a customer's name cannot change a document.
"""

import threading
from datetime import datetime

import typst
from msgspec import Struct


class Party(Struct, frozen=True, kw_only=True):
    """Sender or recipient as documents show them, one line each."""

    name: str
    lines: tuple[str, ...]


class DocumentPrinter:
    """Render documents with one reused compiler: 1 ms a label, against 12 ms with a new one. Thread-safe."""

    def __init__(self) -> None:
        self._compiler = typst.Compiler(ignore_system_fonts=True)
        self._lock = threading.Lock()

    def render(self, template: bytes, data: bytes, made_at: datetime) -> bytes:
        """Return the PDF of a template with this JSON data. The same data and `made_at` give the same bytes."""
        with self._lock:
            pdf = self._compiler.compile(
                input=template,
                format="pdf",
                sys_inputs={"data": data.decode()},
                timestamp=int(made_at.timestamp()),
            )
        if not isinstance(pdf, bytes):  # Only a request for images returns separate pages.
            raise TypeError("typst gave no single document")
        return pdf
