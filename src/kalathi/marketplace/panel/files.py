"""A form with a file, as browsers send it (RFC 7578), read like a file of the API."""

from starlette.requests import Request

from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.panel.visits import Form
from kalathi.marketplace.web.uploads import FileField, boundary_of, read_file_parts


async def read_file_form(request: Request, field: FileField) -> Form:
    """The values and the file's bytes, empty when none was chosen. Raises the field's refusal, UNREADABLE_BODY."""
    boundary = boundary_of(request.headers.get("content-type", "").encode("latin-1"))
    if boundary is None:
        raise DomainError(ErrorCode.UNREADABLE_BODY, "The form cannot be read.")
    parts = await read_file_parts(request.receive, boundary, field)
    values = {part.name: part.content.decode("utf-8", "replace") for part in parts if part.filename is None}
    chosen = [part for part in parts if part.filename and part.name == field.names[0]]
    if chosen and not chosen[0].content:
        raise DomainError(field.missing, "The file is empty.")
    return Form(values=values, file=chosen[0].content if chosen else b"")
