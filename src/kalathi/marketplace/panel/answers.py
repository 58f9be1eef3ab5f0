"""What the handler of a page gives back; the edge makes HTTP of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kalathi.marketplace.api.reply import Reply
from kalathi.marketplace.panel.live import Stream


class Shown(NamedTuple):
    """A page: its template, and what that shows. `secret` is for texts that are shown once and must not be kept."""

    template: str
    content: Mapping[str, Any]
    status: int = 200


class See(NamedTuple):
    """Look there now: what was asked is done. `done` is a word of wording.DONE; `session` is a new cookie's value, and
    an empty one takes it away."""

    path: str
    done: str = ""
    session: str | None = None


Answer = Shown | See | Reply | Stream
