"""Receive a file (docs/contract.md#section-3): lenient multipart, limited in size, spooled to a temporary file. The
content determines the type."""

import logging
from collections.abc import AsyncGenerator
from tempfile import SpooledTemporaryFile
from typing import Final, NamedTuple

from python_multipart.multipart import parse_options_header
from starlette.types import Receive

from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, Refusal
from kalathi.marketplace.orders.uploads import LARGEST_UPLOAD_BYTES, Upload, extension_of, mime_type
from kalathi.marketplace.web.multipart import Part, read_parts

# The caller receives the errors of a form. The parser would also write them to standard error.
logging.getLogger("python_multipart").disabled = True

# The bytes of a form around its file.
_ENVELOPE_BYTES: Final = 100_000
# A body that is too large is read and dropped up to this size, so that the sender reads the refusal instead of a broken
# pipe.
_DRAINED_BYTES: Final = 64 * 1024 * 1024
_IN_MEMORY_BYTES: Final = 256 * 1024


class FileMissing(Refusal, frozen=True):
    """No file was sent, or an empty one."""

    document: str
    SENTENCE = "Missing {document} file"


class FileTooLarge(Refusal, frozen=True):
    """A file above the bound."""

    document: str
    most: int

    def on_the_wire(self) -> str:
        """Return the sentence with the bound in megabytes."""
        return f"{self.document.capitalize()} file is larger than {self.most} MB"


class WrongFileType(Refusal, frozen=True):
    """A file with content of a type that is not accepted."""

    document: str
    found: str

    def on_the_wire(self) -> str:
        """Return the sentence with the file's type."""
        return f"{self.document.capitalize()} file {self.found} mime-type is not accepted"


class FileField(NamedTuple):
    """A file in a form: its field names in order of preference, its name in messages, and the codes of its refusals."""

    names: tuple[str, ...]
    title: str
    missing: ErrorCode
    refused: ErrorCode


INVOICE_FILE: Final = FileField(
    ("invoice_file", "invoice"), "invoice", ErrorCode.INVOICE_MISSING, ErrorCode.INVOICE_REFUSED
)
CREDIT_INVOICE_FILE: Final = FileField(
    ("credit_invoice_file",), "credit invoice", ErrorCode.CREDIT_INVOICE_MISSING, ErrorCode.CREDIT_INVOICE_REFUSED
)


# A page takes it; its content is not one of an invoice's types.
LISTINGS_FILE: Final = FileField(
    ("listings_file",), "listings", ErrorCode.INVALID_PARAMETER, ErrorCode.INVALID_PARAMETER
)


async def read_upload(receive: Receive, content_type: bytes | None, field: FileField) -> Upload:
    """Read the file of a multipart body. Raises the field's two refusals, or UNREADABLE_BODY if the connection ends."""
    boundary = boundary_of(content_type)
    if boundary is None:
        raise DomainError(field.missing, FileMissing(field.title))
    return check_upload(_choose(await read_file_parts(receive, boundary, field), field.names), field)


def boundary_of(content_type: bytes | None) -> bytes | None:
    """Return the boundary of a multipart form, or None for any other body."""
    kind, options = parse_options_header(content_type)
    return options.get(b"boundary") or None if kind == b"multipart/form-data" else None


async def read_file_parts(receive: Receive, boundary: bytes, field: FileField) -> list[Part]:
    """Return the parts of a form with a file. Raises the field's refusal of a file that is too large, UNREADABLE_BODY
    when the connection ends."""
    body = _BoundedBody(receive, LARGEST_UPLOAD_BYTES + _ENVELOPE_BYTES)
    with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
        async for part in body.parts():
            # These writes run on the event loop. Each goes to the page cache and is faster than a switch to a thread.
            spool.write(part)
        if body.too_large:
            raise too_large(field)
        spool.seek(0)
        return list(read_parts(spool.read(), boundary))


def _choose(parts: list[Part], names: tuple[str, ...]) -> bytes:
    """Return the first content that is not empty, by the order of the field names; else empty bytes."""
    found = [part for name in names for part in parts if part.name == name]
    return next((part.content for part in found if part.content), b"")


def check_upload(content: bytes, field: FileField) -> Upload:
    """Return the file with the type of its content. Raises the field's two refusals."""
    if not content:
        raise DomainError(field.missing, FileMissing(field.title))  # A form without a chosen file.
    if len(content) > LARGEST_UPLOAD_BYTES:
        raise too_large(field)
    found = mime_type(content[:1024])
    if extension_of(found) is None:
        raise DomainError(field.refused, WrongFileType(field.title, found))
    return Upload(found, content)


def too_large(field: FileField) -> DomainError:
    """The refusal of a file above the bound."""
    megabytes = LARGEST_UPLOAD_BYTES // 1024 // 1024
    return DomainError(field.refused, FileTooLarge(field.title, megabytes))


class _BoundedBody:
    """A request's body in parts, up to a bound; the rest is read and dropped."""

    def __init__(self, receive: Receive, largest: int) -> None:
        self._receive = receive
        self._largest = largest
        self._more = True
        self._size = 0

    @property
    def too_large(self) -> bool:
        return self._size > self._largest

    async def parts(self) -> AsyncGenerator[bytes, None]:
        while self._more and self._size < _DRAINED_BYTES:
            message = await self._receive()
            if message["type"] != "http.request":
                raise DomainError(ErrorCode.UNREADABLE_BODY, "The connection ended before the body did.")
            part: bytes = message.get("body", b"")
            self._size += len(part)
            self._more = message.get("more_body", False)
            if part and not self.too_large:
                yield part
