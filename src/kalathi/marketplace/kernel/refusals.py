"""The refusals that several slices use."""

import re
from typing import Final

from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, Refusal, show_value

_LONGEST_VALUE: Final = 40


def quote_value(given: object) -> str:
    """Return how a sentence names a given value: `it is missing`, or `abc is not valid`."""
    if given is None or not str(given).strip():
        return "it is missing"
    text = str(given)
    return f"{text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + '…'} is not valid"


class ConcurrentChange(Refusal, frozen=True):
    """A command has lost too many races with other writers."""

    CODE = ErrorCode.CONFLICT
    SENTENCE = "Somebody else is changing this at the same moment. Try again."


class UnkeepableCharacter(Refusal, frozen=True):
    """A text has U+0000, which PostgreSQL cannot store."""

    SENTENCE = "A text holds a character that cannot be kept: U+0000."


class NotOnOffer(Refusal, frozen=True):
    """A value outside of a list of valid ones. `given` is None or blank if it is missing."""

    member: str
    given: object
    valid: tuple[object, ...]

    def on_the_wire(self) -> str:
        """Return the sentence with the valid values."""
        return f"{self.member}: {quote_value(self.given)}; valid values: {show_value(self.valid)}."


class FieldUnkeepable(Refusal, frozen=True):
    """The named text has U+0000, which PostgreSQL cannot store."""

    member: str
    SENTENCE = "{member}: it holds a character that cannot be kept: U+0000."


class LinesNamedTwice(Refusal, frozen=True):
    """A line is named more than once."""

    SENTENCE = "line_items: name each line once."


class _Shape(Refusal, frozen=True):
    """A body that does not fit its struct. `path` is the place, such as `$.items[...].quantity`; `text` is the
    decoder's own sentence, which goes over the wire."""

    path: str
    text: str

    @property
    def member(self) -> str:
        """The last name of the path."""
        return re.split(r"[.\[\]`$]+", self.path.rstrip("].`"))[-1]

    def on_the_wire(self) -> str:
        """Return the decoder's sentence."""
        return f"{self.text}."


class MissingMember(_Shape, frozen=True):
    """A required member is missing. `path` is its name."""


class WrongMember(_Shape, frozen=True):
    """A member has the wrong type, or a value outside of its list."""


class LongMember(_Shape, frozen=True):
    """A text has more than `most` characters."""

    most: int


_MISSING: Final = re.compile(r"Object missing required field `([^`]+)`")
_LONG: Final = re.compile(r"Expected `str` of length <= (\d+) - at `(\$[^`]*)`")
_WRONG: Final = re.compile(r"(?:Expected|Invalid enum value) .* - at `(\$[^`]*)`", re.DOTALL)


def read_shape_error(text: str) -> Refusal | str:
    """Return the refusal for a sentence of the decoder (msgspec), or the sentence itself if it has no refusal."""
    if found := _MISSING.match(text):
        return MissingMember(found[1], text)
    if found := _LONG.fullmatch(text):
        return LongMember(found[2], text, int(found[1]))
    if found := _WRONG.fullmatch(text):
        return WrongMember(found[1], text)
    return f"{text}."


def refuse_shape(text: str) -> DomainError:
    """Return the error of a body that the decoder refused with this sentence."""
    return DomainError(ErrorCode.INVALID_PARAMETER, read_shape_error(text))
