"""Forms as browsers send them: their values, a file, and the texts that the user typed."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct
from starlette.requests import Request

from kalathi.marketplace.kernel.errors import DomainError, refuse
from kalathi.marketplace.kernel.refusals import refuse_shape
from kalathi.marketplace.panel.field_names import TYPED_FIELDS
from kalathi.marketplace.panel.languages import Words
from kalathi.marketplace.panel.refusals import EmptyFile, NotANumber, NotConfirmed, UnreadableForm
from kalathi.marketplace.web.forms import read_form
from kalathi.marketplace.web.uploads import FileField, boundary_of, read_file_parts

T = TypeVar("T")
# The box of an action that cannot be undone.
CONFIRMED: Final = "confirmed"
# More than any of our forms has. Decoding a form of MOST_FORM_BYTES takes up to 30 ms.
MOST_FIELDS: Final = 2000
MOST_FORM_BYTES: Final = 262_144
# Fields of table rows without typed text: the value of a choice, and the hidden field of each listing.
_NOT_IN_ROWS: Final = frozenset({"reason", "shop_uid"})
_MOST: Final = 100
_AMOUNT: Final = re.compile(r"[+-]?(?=[0-9.]*[0-9])[0-9.]{1,20}")
_NAME: Final = re.compile(r"(?:\w+\[(?P<row>\d{1,6})\]\[)?(?P<last>\w+)\]?")


class Given(dict[str, str]):
    """The values of a form's fields; blank for a missing field. `in` checks whether the form has a field."""

    def __missing__(self, name: str) -> str:
        return ""


class Form(Struct, frozen=True, kw_only=True):
    """A sent form: its bytes as the browser writes them, its single values by name, and the bytes of a file."""

    encoded: bytes = b""
    values: Mapping[str, str] = {}
    file: bytes | None = None

    @property
    def given(self) -> Given:
        """The values for the page that shows the form again."""
        return Given(self.values)

    def text(self, name: str) -> str:
        """Return a value without the blanks around it; empty for a missing one."""
        return self.values.get(name, "").strip()

    def every(self, name: str) -> list[str]:
        """Return all values of a repeated name, in the form's order."""
        pairs = parse_qsl(self.encoded.decode(), max_num_fields=MOST_FIELDS)
        return [value.strip() for other, value in pairs if other == name]

    def has(self, name: str) -> bool:
        """Whether a box is ticked."""
        return self.text(name) not in {"", "0", "false"}

    def check_confirmed(self) -> None:
        """Check that the user has ticked the box of an action that cannot be undone. Raises INVALID_PARAMETER."""
        if not self.has(CONFIRMED):
            raise refuse(NotConfirmed())

    def nested(self) -> dict[str, Any]:
        """Return the form as nested data: names in brackets become lists. Blank values are left out. Raises
        UNREADABLE_BODY."""
        try:
            return read_form(self.encoded)
        except ValueError:
            raise refuse(UnreadableForm()) from None

    def read(self, wanted: type[T]) -> T:
        """Return the form as a struct with the same names. Raises INVALID_PARAMETER, UNREADABLE_BODY."""
        return read_as(self.nested(), wanted)


def read_as(content: Any, wanted: type[T]) -> T:
    """Convert texts to a struct. Raises INVALID_PARAMETER."""
    try:
        return msgspec.convert(content, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise refuse_shape(str(error)) from None


async def read_file_form(request: Request, field: FileField) -> Form:
    """Read a form's values and its file, empty if the user chose none. Raises the field's refusal, UNREADABLE_BODY."""
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
    if found is None or (found["row"] and found["last"] in _NOT_IN_ROWS) or found["last"] not in TYPED_FIELDS:
        return ""
    row = f"{int(found['row']) + 1}. " if found["row"] else ""
    return row + words.text(TYPED_FIELDS[found["last"]])


def list_typed_texts(form: Form, words: Words) -> list[tuple[str, str]]:
    """Label and text of the typed fields, in the form's order; the first hundred of them."""
    named = ((label_of(name, words), value) for name, value in form.values.items() if value.strip())
    return [(label, value) for label, value in named if label][:_MOST]


def read_amount(text: str, name: str) -> Decimal:
    """Read an amount as users write it. The last comma or point separates the decimals, others separate thousands.
    Three digits after the last one are refused, because it may separate thousands too. Raises INVALID_PARAMETER."""
    plain = text.replace(" ", "").replace(",", ".")
    whole, point, cents = plain.rpartition(".")
    is_unclear = point and len(cents) == 3 and whole.strip("+-0.")
    if is_unclear or not _AMOUNT.fullmatch(plain):
        raise refuse(NotANumber(name))
    return Decimal(f"{whole.replace('.', '')}{point}{cents}")
