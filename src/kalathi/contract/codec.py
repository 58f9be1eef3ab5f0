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
    """The decoder of a type, made once: making one costs a hundred times what using it does."""
    return msgspec.json.Decoder(wanted)


def encode(value: object) -> bytes:
    """JSON bytes of a struct of this package. Amounts must be finite: infinities and NaN would be written bare."""
    return _ENCODER.encode(value)


def decode(body: bytes | str | msgspec.Raw, wanted: type[T]) -> T:
    """A struct read from JSON; unknown members are ignored.

    Raises UnreadableBodyError when the bytes are not JSON, UnexpectedShapeError when they do not fit the struct.
    """
    try:
        value: T = _decoder_for(cast(Hashable, wanted)).decode(body)
    except msgspec.ValidationError as error:
        # The decoder may meet a wrong shape before it meets the place where the text stops being JSON.
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
