"""Receiving a file (contract, section 3): multipart in any form, spooled to a temporary file while it arrives, bounded,
and told by its content; and serving it behind its link."""

from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive

from kalathi.marketplace.api.desk import Desk
from kalathi.marketplace.api.operator import Call
from kalathi.marketplace.api.reply import Reply
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.orders import store
from kalathi.marketplace.orders.uploads import LARGEST_UPLOAD_BYTES, Upload, extension_of, mime_type

# What a form may hold around its file.
_ENVELOPE_BYTES: Final = 100_000
# Read and thrown away of a body that is too large, so that the sender reads the refusal instead of a broken pipe.
_DRAINED_BYTES: Final = 64 * 1024 * 1024
_MOST_PARTS: Final = 20


class FileField(NamedTuple):
    """Which form fields hold the file, the best name first, how messages call it, and its two refusals."""

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


async def read_upload(receive: Receive, content_type: bytes | None, field: FileField) -> Upload:
    """The file of a multipart body. Raises the field's two refusals."""
    if content_type is None or not content_type.lower().startswith(b"multipart/form-data"):
        raise DomainError(field.missing, f"Missing {field.title} file")
    body = _BoundedBody(receive, LARGEST_UPLOAD_BYTES + _ENVELOPE_BYTES)
    headers = Headers(raw=[(b"content-type", content_type)])
    parser = MultiPartParser(headers, body.parts(), max_files=_MOST_PARTS, max_fields=_MOST_PARTS)
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError, KeyError, ValueError):
        await body.drain()
        form = None
    try:
        if body.too_large:
            raise _too_large(field)
        for part in () if form is None else (part for name in field.names for part in form.getlist(name)):
            if isinstance(part, UploadFile):
                return _checked(await part.read(LARGEST_UPLOAD_BYTES + 1), field)
    finally:
        if form is not None:
            await form.close()
    raise DomainError(field.missing, f"Missing {field.title} file")


def _checked(content: bytes, field: FileField) -> Upload:
    if len(content) > LARGEST_UPLOAD_BYTES:
        raise _too_large(field)
    found = mime_type(content[:512])
    if extension_of(found) is None:
        raise DomainError(field.refused, f"{field.title.capitalize()} file {found} mime-type is not accepted")
    return Upload(found, content)


def _too_large(field: FileField) -> DomainError:
    megabytes = LARGEST_UPLOAD_BYTES // 1024 // 1024
    return DomainError(field.refused, f"{field.title.capitalize()} file is larger than {megabytes} MB")


class _BoundedBody:
    """A request's body in parts, up to a bound; what lies behind it is read and dropped."""

    def __init__(self, receive: Receive, largest: int) -> None:
        self._receive = receive
        self._largest = largest
        self._more = True
        self._size = 0

    @property
    def too_large(self) -> bool:
        return self._size > self._largest

    async def parts(self) -> AsyncGenerator[bytes, None]:
        while self._more:
            part = await self._next()
            if self.too_large:
                await self.drain()
                return
            if part:
                yield part

    async def drain(self) -> None:
        while self._more and self._size < _DRAINED_BYTES:
            await self._next()

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            raise DomainError(ErrorCode.UNREADABLE_BODY, "The connection ended before the body did.")
        part: bytes = message.get("body", b"")
        self._size += len(part)
        self._more = message.get("more_body", False)
        return part


async def download_upload(desk: Desk, call: Call) -> Reply:
    """The file behind an unguessable link; never as a page of this site. Raises NOT_FOUND."""
    name, _, extension = call.path["file"].rpartition(".")
    found = store.upload(desk.database.point, call.path["shop_id"], name)
    if found is None or extension_of(found.mime_type) != extension:
        raise DomainError(ErrorCode.NOT_FOUND, "File not found")
    headers = (
        (b"content-type", found.mime_type.encode()),
        (b"content-disposition", f'attachment; filename="document.{extension}"'.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
    )
    return Reply(200, found.content, headers)
