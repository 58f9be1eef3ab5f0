"""Reading request bodies: bounded, and lenient where the contract is (section 1)."""

from typing import Any, Final

from starlette.types import Receive

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError, decode, encode
from kalathi.marketplace.api import forms
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, invalid_parameter

LARGEST_BODY_BYTES: Final = 1_000_000


async def read_body(receive: Receive, content_length: bytes | None) -> bytes:
    """The whole body. Raises BODY_TOO_LARGE, before reading when the length is told."""
    if content_length is not None and content_length.isdigit() and int(content_length) > LARGEST_BODY_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise DomainError(ErrorCode.UNREADABLE_BODY, "The connection ended before the body did.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > LARGEST_BODY_BYTES:
            raise _too_large()
        parts.append(part)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decode_body(body: bytes, wanted: Any, content_type: bytes | None = None) -> Any:
    """The struct that a body means; no content is an empty object, and a form has the same names.

    Whatever is not called a form is read as JSON: clients send any content type. Raises UNREADABLE_BODY,
    INVALID_PARAMETER.
    """
    if not body or body.isspace():
        body = b"{}"
    elif _is_form(body, content_type):
        body = _form_as_json(body)
    try:
        return decode(body, wanted)
    except UnreadableBodyError:
        raise DomainError(ErrorCode.UNREADABLE_BODY, "The body is not valid JSON in UTF-8.") from None
    except UnexpectedShapeError as error:
        raise invalid_parameter(f"{error}.") from None


def _is_form(body: bytes, content_type: bytes | None) -> bool:
    """Clients that say nothing else are taken to send a form, so a JSON object under that name is JSON all the same."""
    called_a_form = content_type is not None and content_type.lower().startswith(forms.CONTENT_TYPE)
    return called_a_form and not body.lstrip().startswith(b"{")


def _form_as_json(body: bytes) -> bytes:
    try:
        return encode(forms.read_form(body))
    except ValueError as error:
        raise DomainError(ErrorCode.UNREADABLE_BODY, f"The form cannot be read: {error}.") from None


def _too_large() -> DomainError:
    return DomainError(ErrorCode.BODY_TOO_LARGE, f"The body is larger than {LARGEST_BODY_BYTES} bytes.")
