"""The path to which webhooks are posted. It may contain a secret, in the path or in a query.

A call matches if its path is the same, with or without a slash at the end, and if its query begins with the configured
parameters in their order. Further parameters may follow. Percent-encoding is decoded on both sides. In a query, a plus
and a space are the same, because callers use both for a space. Without configured parameters, any query matches.
"""

import hmac
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

from starlette.types import Scope

_LONGEST_SHOWN: Final = 200


class WebhookPath:
    """`/smart_cart_orders`, `/hook/secret` or `/hook?key=secret`."""

    def __init__(self, configured: str) -> None:
        """Raises ValueError, with a sentence, for a path that no call can reach."""
        path, _, query = configured.partition("?")
        self._path = unquote(path)
        self._parameters = _parameters(query.encode("utf-8", "replace"))
        if not path.startswith("/"):
            raise ValueError(f"the path must begin with a slash: /{configured}")
        if not configured.isprintable() or "\ufffd" in self._path:
            raise ValueError("the path holds characters that are not UTF-8 or cannot be printed")
        if {".", ".."} & set(self._path.split("/")):
            raise ValueError(f"the path {path} contains . or .., which callers remove before they send the request")

    @property
    def address(self) -> str:
        """The path and query as a caller must send them, in ASCII; secrets included."""
        query = "&".join(
            _encode(name) if value is None else f"{_encode(name)}={_encode(value)}" for name, value in self._parameters
        )
        return quote(self._path, safe="/:@!$&'()*+,;=~") + (f"?{query}" if query else "")

    @property
    def mask_query(self) -> str:
        """The path and query for a log, with the values of the query hidden."""
        query = "&".join("***" if value is None else f"{_encode(name)}=***" for name, value in self._parameters)
        return show_path(self._path) + (f"?{query}" if query else "")

    def matches(self, scope: Scope) -> bool:
        """Whether an HTTP request is for this path, absolute or relative to the mount point of this application.
        Comparisons take constant time, so that the time reveals nothing about a secret."""
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
    """Return a request's path for a log: in ASCII, and truncated if it is long."""
    encoded = quote(path, safe="/:@!$&'()*+,;=~", errors="replace")
    return encoded if len(encoded) <= _LONGEST_SHOWN else f"{encoded[:_LONGEST_SHOWN]}..."


def _paths(scope: Scope) -> set[str]:
    """Return the request's path, absolute and relative to the mount point. If a proxy removes a prefix (`root_path` of
    the outer application), `root_path` still contains that prefix."""
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
