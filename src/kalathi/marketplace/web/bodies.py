"""Reading of request bodies, limited in size, and as lenient as the contract (section 1)."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from starlette.types import Receive

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError, decode, encode
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, invalid_parameter
from kalathi.marketplace.kernel.refusals import refuse_shape
from kalathi.marketplace.web import forms

LARGEST_BODY_BYTES: Final = 1_000_000
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_MOST_NAMED: Final = 10
_NUL_SENTENCE: Final = "a text must not have the character U+0000."


class CheckedBody(NamedTuple):
    """A JSON body whose members the handler checks itself, up to a size of its own. `schema` describes it."""

    schema: Any
    most_bytes: int = LARGEST_BODY_BYTES


async def read_body(receive: Receive, content_length: bytes | None, most_bytes: int = LARGEST_BODY_BYTES) -> bytes:
    """Read the whole body. Raises BODY_TOO_LARGE (without reading, if Content-Length shows it), UNREADABLE_BODY."""
    if content_length is not None and content_length.isdigit() and int(content_length[:20]) > most_bytes:
        raise _too_large(most_bytes)
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise DomainError(ErrorCode.UNREADABLE_BODY, "The connection ended before the body did.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most_bytes:
            raise _too_large(most_bytes)
        parts.append(part)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decode_body(body: bytes, wanted: Any, content_type: bytes | None = None) -> Any:
    """Decode a body into a struct. An empty body is an empty object, and a form has the same names as JSON.

    A body without the content type of a form is read as JSON: clients send any content type. Raises UNREADABLE_BODY,
    INVALID_PARAMETER.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if not body or body.isspace():
        body = b"{}"
    elif _is_form(body, content_type):
        body = _form_as_json(body)
    try:
        _check_nul(body)
        return decode(body, wanted)
    except UnreadableBodyError:
        raise DomainError(ErrorCode.UNREADABLE_BODY, "The body is not valid JSON in UTF-8.") from None
    except UnexpectedShapeError as error:
        raise refuse_shape(str(error)) from None


def check_encoding(content_encoding: bytes | None) -> None:
    """Check that the body is not compressed. Raises COMPRESSED_BODY."""
    if content_encoding is not None and content_encoding.strip().lower() not in {b"", b"identity"}:
        named = content_encoding[:40].decode("latin-1")
        raise DomainError(
            ErrorCode.COMPRESSED_BODY, f"The body is compressed ({named}). Send it without Content-Encoding."
        )


def read_query(query: bytes) -> dict[str, str]:
    """Return the parameters of a query; blank ones are left out. Raises INVALID_PARAMETER for a NUL character."""
    parameters = dict(parse_qsl(query.decode("latin-1")))
    for name, value in parameters.items():
        if "\0" in value or "\0" in name:
            raise invalid_parameter(f"{name[:40]}: {_NUL_SENTENCE}".replace("\0", ""))
    return parameters


def _check_nul(body: bytes) -> None:
    """Check the body's texts for NUL characters, which PostgreSQL cannot store. Raises INVALID_PARAMETER."""
    # Most bodies have no such escape. In the others its backslash may itself be escaped, so the decoded texts decide.
    if b"\\u0000" not in body:
        return
    places = list(dict.fromkeys(_places_of_nul(decode(body, Any), "")))
    if places:
        raise invalid_parameter(*(f"{place or 'The body'}: {_NUL_SENTENCE}" for place in places[:_MOST_NAMED]))


def _places_of_nul(content: Any, place: str) -> Iterator[str]:
    """Yield the names of members with such a text, such as `line_items.id`."""
    if isinstance(content, str) and "\0" in content:
        yield place
    elif isinstance(content, list):
        for value in content:
            yield from _places_of_nul(value, place)
    elif isinstance(content, dict):
        for name, value in content.items():
            if "\0" in name:
                yield place
            yield from _places_of_nul(value, f"{place}.{name}".strip("."))


def _is_form(body: bytes, content_type: bytes | None) -> bool:
    """Whether the body is a form. Many clients send the content type of a form by default, so a body that begins like a
    JSON object is JSON."""
    called_a_form = content_type is not None and content_type.lower().startswith(forms.CONTENT_TYPE)
    return called_a_form and not body.lstrip().startswith(b"{")


def _form_as_json(body: bytes) -> bytes:
    try:
        return encode(forms.read_form(body))
    except ValueError as error:
        raise DomainError(ErrorCode.UNREADABLE_BODY, f"The form cannot be read: {error}.") from None


def _too_large(most_bytes: int) -> DomainError:
    return DomainError(ErrorCode.BODY_TOO_LARGE, f"The body is larger than {most_bytes} bytes.")
