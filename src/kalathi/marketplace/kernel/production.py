"""The requirements of production mode on the settings, checked before it accepts real orders."""

import ipaddress
from typing import Final

from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.targets import BadUrl, parse_target

# Ranges of documentation (RFC 5737, RFC 3849): examples and rehearsals use them.
_EXAMPLES: Final = tuple(
    ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
# Generated tokens have 43 characters. The operator's token gives full access.
_SHORTEST_TOKEN: Final = 32
# A larger range holds addresses that are not public.
_SHORTEST_PREFIX: Final = 8


def production_faults(settings: Settings) -> list[str]:
    """Return a sentence for each setting with which production mode must not start; none in a sandbox."""
    if settings.mode != "production":
        return []
    faults = []
    target = parse_target(settings.public_url)
    if not settings.public_url:
        faults.append("--public-url is missing: give the https address under which shops reach the marketplace")
    elif isinstance(target, BadUrl) or not target.is_tls:
        faults.append(f"--public-url {settings.public_url}: production needs https, because tokens go over it")
    elif target.host == "localhost" or target.host.startswith(("127.", "::1")):
        faults.append(f"--public-url {settings.public_url}: shops cannot reach this machine by that name")
    if settings.operator_token and is_short(settings.operator_token):
        faults.append(f"--operator-token has {TOO_SHORT}; without the setting a token is made at the first start")
    if settings.metrics_token and is_short(settings.metrics_token):
        faults.append(f"--metrics-token has {TOO_SHORT}")
    if settings.rough:
        faults.append("--rough is for a sandbox: production injects no faults")
    return faults + _range_faults(settings)


TOO_SHORT: Final = f"fewer than {_SHORTEST_TOKEN} characters"


def is_short(token: str) -> bool:
    """Whether a token is too short for the operator of a marketplace with real orders."""
    return len(token.strip()) < _SHORTEST_TOKEN


def _range_faults(settings: Settings) -> list[str]:
    """Return the faults of `--ip-ranges`. Shops' firewalls accept webhooks from these ranges."""
    listed = [part for text in settings.ip_ranges.split(",") if (part := text.strip())]
    if not listed:
        return ["--ip-ranges is empty: list the public addresses from which your webhooks leave"]
    faults = []
    for part in listed:
        try:
            network = ipaddress.ip_network(part)
        except ValueError:
            faults.append(f"--ip-ranges: {part} is no range such as 203.0.113.0/28")
            continue
        if not _is_public(network) and not (settings.allow_private_webhooks and network.is_private):
            faults.append(f"--ip-ranges: {part} is not public: list the addresses from which your webhooks leave")
    return faults


def _is_public(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    if network.prefixlen < _SHORTEST_PREFIX:
        return False
    if any(network.network_address in example for example in _EXAMPLES):
        return True
    return network.is_global and not network.is_multicast
