"""The answers of a page's handler; the edge makes HTTP of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kalathi.marketplace.panel.live import Stream
from kalathi.marketplace.web.reply import Reply


class Shown(NamedTuple):
    """A page: its template, and the values for it."""

    template: str
    content: Mapping[str, Any]
    status: int = 200


class See(NamedTuple):
    """A redirect after a completed action. `done` is a word of wording.DONE; `session` is a new cookie's value, and an
    empty one removes the cookie."""

    path: str
    done: str = ""
    session: str | None = None


Answer = Shown | See | Reply | Stream
