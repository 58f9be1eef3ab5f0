"""The source of a call behind proxies, from the trustworthy right end of `X-Forwarded-For`.

Each proxy appends the address of its own caller. So the last entry was written by the proxy in front of us, the one
before it by the proxy in front of that one, and everything further left by the caller itself, which may write anything.
The trustworthy part is known by the number of our proxies or by their addresses. A number is only safe if no caller can
bypass the proxies.

`Forwarded` (RFC 7239) is not read. A proxy that sets one of the two headers passes the other one on as the caller has
written it, so a receiver that reads both can be lied to. nginx, Caddy, Apache, HAProxy and the load balancers of the
large clouds all write `X-Forwarded-For`.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MOST_HOPS: Final = 20
_MAPPED_PREFIX: Final = 96
# `1.2.3.4:51234`, `[2a03::1]` and `[2a03::1]:443`. Of an address in brackets and one in dots only, the rest is a port.
_WITH_PORT: Final = re.compile(r"(?:\[(?P<inside>[^\[\]]+)\]|(?P<dotted>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?")


class TrustedProxies(NamedTuple):
    """The proxies in front: how many there are (`hops`), or from which networks they call."""

    hops: int = 0
    networks: tuple[Network, ...] = ()

    def contains(self, address: Address) -> bool:
        """Whether this is the address of a trusted proxy."""
        return any(address.version == network.version and address in network for network in self.networks)


def read_trusted_proxies(text: str) -> TrustedProxies:
    """`2`, or `10.0.0.0/8,127.0.0.1`. Raises ValueError with a sentence that quotes the wrong part."""
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
    """The address of one entry: with or without a port, brackets, quotes, spaces and a zone; None for anything else.

    An IPv4 address inside IPv6 (`::ffff:1.2.3.4`) is the IPv4 address.
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

    `peer` is the other end of the socket, `forwarded_for` the lines of `X-Forwarded-For` in their order. By number, it
    is that entry from the right. By networks, it is the first address from the right, the peer included, that is not
    a trusted proxy, or the leftmost if all are. An entry that is not an address is never skipped, because no trusted
    proxy wrote the entries to its left.
    """
    if trusted is None:
        return peer
    # Lines in their order and entries between commas, never by quotes: a caller's open quote must not swallow ours.
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
        raise ValueError(f"{text} is everybody, and then a caller could name any source")
    return network
