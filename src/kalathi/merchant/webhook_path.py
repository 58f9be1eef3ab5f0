"""The path that webhooks are posted to, which may hold a secret: in itself or in a query.

A call is for this path when its path is the same, with a slash at the end or without, and when its query begins with
the configured parameters in their order. Further parameters may follow. Percent-encoding is decoded on both sides. In
a query a plus and a space are the same, since callers write one for the other. Without configured parameters any query
fits.
"""

import hmac
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

from starlette.types import Scope

_LONGEST_SHOWN: Final = 200


class WebhookPath:
    """`/smart_cart_orders`, `/hook/secret` or `/hook?key=secret`."""

    def __init__(self, configured: str) -> None:
        """Raises ValueError with a sentence for a path at which no call could arrive."""
        path, _, query = configured.partition("?")
        self._path = unquote(path)
        self._parameters = _parameters(query.encode("utf-8", "replace"))
        if not path.startswith("/"):
            raise ValueError(f"the path must begin with a slash: /{configured}")
        if not configured.isprintable() or "\ufffd" in self._path:
            raise ValueError("the path holds characters that are not UTF-8 or cannot be printed")
        if {".", ".."} & set(self._path.split("/")):
            raise ValueError(f"the path {path} holds . or .., which callers take out before they call")

    @property
    def address(self) -> str:
        """The path and query as a caller must send them, in ASCII; secrets included."""
        query = "&".join(
            _encode(name) if value is None else f"{_encode(name)}={_encode(value)}" for name, value in self._parameters
        )
        return quote(self._path, safe="/:@!$&'()*+,;=~") + (f"?{query}" if query else "")

    @property
    def mask_query(self) -> str:
        """The path for a log: of its query only the names of parameters that have a value."""
        query = "&".join("***" if value is None else f"{_encode(name)}=***" for name, value in self._parameters)
        return show_path(self._path) + (f"?{query}" if query else "")

    def matches(self, scope: Scope) -> bool:
        """Whether an HTTP request is for this path, as it came or below the place where this application is mounted.
        Every comparison runs to its end, so that the time reveals nothing about a secret."""
        return self.matches_path(scope) & self._is_query(scope)

    def matches_path(self, scope: Scope) -> bool:
        """Whether the path matches; the query does not count."""
        matches = [self._is_path(path) for path in _paths(scope)]
        return any(matches)

    def _is_path(self, path: str) -> bool:
        return hmac.compare_digest(_without_slash(path), _without_slash(self._path))

    def _is_query(self, scope: Scope) -> bool:
        given = _parameters(scope.get("query_string", b""))[: len(self._parameters)]
        return hmac.compare_digest(_normalise(given), _normalise(self._parameters))


def show_path(path: str) -> str:
    """A request's path for a log: in ASCII, and cut if it is long."""
    encoded = quote(path, safe="/:@!$&'()*+,;=~", errors="replace")
    return encoded if len(encoded) <= _LONGEST_SHOWN else f"{encoded[:_LONGEST_SHOWN]}..."


def _paths(scope: Scope) -> set[str]:
    """The request's path, whole and without the place of the mount. A proxy that takes a prefix away (`root_path` of
    the outer application) leaves it in `root_path` all the same."""
    path, root_path = scope["path"], scope.get("root_path", "")
    mount = root_path.removeprefix(scope.get("app_root_path", ""))
    return {path, *(path.removeprefix(prefix) for prefix in (root_path, mount))}


def _without_slash(path: str) -> bytes:
    return path.removesuffix("/").encode("utf-8", "surrogatepass")


def _parameters(query: bytes) -> list[tuple[bytes, bytes | None]]:
    """Names and values, decoded; None for a name without an equals sign."""
    parts = [part.partition(b"=") for part in query.split(b"&") if part]
    return [(unquote_to_bytes(name), unquote_to_bytes(value) if equals else None) for name, equals, value in parts]


def _normalise(parameters: list[tuple[bytes, bytes | None]]) -> bytes:
    return repr(parameters).encode().replace(b"+", b" ")


def _encode(part: bytes) -> str:
    return quote(part, safe="")
