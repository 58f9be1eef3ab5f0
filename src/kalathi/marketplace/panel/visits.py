"""One request of a person's browser, as the handler of a page sees it."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct
from starlette.datastructures import QueryParams

from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, Refusal
from kalathi.marketplace.kernel.refusals import refuse_shape
from kalathi.marketplace.panel.languages import Words
from kalathi.marketplace.panel.live import OPERATOR, ChangeSignals, Mark, Stream
from kalathi.marketplace.panel.sessions import Sessions, Visitor
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.forms import read_form

T = TypeVar("T")
# More than any form of ours has. Percent-encoding of this length takes 30 ms to read.
MOST_FIELDS: Final = 2000
MOST_FORM_BYTES: Final = 262_144


class PanelContext(Struct, frozen=True, kw_only=True):
    """The parts that every page uses; the edge makes it."""

    context: Context
    sessions: Sessions
    signals: ChangeSignals
    # The shops that are testing a webhook: a test takes connections from deliveries.
    trying: set[str] = msgspec.field(default_factory=set)


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
            raise DomainError(ErrorCode.UNREADABLE_BODY, "The form cannot be read.") from None

    def read(self, wanted: type[T]) -> T:
        """The form as a struct that has its names. Raises INVALID_PARAMETER."""
        return read_as(self.nested(), wanted)


def read_as(content: Any, wanted: type[T]) -> T:
    """Texts as the struct that they mean. Raises INVALID_PARAMETER."""
    try:
        return msgspec.convert(content, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise refuse_shape(str(error)) from None


class Visit(Struct, frozen=True, kw_only=True):
    """One request for a page: visitor, page and form. `parts` are the parameters of the path; `problems` are the
    reasons for which the form was refused that was sent last."""

    panel: PanelContext
    visitor: Visitor
    client: str
    path: str
    parts: Mapping[str, str]
    query: QueryParams
    words: Words
    # The browser loads the page ahead of a click.
    is_prefetch: bool = False
    form: Form = Form()
    problems: tuple[Refusal | str, ...] = ()

    @property
    def context(self) -> Context:
        """The marketplace."""
        return self.panel.context

    def follow(self, tables: tuple[str, ...], mark: Mark) -> Stream:
        """Return a stream of changes that this page has not seen yet. Raises RATE_LIMITED."""
        seen = self.query.get("seen", "")
        name = self.visitor.shop.id if self.visitor.shop else OPERATOR
        return Stream(self.panel.signals, tables, mark, visitor=name, seen=seen)

    @property
    def shop(self) -> Shop:
        """The shop of these pages. Raises UNAUTHORIZED without a shop's session."""
        if self.visitor.shop is None:
            raise DomainError(ErrorCode.UNAUTHORIZED, "Sign in with the shop's token.")
        return self.visitor.shop
