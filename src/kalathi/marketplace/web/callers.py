"""The addresses of callers, and the throttle of wrong tokens.

The address is the other end of the socket, or the one that a trusted proxy wrote into `X-Forwarded-For` (setting
`trusted_proxies`). Headers of any other caller are not believed, so a caller cannot choose an address to be counted
under.
"""

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.web.limits import RateLimit
from kalathi.trusted_proxies import read_trusted_proxies, source_of

_LONGEST_ADDRESS: Final = 50
# One customer of an IPv6 provider has at least a /64 and can take any address in it.
_IPV6_CUSTOMER_PREFIX: Final = 64
_FORWARDED_FOR: Final = b"x-forwarded-for"


class Callers:
    """The addresses of callers, and the number of wrong tokens from each."""

    def __init__(self, settings: Settings) -> None:
        """Read the settings. Raises ValueError for an invalid `trusted_proxies`."""
        self._proxies = read_trusted_proxies(settings.trusted_proxies) if settings.trusted_proxies.strip() else None
        self._wrong_tokens = RateLimit(settings.wrong_tokens_per_minute, what="wrong tokens")

    def find_address(self, scope: Mapping[str, Any]) -> str:
        """Return the caller's address, or the proxy's if the proxy names none."""
        client = scope.get("client")
        peer: str = client[0] if client else ""
        if self._proxies is None:
            return peer
        lines = [value.decode("latin-1") for name, value in scope["headers"] if name == _FORWARDED_FOR]
        return source_of(peer, lines, self._proxies) or peer

    def refuse_token(self, scope: Mapping[str, Any], refusal: DomainError) -> DomainError:
        """Count a wrong token of this caller. Return `refusal`, or RATE_LIMITED if there were too many.

        Requests with a valid token are not counted and never refused here."""
        if not self._wrong_tokens.is_on:
            return refusal
        try:
            self._wrong_tokens.count(network_of(self.find_address(scope)))
        except DomainError as limited:
            return limited
        return refusal


def network_of(address: str) -> str:
    """Return the network by which a caller is counted: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_LONGEST_ADDRESS]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found), _IPV6_CUSTOMER_PREFIX), strict=False))
    return str(found)
