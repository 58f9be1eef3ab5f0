"""Uploaded invoices (contract, section 3): what they may be, told by their content and not by their name."""

from enum import StrEnum
from typing import Final

from msgspec import Struct

LARGEST_UPLOAD_BYTES: Final = 7 * 1024 * 1024


class UploadKind(StrEnum):
    """Which document of an order it is; each order has at most one of each. The last is the marketplace's own."""

    INVOICE = "invoice"
    CREDIT_INVOICE = "credit_invoice"
    DELIVERY_NOTE = "delivery_note"


class Upload(Struct, frozen=True):
    """A file that was taken; `content` is its bytes."""

    mime_type: str
    content: bytes


_ACCEPTED: Final = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}
# What files begin with; the types that are not accepted are here so that a refusal can name them.
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"PK\x03\x04", "application/zip"),
    (b"GIF8", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\x1f\x8b", "application/gzip"),
    (b"MZ", "application/x-msdownload"),
    (b"\xd0\xcf\x11\xe0", "application/msword"),
    (b"<?xml", "application/xml"),
)
_HTML_BEGINS: Final = (b"<!doctype", b"<html", b"<script")


def mime_type(beginning: bytes) -> str:
    """The type that a file's first bytes tell. A PDF may have blanks or a byte order mark before it, as scripts leave
    them there and every reader takes them."""
    if beginning.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"%PDF-"):
        return "application/pdf"
    for signature, name in _SIGNATURES:
        if beginning.startswith(signature):
            return name
    if beginning.lstrip().lower().startswith(_HTML_BEGINS):
        return "text/html"
    try:
        beginning[:256].decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain" if beginning else "application/x-empty"


def extension_of(name: str) -> str | None:
    """`pdf`, `png` or `jpg` for a type that is taken, else None."""
    return _ACCEPTED.get(name)
