"""Routing of a shop's calls that are not on one order: lists, returns, and goods in the warehouse."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from kalathi.marketplace.api.calls import ShopHandler
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode


class ShopRoute(NamedTuple):
    """One row of the table as the front runs it. `name` is the call's name in fault rules. With `is_products`, the
    caller has a token of the Products API."""

    method: str
    path: str
    handler: ShopHandler
    body: Any
    name: str
    is_products: bool = False


class ShopRoutes:
    """Finds a call's row by the parts of its path. There are about a dozen rows, so it tries each."""

    def __init__(self, routes: Iterable[ShopRoute]) -> None:
        self._routes = [(route, route.path.split("/")) for route in routes]

    def find(self, method: str, path: str) -> tuple[ShopRoute, dict[str, str]]:
        """Return the row, and the parameters of the path. Raises NOT_FOUND, METHOD_NOT_ALLOWED."""
        parts = path.split("/")
        allowed = set()
        for route, wanted in self._routes:
            named = match_path(wanted, parts)
            if named is None:
                continue
            allowed.add(route.method)
            if route.method == method:
                return route, named
        if allowed:
            raise DomainError(ErrorCode.METHOD_NOT_ALLOWED, f"{method} is not a method of this path.", allowed=allowed)
        raise DomainError(ErrorCode.NOT_FOUND, "There is no such path.")


def match_path(wanted: list[str], parts: list[str]) -> dict[str, str] | None:
    """Return the values of the named places, or None if the path is another."""
    if len(wanted) != len(parts):
        return None
    named = {}
    for pattern, part in zip(wanted, parts, strict=True):
        if pattern.startswith("{"):
            named[pattern[1:-1]] = part
        elif pattern != part:
            return None
    return named
