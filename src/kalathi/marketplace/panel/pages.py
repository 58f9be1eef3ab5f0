"""What a row of the page table says."""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import NamedTuple

from kalathi.marketplace.api.uploads import FileField
from kalathi.marketplace.panel.answers import Answer
from kalathi.marketplace.panel.visits import Visit

Handler = Callable[[Visit], Awaitable[Answer]]


class Who(Enum):
    """Who may look."""

    ANYBODY = auto()
    SHOP = auto()
    OPERATOR = auto()


class Page(NamedTuple):
    """One page, or one thing that a form asks for. `back` shows the form again when what it says is refused; `file` is
    the field of a form that sends one."""

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
    """What a form asks for."""
    return Page(who, "POST", path, handler, back, file)
