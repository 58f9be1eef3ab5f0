"""Reading request bodies: bounded, and lenient where the contract is (section 1)."""

from typing import Any, Final

from starlette.types import Receive

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError, decode
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, invalid_parameter

LARGEST_BODY_BYTES: Final = 1_000_000


async def read_body(receive: Receive, content_length: bytes | None) -> bytes:
    """The whole body. Raises BODY_TOO_LARGE, before reading when the length is told."""
    if content_length is not None and content_length.isdigit() and int(content_length) > LARGEST_BODY_BYTES:
        raise _too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > LARGEST_BODY_BYTES:
            raise _too_large()
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body"):
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > LARGEST_BODY_BYTES:
            raise _too_large()
        parts.append(part)
    return b"".join(parts)


def decode_body(body: bytes, wanted: Any) -> Any:
    """The struct that a body means; no content is an empty object. Raises UNREADABLE_BODY, INVALID_PARAMETER."""
    if not body or body.isspace():
        body = b"{}"
    try:
        return decode(body, wanted)
    except UnreadableBodyError:
        raise DomainError(ErrorCode.UNREADABLE_BODY, "The body is not valid JSON in UTF-8.") from None
    except UnexpectedShapeError as error:
        raise invalid_parameter(f"{error}.") from None


def _too_large() -> DomainError:
    return DomainError(ErrorCode.BODY_TOO_LARGE, f"The body is larger than {LARGEST_BODY_BYTES} bytes.")
