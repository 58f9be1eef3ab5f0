"""What production mode needs of the settings before it takes real orders."""

import ipaddress
from typing import Final

from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.targets import BadUrl, parse_target

_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "0.0.0.0/8")
) + tuple(ipaddress.ip_network(text) for text in ("::1/128", "fc00::/7", "fe80::/10"))


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
    return faults + _range_faults(settings)


def _range_faults(settings: Settings) -> list[str]:
    """Shops' firewalls let webhooks in by these ranges."""
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
        is_private = any(network.version == other.version and network.overlaps(other) for other in _PRIVATE)
        if network.prefixlen == 0 or (is_private and not settings.allow_private_webhooks) or network.is_loopback:
            faults.append(f"--ip-ranges: {part} is not public: list the addresses from which your webhooks leave")
    return faults
