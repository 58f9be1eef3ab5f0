"""Forms as browsers send them: their values, a file, and the typed texts of a form that no page shows again."""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct
from starlette.requests import Request

from kalathi.marketplace.kernel.errors import DomainError, refuse
from kalathi.marketplace.kernel.refusals import refuse_shape
from kalathi.marketplace.panel import wording
from kalathi.marketplace.panel.languages import Words
from kalathi.marketplace.panel.refusals import EmptyFile, UnreadableForm
from kalathi.marketplace.web.forms import read_form
from kalathi.marketplace.web.uploads import FileField, boundary_of, read_file_parts

T = TypeVar("T")
# More than any form of ours has. Percent-encoding of this length takes 30 ms to read.
MOST_FIELDS: Final = 2000
MOST_FORM_BYTES: Final = 262_144
# Fields of a table's row that hold no typed text: a choice's word, and the hidden field of each listing.
_NOT_IN_ROWS: Final = frozenset({"reason", "shop_uid"})
_MOST: Final = 100
_NAME: Final = re.compile(r"(?:\w+\[(?P<row>\d{1,6})\]\[)?(?P<last>\w+)\]?")


class Given(dict[str, str]):
    """The values of a form's fields; blank for a field that the form does not have, which `in` distinguishes."""

    def __missing__(self, name: str) -> str:
        return ""


class Form(Struct, frozen=True, kw_only=True):
    """A sent form: its bytes as the browser writes them, its single values by name, and the bytes of a file."""

    encoded: bytes = b""
    values: Mapping[str, str] = {}
    file: bytes | None = None

    @property
    def given(self) -> Given:
        """For the page that shows the form again."""
        return Given(self.values)

    def text(self, name: str) -> str:
        """A value without the blanks around it; empty when it is not there."""
        return self.values.get(name, "").strip()

    def every(self, name: str) -> list[str]:
        """The values of a name that the form has several times, in its order."""
        pairs = parse_qsl(self.encoded.decode(), max_num_fields=MOST_FIELDS)
        return [value.strip() for other, value in pairs if other == name]

    def has(self, name: str) -> bool:
        """Whether a box is ticked."""
        return self.text(name) not in {"", "0", "false"}

    def nested(self) -> dict[str, Any]:
        """Names in brackets as the lists that they stand for; values that were left blank are left out."""
        try:
            return read_form(self.encoded)
        except ValueError:
            raise refuse(UnreadableForm()) from None

    def read(self, wanted: type[T]) -> T:
        """The form as a struct that has its names. Raises INVALID_PARAMETER."""
        return read_as(self.nested(), wanted)


def read_as(content: Any, wanted: type[T]) -> T:
    """Texts as the struct that they mean. Raises INVALID_PARAMETER."""
    try:
        return msgspec.convert(content, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise refuse_shape(str(error)) from None


async def read_file_form(request: Request, field: FileField) -> Form:
    """The values and the file's bytes, empty when none was chosen. Raises the field's refusal, UNREADABLE_BODY."""
    boundary = boundary_of(request.headers.get("content-type", "").encode("latin-1"))
    if boundary is None:
        raise refuse(UnreadableForm())
    parts = await read_file_parts(request.receive, boundary, field)
    values = {part.name: part.content.decode("utf-8", "replace") for part in parts if part.filename is None}
    chosen = [part for part in parts if part.filename and part.name == field.names[0]]
    if chosen and not chosen[0].content:
        raise DomainError(field.missing, EmptyFile())
    return Form(values=values, file=chosen[0].content if chosen else b"")


def label_of(name: str, words: Words) -> str:
    """Return the label of a field, with its row's number; empty for a field without typed text."""
    found = _NAME.fullmatch(name)
    if found is None or (found["row"] and found["last"] in _NOT_IN_ROWS) or found["last"] not in wording.TYPED_FIELDS:
        return ""
    row = f"{int(found['row']) + 1}. " if found["row"] else ""
    return row + words.text(wording.TYPED_FIELDS[found["last"]])


def list_typed_texts(form: Form, words: Words) -> list[tuple[str, str]]:
    """Label and text of the typed fields, in the form's order; the first hundred of them."""
    named = ((label_of(name, words), value) for name, value in form.values.items() if value.strip())
    return [(label, value) for label, value in named if label][:_MOST]
