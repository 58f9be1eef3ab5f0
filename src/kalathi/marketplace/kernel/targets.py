"""The only parser of webhook URLs. Settings, redirects and the sender use it, so every stored URL can be sent to."""

import base64
import ipaddress
import re
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_URL: Final = re.compile(r"(?P<scheme>[A-Za-z]+)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)(?:#.*)?")
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_LONGEST_HOST: Final = 253
_LARGEST_PORT: Final = 65_535


# Shown in place of user name and password.
MASK: Final = "***"


class BadUrl(StrEnum):
    """The reason why a URL cannot be used. The value continues a sentence that begins with the setting's name."""

    NOT_ASCII = "must be in ASCII: percent-encode other characters of the path, and write the host in its xn-- form"
    SPACES = "must have no spaces, control characters or backslashes"
    SCHEME = "must begin with http:// or https://"
    HOST = "must name a host, such as shop.example or 192.0.2.1"
    NUMBERS = "has a host that is not an IPv4 address: write all four numbers in decimal, such as 192.0.2.1"
    PORT = "must have a port between 1 and 65535, or none"
    USER = "has a user name with a colon, which HTTP cannot send"
    MASKED = "has *** in place of the user name and password: write them out, or leave the URL as it was shown"


class Target(NamedTuple):
    """The target of a request. `host` has no brackets. `path` includes the query, byte for byte as in the URL."""

    is_tls: bool
    host: str
    port: int
    path: str
    # For the `Host` header: with brackets, and with the port unless it is the scheme's own.
    authority: str
    # The value of `Authorization`, or an empty text.
    authorization: str


@lru_cache(maxsize=4096)
def parse_target(url: str) -> Target | BadUrl:
    """Return the target of an http or https URL (RFC 3986), or the reason why the URL cannot be used."""
    if not url.isascii():
        return BadUrl.NOT_ASCII
    if not url.isprintable() or " " in url or "\\" in url:
        return BadUrl.SPACES
    match = _URL.fullmatch(url)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in _DEFAULT_PORTS:
        return BadUrl.SCHEME
    user, _, place = match["authority"].rpartition("@")
    host, port = _split_port(place, _DEFAULT_PORTS[scheme])
    if port is None:
        return BadUrl.PORT
    checked = _check_host(host)
    if isinstance(checked, BadUrl):
        return checked
    if user == MASK:
        return BadUrl.MASKED
    authorization = _basic(user)
    if authorization is None:
        return BadUrl.USER
    rest = match["rest"]
    path = rest if rest.startswith("/") else f"/{rest}"
    authority = host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
    return Target(scheme == "https", checked, port, path, authority, authorization)


def mask_url(url: str) -> str:
    """Return the URL without its user name and password, for pages, logs and terminals."""
    head, separator, rest = url.partition("://")
    if not separator:
        return url
    end = min((found for mark in "/?#" if (found := rest.find(mark)) >= 0), default=len(rest))
    user, at, place = rest[:end].rpartition("@")
    return f"{head}://{MASK}@{place}{rest[end:]}" if at and user else url


def _split_port(place: str, default: int) -> tuple[str, int | None]:
    """Return the host and the port; None for an invalid port."""
    end = place.find("]") + 1
    host, colon, digits = place[end:].partition(":")
    if not colon or not digits:
        return place[:end] + host, default
    number = int(digits) if digits.isdigit() and len(digits) <= 5 else 0
    return place[:end] + host, number if 1 <= number <= _LARGEST_PORT else None


def _check_host(host: str) -> str | BadUrl:
    if host.startswith("["):
        try:
            # A zone (%eth0) is valid on one machine only.
            return BadUrl.HOST if "%" in host else str(ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]")))
        except ValueError:
            return BadUrl.HOST
    labels = host.removesuffix(".").split(".")
    if len(host) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        return BadUrl.HOST
    if _NUMBER.fullmatch(labels[-1]):
        # Resolvers read 127.1, 0x7f000001 and 2130706433 as addresses, each in its own way.
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            return BadUrl.NUMBERS
    return host.lower()


def _basic(user: str) -> str | None:
    """Return the value of `Authorization` for user name and password (RFC 7617); None if HTTP cannot send them."""
    if not user:
        return ""
    name, _, password = user.partition(":")
    name_bytes, password_bytes = unquote_to_bytes(name), unquote_to_bytes(password)
    if b":" in name_bytes:
        return None
    return f"Basic {base64.b64encode(name_bytes + b':' + password_bytes).decode()}"
