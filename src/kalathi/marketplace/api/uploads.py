"""Receiving a file (contract, section 3): multipart in any form, spooled to a temporary file while it arrives, bounded,
and told by its content; and serving it behind its link."""

import contextlib
import logging
from collections.abc import AsyncGenerator
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Receive

from kalathi.marketplace.api.calls import Call
from kalathi.marketplace.api.desk import Desk
from kalathi.marketplace.api.reply import Reply
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.orders import store
from kalathi.marketplace.orders.uploads import LARGEST_UPLOAD_BYTES, Upload, extension_of, mime_type
from kalathi.marketplace.sandbox.demo_orders import DEMO_SHOP_ID, SAMPLE_LINK

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

# What is wrong with a form is told to its sender; the parser would tell it to standard error as well.
logging.getLogger("python_multipart").disabled = True

# What a form may hold around its file.
_ENVELOPE_BYTES: Final = 100_000
# Read and thrown away of a body that is too large, so that the sender reads the refusal instead of a broken pipe.
_DRAINED_BYTES: Final = 64 * 1024 * 1024
_IN_MEMORY_BYTES: Final = 256 * 1024


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
    """The file of a multipart body. Raises the field's two refusals, UNREADABLE_BODY when the connection ends."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise DomainError(field.missing, f"Missing {field.title} file")
    body = _BoundedBody(receive, LARGEST_UPLOAD_BYTES + _ENVELOPE_BYTES)
    with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
        parts = _Parts(options[b"boundary"], field.names, spool)
        async for part in body.parts():
            # Written on the event loop: some hundred writes into the page cache, far shorter than a thread hop each.
            parts.take(part)
        if body.too_large:
            raise too_large(field)
        if parts.ended != parts.chosen or parts.chosen is None:
            raise DomainError(field.missing, f"Missing {field.title} file")
        spool.seek(0)
        content = spool.read()
    return checked_upload(content, field)


def checked_upload(content: bytes, field: FileField) -> Upload:
    """The file, whose type its content tells. Raises the field's two refusals."""
    if not content:
        raise DomainError(field.missing, f"Missing {field.title} file")  # A form in which no file was chosen.
    if len(content) > LARGEST_UPLOAD_BYTES:
        raise too_large(field)
    found = mime_type(content[:512])
    if extension_of(found) is None:
        raise DomainError(field.refused, f"{field.title.capitalize()} file {found} mime-type is not accepted")
    return Upload(found, content)


def too_large(field: FileField) -> DomainError:
    """The refusal of a file above the bound."""
    megabytes = LARGEST_UPLOAD_BYTES // 1024 // 1024
    return DomainError(field.refused, f"{field.title.capitalize()} file is larger than {megabytes} MB")


class _Parts:
    """Follows a multipart body and spools the file of the best of the wanted names; other parts fall away."""

    def __init__(self, boundary: bytes, names: tuple[str, ...], spool: IO[bytes]) -> None:
        self._names = names
        self._spool = spool
        self._header = b""
        self._headers: dict[bytes, bytes] = {}
        self._spooling = False
        # The name that is spooled, and the one that was spooled to its end.
        self.chosen: str | None = None
        self.ended: str | None = None
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }
        # What stands before the first boundary is no part of the form (RFC 2046, section 5.1.1).
        self._first = b"--" + boundary
        self._before: bytes | None = b""
        self._parser: MultipartParser | None = None
        with contextlib.suppress(FormParserError):
            self._parser = MultipartParser(boundary, callbacks)

    def take(self, part: bytes) -> None:
        """The next bytes of the body. What comes after a fault of form is not looked at."""
        if self._before is not None:
            self._before += part
            at = self._before.find(self._first)
            if at < 0 or (at and self._before[at - 1 : at] != b"\n"):
                if len(self._before) > _ENVELOPE_BYTES:
                    self._parser = None
                return
            part, self._before = self._before[at:], None
        if self._parser is None:
            return
        try:
            self._parser.write(part)
        except (FormParserError, ValueError):
            self._parser = None

    def _begin(self) -> None:
        self._headers = {}

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = data[start:end].lower()
        self._headers[self._header] = b""

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._headers[self._header] += data[start:end]

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        better = self.chosen is None or (
            name in self._names and self._names.index(name) < self._names.index(self.chosen)
        )
        # With or without a file name: older clients send `filename*` only, others none at all.
        self._spooling = name in self._names and better
        if self._spooling:
            self.chosen, self.ended = name, None
            self._spool.seek(0)
            self._spool.truncate()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._spooling:
            self._spool.write(data[start:end])

    def _end(self) -> None:
        if self._spooling:
            self.ended = self.chosen
            self._spooling = False


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
        while self._more and self._size < _DRAINED_BYTES:
            message = await self._receive()
            if message["type"] != "http.request":
                raise DomainError(ErrorCode.UNREADABLE_BODY, "The connection ended before the body did.")
            part: bytes = message.get("body", b"")
            self._size += len(part)
            self._more = message.get("more_body", False)
            if part and not self.too_large:
                yield part


async def download_upload(desk: Desk, call: Call) -> Reply:
    """The file behind an unguessable link; never as a page of this site. Raises NOT_FOUND."""
    name, _, extension = call.path["file"].rpartition(".")
    if call.path["shop_id"] == DEMO_SHOP_ID and call.path["file"] == f"{SAMPLE_LINK}.pdf":
        found: Upload | None = Upload("application/pdf", await desk.sample.pdf())
    else:
        found = await desk.database.peek(lambda view: store.upload(view, call.path["shop_id"], name))
    if found is None or extension_of(found.mime_type) != extension:
        raise DomainError(ErrorCode.NOT_FOUND, "File not found")
    headers = (
        (b"content-type", found.mime_type.encode()),
        (b"content-disposition", f'attachment; filename="document.{extension}"'.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
    )
    return Reply(200, found.content, headers)
