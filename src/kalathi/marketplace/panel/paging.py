"""Pages of lists as people leaf through them."""

from collections.abc import Mapping
from typing import NamedTuple

from kalathi.marketplace.api.paging import Page, page_of

PER_PAGE = 50


class Leaf(NamedTuple):
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


def leaf_of(query: Mapping[str, str]) -> Page:
    """Which part of the list is asked for. Raises INVALID_PARAMETER."""
    return page_of({"per": str(PER_PAGE), "page": query.get("page", "1")})


def leafed(page: Page, count: int) -> Leaf:
    """Where it stands, once the results are counted."""
    return Leaf(page.number, max(1, -(-count // page.per)), count)
