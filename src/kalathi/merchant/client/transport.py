"""The interfaces to the network: `send` takes a request and returns an answer. `network.py` is the real one; tests
replace it."""

import ipaddress
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

_NO_HEADERS: Final[Mapping[str, str]] = {}


class HttpAnswer(NamedTuple):
    """Status, whole body, and headers under lower-case names."""

    status: int
    body: bytes
    headers: Mapping[str, str] = _NO_HEADERS


class AsyncTransport(Protocol):
    """A transport with an event loop."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Send one request. Raises UnreachableError without an answer, RedirectedError for a refused redirect."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Transport(Protocol):
    """A transport without an event loop."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """Send one request. Raises UnreachableError without an answer, RedirectedError for a refused redirect."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def is_this_machine(url: str) -> bool:
    """Whether the URL's host is this machine by its name or address."""
    try:
        host = (urlsplit(url).hostname or "").removesuffix(".")
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
