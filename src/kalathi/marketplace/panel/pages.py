"""A row of the page table."""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import NamedTuple

from kalathi.marketplace.panel.answers import Answer
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.web.uploads import FileField

Handler = Callable[[Visit], Awaitable[Answer]]


class Who(Enum):
    """The kinds of visitors."""

    ANYBODY = auto()
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


def get_page(who: Who, path: str, handler: Handler) -> Page:
    """A page to look at."""
    return Page(who, "GET", path, handler)


def post_page(
    who: Who, path: str, handler: Handler, back: Handler | None = None, file: FileField | None = None
) -> Page:
    """An action of a form."""
    return Page(who, "POST", path, handler, back, file)
