"""A row of the page table, and the answers of handlers, which the edge converts to HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

from starlette.responses import Response

from kalathi.marketplace.panel.live import EndedStream, Stream
from kalathi.marketplace.panel.roles import role_of_form, role_of_page
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.people.model import Role
from kalathi.marketplace.web.reply import Reply
from kalathi.marketplace.web.uploads import FileField


class Shown(NamedTuple):
    """A page: its template, and the values for it."""

    template: str
    content: Mapping[str, Any]
    status: int = 200


class See(NamedTuple):
    """A redirect after a completed action. `done` is a key of wording.DONE. `session` is the value of a new cookie; an
    empty text removes the cookie."""

    path: str
    done: str = ""
    session: str | None = None


Answer = Shown | See | Reply | Response | Stream | EndedStream

Handler = Callable[[Visit], Awaitable[Answer]]


class Who(Enum):
    """The kinds of visitors."""

    PUBLIC = auto()
    SHOP = auto()
    OPERATOR = auto()


class Page(NamedTuple):
    """One page, or one action of a form. `back` shows the form again if it is refused; `file` is the field of a form
    with a file."""

    who: Who
    method: str
    path: str
    handler: Handler
    back: Handler | None = None
    file: FileField | None = None

    @property
    def role(self) -> Role:
        """The lowest role of a person who may use it."""
        return role_of_form(self.path) if self.method == "POST" else role_of_page(self.path)


def get_page(who: Who, path: str, handler: Handler) -> Page:
    """Return the row of a page."""
    return Page(who, "GET", path, handler)


def post_page(
    who: Who, path: str, handler: Handler, back: Handler | None = None, file: FileField | None = None
) -> Page:
    """Return the row of a form's action."""
    return Page(who, "POST", path, handler, back, file)
