"""A form with a file, as browsers send it (RFC 7578): bounded, and told by its content like a file of the API."""

from typing import Final

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from kalathi.marketplace.api.uploads import FileField, too_large
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.orders.uploads import LARGEST_UPLOAD_BYTES
from kalathi.marketplace.panel.visits import Form

_ENVELOPE_BYTES: Final = 100_000
_DRAINED_BYTES: Final = 64 * 1024 * 1024


async def read_file_form(request: Request, field: FileField) -> Form:
    """The values and the file's bytes, empty when none was chosen. Raises the field's refusal, UNREADABLE_BODY."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        # Another kind of form is no file, and is read without the bounds below.
        raise DomainError(ErrorCode.UNREADABLE_BODY, "The form cannot be read.")
    size = 0

    async def receive() -> Message:
        nonlocal size
        message = await request.receive()
        size += len(message.get("body", b""))
        if size > LARGEST_UPLOAD_BYTES + _ENVELOPE_BYTES:
            raise too_large(field)
        return message

    try:
        async with Request(request.scope, receive).form(max_files=1, max_fields=20) as sent:
            values = {name: value for name, value in sent.items() if isinstance(value, str)}
            chosen = sent.get(field.names[0])
            content = await chosen.read() if isinstance(chosen, UploadFile) else b""
    except DomainError:
        await _throw_away(request)
        raise
    except HTTPException:
        raise DomainError(ErrorCode.UNREADABLE_BODY, "The form cannot be read.") from None
    if isinstance(chosen, UploadFile) and chosen.filename and not content:
        raise DomainError(field.missing, "The file is empty.")
    return Form(values=values, file=content)


async def _throw_away(request: Request) -> None:
    """The rest of what is sent, so that its sender reads the refusal instead of a connection that was cut."""
    left = _DRAINED_BYTES
    while left > 0:
        message = await request.receive()
        left -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return
