"""From where webhooks may come: the ranges that the marketplace publishes (contract, section 4, `/ip_ranges.json`).

They are kept in a file, so that a start without the network knows them, and read anew once a day. What cannot be read
leaves the ranges as they are: a shop that is closed to its marketplace loses more than one that is open to a stranger,
whose events are only a reason to look.
"""

import ipaddress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# What a range of a whole family would let in is everybody.
_SHORTEST_PREFIX: Final = 8


class SourceRangesError(ValueError):
    """The ranges cannot be read; the sentence says why."""


class _Published(Struct):
    ipv4: list[str] = field(default_factory=list)
    ipv6: list[str] = field(default_factory=list)


class SourceRanges:
    """The networks from which webhooks come."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self.networks = networks

    def __contains__(self, address: str) -> bool:
        """Whether this address, as text, is one of them; an IPv4 address inside of IPv6 is the one inside."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed.version == network.version and parsed in network for network in self.networks)


def read_ranges(content: bytes) -> SourceRanges:
    """The published document. Raises SourceRangesError for one that is none, or names nothing."""
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
    """The ranges of a file. Raises SourceRangesError."""
    try:
        return read_ranges(path.read_bytes())
    except OSError as error:
        raise SourceRangesError(f"{path}: {error.strerror}") from error


def keep_ranges(path: Path, content: bytes) -> SourceRanges:
    """What was fetched, if it can be read, whole in the file. Raises SourceRangesError, OSError."""
    ranges = read_ranges(content)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
    return ranges
