"""The console of a sandbox without signing in (`--open-console`), for requests of a browser on the same machine.

A request may use the console if it comes from a loopback address, if it has exactly one Host header, which is a
loopback name with our own port, and if no header shows that another site caused it. The rule uses no other headers. It
cannot detect a proxy on this machine that forwards calls under our own name, or another user of this machine. So the
setting is off by default, and `kalathi serve` prints a warning at its start.
"""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from kalathi.marketplace.kernel.settings import Settings

_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
_HTTP_PORT: Final = 80
_OWN_SITE: Final = frozenset({"same-origin", "none"})


def find_console_fault(settings: Settings) -> str | None:
    """Return why the console of this marketplace must not be open, or None if it may."""
    if settings.mode != "sandbox":
        return "only a sandbox can have an open console"
    if not is_loopback(settings.host):
        return f"the marketplace would listen on {settings.host}; listen on 127.0.0.1"
    public = urlsplit(settings.public_url).hostname if settings.public_url else None
    if public is not None and not is_loopback(public):
        return "there is a --public-url, so callers come from other machines"
    return None


def is_local_visit(request: Request) -> bool:
    """Whether this request may use an open console."""
    server, client = request.scope.get("server"), request.client
    hosts = request.headers.getlist("host")
    if client is None or server is None or len(hosts) != 1:
        return False
    host, port = hosts[0].lower(), server[1]
    named = {f"{name}:{port}" for name in _NAMES} | set(_NAMES if port == _HTTP_PORT else ())
    return is_loopback(client.host) and host in named and _is_of_own_site(request, host)


def is_loopback(host: str) -> bool:
    """Whether this is `localhost` or an address of this machine."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_of_own_site(request: Request, host: str) -> bool:
    headers, origin = request.headers, f"http://{host}"
    return (
        all(site in _OWN_SITE for site in headers.getlist("sec-fetch-site"))
        and all(given.lower() == origin for given in headers.getlist("origin"))
        and all(given.lower().startswith(f"{origin}/") for given in headers.getlist("referer"))
    )
