"""The one codec of the wire (docs/contract.md#section-1): JSON in UTF-8, money as exact numbers, times with their
offset."""

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")

# Decimals are written as bare JSON numbers, digit for digit: 10.40 stays 10.40 and never passes through a float.
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class UnreadableBodyError(ValueError):
    """The bytes are not JSON in UTF-8, or are nested too deeply to be read."""


class UnexpectedShapeError(ValueError):
    """The bytes are JSON, but not of the expected shape; the text names the place, such as `$.line_items[0].id`."""


@cache
def _decoder_for(wanted: Any) -> msgspec.json.Decoder[Any]:
    """Return the cached decoder of a type. Creating a decoder takes a hundred times longer than using it."""
    return msgspec.json.Decoder(wanted)


def encode(value: object) -> bytes:
    """Encode a struct of this package as JSON. Amounts must be finite: infinity and NaN would produce invalid JSON."""
    return _ENCODER.encode(value)


def decode(body: bytes | str | msgspec.Raw, wanted: type[T]) -> T:
    """Decode JSON into a struct. Ignore unknown members.

    Raises UnreadableBodyError if the bytes are not JSON, UnexpectedShapeError if they do not fit the struct.
    """
    try:
        value: T = _decoder_for(cast(Hashable, wanted)).decode(body)
    except msgspec.ValidationError as error:
        # The decoder may report a wrong shape although the rest of the text is not JSON.
        _check_readable(body)
        raise UnexpectedShapeError(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableBodyError(str(error)) from error
    return value


def _check_readable(body: bytes | str | msgspec.Raw) -> None:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableBodyError(str(error)) from error
