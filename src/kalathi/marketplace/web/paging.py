"""Pages of lists (docs/contract.md#section-1): `?page=` from 1, `?per=` up to 100, and cursors."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from kalathi.contract.orders import ListMeta, Pagination
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.errors import invalid_parameter

_MOST_PER_PAGE: Final = 100
_CURSOR: Final = re.compile(r"([0-9]{1,15})\.([0-9A-Za-z-]{1,60})")
_LAST_PAGE: Final = 1_000_000


class Page(NamedTuple):
    """The requested page of a list."""

    number: int
    per: int

    @property
    def offset(self) -> int:
        """The number of results before this page."""
        return (self.number - 1) * self.per


def page_of(query: Mapping[str, str]) -> Page:
    """Return the page that a query requests. Raises INVALID_PARAMETER."""
    return Page(_number(query, "page", 1, _LAST_PAGE), _number(query, "per", _MOST_PER_PAGE, _MOST_PER_PAGE))


def pagination(page: Page, count: int) -> ListMeta:
    """The `meta` of a list."""
    return ListMeta(
        pagination=Pagination(total_results=count, total_pages=-(-count // page.per), page=page.number, per=page.per)
    )


# The cursor that starts at the oldest change.
START: Final = "start"


def cursor_of(text: str) -> tuple[int, str]:
    """Return a cursor's position among the changes: milliseconds since 1970, and a code. Raises INVALID_PARAMETER."""
    if text == START:
        return (0, "")
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise invalid_parameter(f"cursor: give {START}, or the meta.next_cursor of an answer.")
    return int(found[1]), found[2]


def cursor_to(at_millis: int, code: str) -> str:
    """Return the cursor of a position."""
    return f"{at_millis}.{code}" if code else START


def timestamp_of(query: Mapping[str, str], name: str) -> int:
    """Return a timestamp parameter as milliseconds since 1970, or 0 without the parameter. Raises INVALID_PARAMETER if
    it is not a timestamp with an offset."""
    text = query.get(name)
    if text is None:
        return 0
    try:
        # A plus sign that is not percent-encoded arrives as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        millis = None if moment.utcoffset() is None else to_millis(moment)
    except (ValueError, OverflowError):
        millis = None
    if millis is None:
        raise invalid_parameter(f"{name}: give a timestamp with its offset, such as 2026-11-24T10:00:00+02:00.")
    return max(0, millis)


def _number(query: Mapping[str, str], name: str, default: int, largest: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= largest):
        raise invalid_parameter(f"{name}: give a whole number from 1 to {largest}.")
    return int(text)
