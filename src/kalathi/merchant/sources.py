"""The source addresses of webhooks: the marketplace's published ranges (docs/contract.md#section-4, `/ip_ranges.json`).

The ranges are stored in a file, for a start without network, and fetched again once a day. An unreadable answer leaves
the ranges unchanged. It is worse to refuse the marketplace's webhooks than to accept forged ones, because a forged
event only causes a fetch.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import structlog
from msgspec import Struct, field

from kalathi.merchant.client import CallError
from kalathi.merchant.client.redirects import show_address
from kalathi.merchant.client.transport import AsyncTransport
from kalathi.trusted_proxies import Network, read_address

_log = structlog.get_logger("kalathi.merchant")

# A shorter prefix is refused: it would cover too much of the address space.
_SHORTEST_PREFIX: Final = 8
_DAY_SECONDS: Final = 86_400.0


class SourceRangesError(ValueError):
    """The ranges cannot be read. The sentence gives the reason."""


class _Published(Struct):
    ipv4: list[str] = field(default_factory=list)
    ipv6: list[str] = field(default_factory=list)


class SourceRanges:
    """The networks from which webhooks come."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self.networks = networks

    def __contains__(self, address: str) -> bool:
        """Whether the address is in one of the networks. It is a text, with or without a port. An IPv4 address inside
        IPv6 counts as the IPv4 address."""
        parsed = read_address(address)
        if parsed is None:
            return False
        return any(parsed.version == network.version and parsed in network for network in self.networks)


def read_ranges(content: bytes) -> SourceRanges:
    """Read the published document. Raises SourceRangesError if it is malformed, contains no range, or a far too large
    one."""
    try:
        published = msgspec.json.decode(content, type=_Published)
        networks = tuple(ipaddress.ip_network(text, strict=False) for text in (*published.ipv4, *published.ipv6))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise SourceRangesError(f"the ranges cannot be read: {error}") from error
    if not networks:
        raise SourceRangesError("the ranges are empty")
    if any(network.prefixlen < _SHORTEST_PREFIX for network in networks):
        raise SourceRangesError("a range covers the whole network")
    return SourceRanges(networks)


def ranges_of_file(path: Path) -> SourceRanges:
    """Read the ranges from a file. Raises SourceRangesError."""
    try:
        return read_ranges(path.read_bytes())
    except OSError as error:
        raise SourceRangesError(f"{path}: {error.strerror}") from error


async def fetch_ranges(transport: AsyncTransport, marketplace_url: str, path: Path) -> SourceRanges:
    """Fetch the published ranges and store them in the file. Raises SourceRangesError, CallError, OSError."""
    url = f"{marketplace_url.rstrip('/')}/ip_ranges.json"
    answer = await transport.send("GET", url, {"Accept": "application/json"}, None)
    if answer.status != 200:
        raise SourceRangesError(f"{show_address(url)} has answered {answer.status}")
    return keep_ranges(path, answer.body)


async def keep_fresh(
    fetch: Callable[[], Awaitable[SourceRanges]],
    take: Callable[[SourceRanges], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Fetch the ranges once a day and pass them to `take`, until cancelled. Log a failure and keep the ranges."""
    while True:
        await sleep(_DAY_SECONDS)
        try:
            take(await fetch())
        except (SourceRangesError, CallError, OSError) as error:
            _log.warning("ranges_not_fetched", error=str(error))


def keep_ranges(path: Path, content: bytes) -> SourceRanges:
    """Store fetched ranges in the file, if they can be read. Raises SourceRangesError, OSError."""
    ranges = read_ranges(content)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
    return ranges
