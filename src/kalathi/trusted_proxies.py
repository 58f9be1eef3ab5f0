"""Find the source of a call behind proxies, from the trustworthy right end of `X-Forwarded-For`.

Each proxy appends the address of its own caller. So the proxy in front of us wrote the last entry, the proxy in front
of that one wrote the entry before it, and so on. The caller itself wrote the entries further left, and they can contain
anything. The number of our proxies, or their addresses, show which entries are trustworthy. A number is only safe if no
caller can bypass the proxies.

This module does not read `Forwarded` (RFC 7239). A proxy that sets one of the two headers forwards the other one as the
caller sent it, so a caller could deceive a receiver that reads both. nginx, Caddy, Apache, HAProxy and the load
balancers of the large clouds all write `X-Forwarded-For`.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MOST_HOPS: Final = 20
_MAPPED_PREFIX: Final = 96
# `1.2.3.4:51234`, `[2a03::1]` and `[2a03::1]:443`. A port can follow only an IPv4 address or an address in brackets.
_WITH_PORT: Final = re.compile(r"(?:\[(?P<inside>[^\[\]]+)\]|(?P<dotted>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?")


class TrustedProxies(NamedTuple):
    """The proxies in front of the receiver: their number (`hops`), or their networks."""

    hops: int = 0
    networks: tuple[Network, ...] = ()

    def contains(self, address: Address) -> bool:
        """Whether this is the address of a trusted proxy."""
        return any(address.version == network.version and address in network for network in self.networks)


def read_trusted_proxies(text: str) -> TrustedProxies:
    """Read the setting, such as `2` or `10.0.0.0/8,127.0.0.1`. Raises ValueError, whose sentence quotes the invalid
    part."""
    parts = [part for entry in text.split(",") if (part := entry.strip())]
    if len(parts) == 1 and parts[0].isascii() and parts[0].isdigit():
        hops = int(parts[0][:6])
        if not 1 <= hops <= _MOST_HOPS:
            raise ValueError(f"{parts[0]} is not a number of proxies from 1 to {_MOST_HOPS}")
        return TrustedProxies(hops=hops)
    if not parts:
        raise ValueError("give a number of proxies, or their addresses and ranges with commas between")
    return TrustedProxies(networks=tuple(_read_network(part) for part in parts))


def read_address(text: str) -> Address | None:
    """Return the address of one entry, or None if the entry is not an address.

    The entry may have a port, brackets, quotes, spaces and a zone. An IPv4 address inside IPv6 (`::ffff:1.2.3.4`) is
    returned as the IPv4 address.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    matched = _WITH_PORT.fullmatch(text)
    if matched is not None:
        if int(matched["port"] or 0) > 65535:
            return None
        text = matched["inside"] or matched["dotted"]
    if ":" in text:
        text = text.partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def source_of(peer: str | None, forwarded_for: Sequence[str], trusted: TrustedProxies | None) -> str | None:
    """Return the address of the caller, or None if it is not known.

    `peer` is the other end of the socket, `forwarded_for` the lines of `X-Forwarded-For` in their order. With a number
    of proxies, the caller is the entry at that position from the right. With networks, the caller is the first address
    from the right, the peer included, that is not a trusted proxy, or the leftmost address if all are trusted. An entry
    that is not an address ends the search, because no trusted proxy wrote the entries to its left.
    """
    if trusted is None:
        return peer
    # Split at commas and ignore quotes: an open quote in the caller's part must not absorb the entries of our proxies.
    entries = [entry for line in forwarded_for for entry in line.split(",")]
    if trusted.hops:
        found = read_address(entries[-trusted.hops]) if len(entries) >= trusted.hops else None
        return None if found is None else str(found)
    return _find_first_untrusted((peer or "", *reversed(entries)), trusted)


def _find_first_untrusted(nearest_first: Iterable[str], trusted: TrustedProxies) -> str | None:
    address = None
    for entry in nearest_first:
        address = read_address(entry)
        if address is None:
            return None
        if not trusted.contains(address):
            break
    return str(address)


def _read_network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text} is neither an address nor a range such as 10.0.0.0/8") from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= _MAPPED_PREFIX:
        network = ipaddress.ip_network((int(mapped), network.prefixlen - _MAPPED_PREFIX))
    if network.prefixlen == 0:
        raise ValueError(f"{text} includes every address, so any caller could fake its source")
    return network
