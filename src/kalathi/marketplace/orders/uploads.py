"""Uploaded invoices (docs/contract.md#section-3). Their content determines their type; the file name does not count."""

from enum import StrEnum
from typing import Final

from msgspec import Struct

LARGEST_UPLOAD_BYTES: Final = 7 * 1024 * 1024


class UploadKind(StrEnum):
    """The kinds of an order's documents. An order has at most one of each; the marketplace writes the delivery note."""

    INVOICE = "invoice"
    CREDIT_INVOICE = "credit_invoice"
    DELIVERY_NOTE = "delivery_note"


class Upload(Struct, frozen=True):
    """An accepted file, with its bytes as `content`."""

    mime_type: str
    content: bytes


_ACCEPTED: Final = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}
# The first bytes of file types. Types that are not accepted are listed too, so that a refusal can name them.
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
    (b"BM", "image/bmp"),
)
# Image formats of phones, by the brand in the `ftyp` box at the start of the file (ISO/IEC 14496-12).
_BRANDS: Final = {b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif", b"msf1": "image/heif"} | {
    b"avif": "image/avif",
    b"avis": "image/avif",
}
_HTML_BEGINS: Final = (b"<!doctype", b"<html", b"<script")


def mime_type(beginning: bytes) -> str:
    """Return the type of a file from its first 1,024 bytes. Other bytes may precede a PDF, for example a byte order
    mark or a warning of a script; PDF readers accept that."""
    for signature, name in _SIGNATURES:
        if beginning.startswith(signature):
            return name
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return "image/webp"
    if beginning[4:8] == b"ftyp":
        return _BRANDS.get(beginning[8:12], "video/mp4")
    if b"%PDF-" in beginning:
        return "application/pdf"
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text):
        return "image/svg+xml"
    if text.startswith(b"<?xml"):
        return "application/xml"
    if text.startswith(_HTML_BEGINS):
        return "text/html"
    try:
        beginning[:256].decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain" if beginning else "application/x-empty"


def extension_of(name: str) -> str | None:
    """Return `pdf`, `png` or `jpg` for an accepted type, else None."""
    return _ACCEPTED.get(name)
