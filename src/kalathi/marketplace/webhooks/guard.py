"""The address guard (docs/decisions/0016): webhooks go to public addresses only, whatever a name resolves to.

It stands where addresses are dialled: a name is resolved once, the resulting address is checked, and just that address
is dialled, so that a name server which changes its answer in between gains nothing. Addresses that are written out are
checked in the same way, on every redirect again.
"""

import ipaddress
from collections.abc import Callable
from typing import Final

Allowed = Callable[[str], bool]

# Networks of IPv6 that carry an IPv4 address inside: where it stands, in bits from the right.
_CARRIERS: Final = (
    (ipaddress.ip_network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (ipaddress.ip_network("::/96"), 0),  # IPv4-compatible
    (ipaddress.ip_network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (ipaddress.ip_network("2002::/16"), 80),  # 6to4
)
_NEVER: Final = (
    # Local NAT64 (RFC 8215) and Teredo: the address does not show which host is behind it.
    ipaddress.ip_network("64:ff9b:1::/48"),
    ipaddress.ip_network("2001::/32"),
    # Site-local addresses, which RFC 3879 has taken back and networks still have.
    ipaddress.ip_network("fec0::/10"),
    # Protocol assignments (RFC 6890), among them a cloud's metadata; another cloud has its own at a public address.
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("168.63.129.16/32"),
    # The relays of 6to4, which RFC 7526 has taken back: they lead wherever the network's operator wants.
    ipaddress.ip_network("192.88.99.0/24"),
    # Documentation (RFC 9637) and segment routing (RFC 9602), which are not of the public internet.
    ipaddress.ip_network("3fff::/20"),
    ipaddress.ip_network("5f00::/16"),
)
# ISATAP (RFC 5214): the lower half of the address begins with one of these, and an IPv4 address follows.
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


class ForbiddenAddressError(OSError):
    """The name resolves to an address to which no webhook is sent."""


def is_public(address: str) -> bool:
    """Whether an address of IPv4 or IPv6 may be sent to: neither loopback, private, link-local (which is where clouds
    keep their metadata), shared (CGNAT), multicast nor reserved, nor one of these inside of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(parsed.version == network.version and parsed in network for network in _NEVER):
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if (int(parsed) >> 32) & 0xFFFFFFFF in _ISATAP:
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
        for network, shift in _CARRIERS:
            if parsed in network:
                return is_public(str(ipaddress.IPv4Address((int(parsed) >> shift) & 0xFFFFFFFF)))
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def is_written_out(host: str) -> bool:
    """Whether a host is an address itself, which no resolver is asked about."""
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
