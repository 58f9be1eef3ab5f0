"""Pages of lists as people turn them."""

from collections.abc import Mapping
from typing import NamedTuple

from kalathi.marketplace.web.paging import Page, page_of

PER_PAGE = 50


class ListPosition(NamedTuple):
    """Where a page stands in its list; the page before and the one after, None at the ends."""

    number: int
    pages: int
    entries: int

    @property
    def before(self) -> int | None:
        """The page before."""
        return min(self.number - 1, self.pages) if self.number > 1 else None

    @property
    def after(self) -> int | None:
        """The page after."""
        return self.number + 1 if self.number < self.pages else None


def read_page(query: Mapping[str, str]) -> Page:
    """Which part of the list is asked for. Raises INVALID_PARAMETER."""
    return page_of({"per": str(PER_PAGE), "page": query.get("page", "1")})


def locate_page(page: Page, count: int) -> ListPosition:
    """Where it stands, once the results are counted."""
    return ListPosition(page.number, max(1, -(-count // page.per)), count)
