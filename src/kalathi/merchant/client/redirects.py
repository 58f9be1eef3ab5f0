"""Decide about redirects, without any input or output.

1. Repeat a GET or a HEAD at the new address, at most five times.
2. Repeat any other method only for 307 and 308, which keep the method and the body. 301, 302 and 303 would turn it into
   a GET, and the 200 of a GET does not prove that the POST was processed.
3. Keep a request that may carry a secret within its origin (scheme, host and port). Do not send a body from https to
   http.

An address may contain a secret in its query or before its host, so messages show only scheme, host and path.
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

MOST_STEPS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEEP_THE_METHOD: Final = frozenset({307, 308})
_READS: Final = frozenset({"GET", "HEAD"})
# Every other header may be a secret: a token, a cookie, a signature, a shop's own key.
_PLAIN_HEADERS: Final = frozenset({"accept", "content-type", "user-agent", "content-length", "idempotency-key"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9_.-]+|[0-9a-f.]*:[0-9a-f:.]+")
_SAFE: Final = "/%:@!$&'()*+,;=~"
_LONGEST_SHOWN: Final = 200


class Request(NamedTuple):
    """A request to send."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


class Reason(Enum):
    """The reason why a redirect is not followed."""

    UNREADABLE = auto()  # The header contains no http or https address.
    NOT_ENCRYPTED = auto()  # From https to http, with a body or a possible secret.
    METHOD = auto()  # The redirect would turn another method into a GET.
    HTTPS = auto()  # From http to https on the same host, with a possible secret: the most frequent change of origin.
    ORIGIN = auto()  # To any other origin, with a possible secret.
    STEPS = auto()  # The sixth redirect.


class Refused(NamedTuple):
    """A redirect that is not followed. The addresses contain no secrets (`show_address`); `new_address` is empty if the
    redirect names none."""

    reason: Reason
    method: str
    status: int
    address: str
    new_address: str

    def sentence(self) -> str:
        """Describe the refusal for a person, without a full stop."""
        way = f"{self.address} redirects to {self.new_address} ({self.status})"
        match self.reason:
            case Reason.UNREADABLE:
                return f"{self.address} redirects ({self.status}) and names no address that can be read"
            case Reason.NOT_ENCRYPTED:
                return f"{way}, which is not encrypted, and secrets are not sent there"
            case Reason.METHOD:
                return f"{way}, and a {self.method} is not repeated there: give that address"
            case Reason.HTTPS:
                return f"{way}: https is another address than http, so give the new one"
            case Reason.ORIGIN:
                return f"{way}, which is another server, and secrets are not sent there"
            case Reason.STEPS:
                return f"{self.address} redirects more than {MOST_STEPS} times, at last to {self.new_address}"


def decide(request: Request, status: int, location: str, earlier: Sequence[str] = ()) -> Request | Refused | None:
    """Return the next request, or the refused redirect, or None if the answer is not a redirect.

    `location` is the header of the answer, empty if there is none. `earlier` are the addresses of the previous
    requests in this chain of redirects, the first one first.
    """
    if status not in _REDIRECTS:
        return None
    new_url = _target(request.url, location)
    reason = Reason.UNREADABLE if new_url is None else _objection(request, status, new_url, len(earlier))
    if new_url is None or reason is not None:
        address = show_address(earlier[0] if earlier else request.url)
        return Refused(reason or Reason.UNREADABLE, request.method, status, address, show_address(new_url or ""))
    return request._replace(url=new_url)


def show_address(url: str) -> str:
    """Return the address without its secrets: scheme, host, port and path."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(an address that cannot be read)"
    if not parts.scheme or not parts.netloc:
        return ""
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return "".join(letter if letter.isprintable() else "?" for letter in shown)[:_LONGEST_SHOWN]


def origin_of(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port, or None if the address has no host or is invalid."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    return parts.scheme, host, port if port is not None else _DEFAULT_PORTS.get(parts.scheme)


def new_base(refused: Refused, path: str) -> str:
    """Return the new address of the whole server, derived from the redirect of a call to `path`. Empty if the redirect
    changes the path too, for example to a log-in page."""
    plain = path.partition("?")[0]
    if refused.reason not in {Reason.METHOD, Reason.HTTPS, Reason.ORIGIN} or not refused.new_address.endswith(plain):
        return ""
    return refused.new_address.removesuffix(plain)


def _objection(request: Request, status: int, new_url: str, steps: int) -> Reason | None:
    here, there = origin_of(request.url), origin_of(new_url)
    has_secret = _may_carry_secret(request)
    if here is None or there is None:
        return Reason.UNREADABLE
    if (here[0], there[0]) == ("https", "http") and (has_secret or request.body):
        return Reason.NOT_ENCRYPTED
    if request.method not in _READS and status not in _KEEP_THE_METHOD:
        return Reason.METHOD
    if here != there and has_secret:
        return Reason.HTTPS if (here[0], there[0]) == ("http", "https") and here[1] == there[1] else Reason.ORIGIN
    return Reason.STEPS if steps >= MOST_STEPS else None


def _may_carry_secret(request: Request) -> bool:
    return bool(_user_of(request.url)) or any(name.lower() not in _PLAIN_HEADERS for name in request.headers)


def _user_of(url: str) -> str:
    """Return the part before the host, such as `user:password@`."""
    user, separator, _ = urlsplit(url).netloc.rpartition("@")
    return user + separator


def _target(url: str, location: str) -> str | None:
    """Return the address in the header, rebuilt from its parts, so that the HTTP library connects to the host that was
    checked here. Ignore a user and password in the header."""
    text = _decode_location(location.strip())
    if not text or "\\" in text or not all(letter.isprintable() and not letter.isspace() for letter in text):
        return None
    try:
        given = urlsplit(text)
        if (given.scheme or text.startswith("//")) and not given.netloc:
            return None
        parts = urlsplit(urljoin(url, text))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if ("[" in parts.netloc) != (":" in host) or parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host):
        return None
    server = (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")
    rest = quote(parts.path or "/", safe=_SAFE)
    if parts.query:
        rest += f"?{quote(parts.query, safe=_SAFE + '?')}"
    new_url = f"{parts.scheme}://{server}{rest}"
    if origin_of(url) == origin_of(new_url):
        new_url = f"{parts.scheme}://{_user_of(url)}{server}{rest}"
    return new_url


def _decode_location(location: str) -> str:
    """Decode a header as UTF-8 if possible. The HTTP library decodes headers as Latin-1, but servers write Greek paths
    in UTF-8."""
    try:
        return location.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return location
