"""Who looks at a page: cookies, signing in, form tokens, and where the operator's pages open by themselves.

Somebody signs in with a token of the marketplace's own, a shop's or the operator's; there are no other accounts. The
cookie holds 32 random bytes, the database their hash. Each form holds a token that only the cookie's owner can know
(RFC 6265 leaves cookies on requests that another site has brought about).
"""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request

from kalathi.marketplace.api.desk import Desk
from kalathi.marketplace.api.limits import RateLimit
from kalathi.marketplace.kernel.changes import ChangeSet
from kalathi.marketplace.kernel.database import View
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.panel import store
from kalathi.marketplace.shops.model import Shop, hash_token
from kalathi.marketplace.shops.store import shop_id_of_token

_log = structlog.get_logger("kalathi.panel")

_HOUR_MILLIS: Final = 3_600_000
_COOKIE_LENGTH: Final = 43
# Tokens are far too long to be guessed; whoever tries is slowed down all the same.
_SIGN_INS_PER_MINUTE: Final = 10
# Browsers of one shop, or of the operator: a program that signs in all day must not fill the database.
_MOST_OF_A_TOKEN: Final = 100
# Proxies name headers that begin so, and behind one everybody seems to come from this machine.
_OF_PROXIES: Final = ("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "x-forwarded-", "cf-")


class Visitor(NamedTuple):
    """Who looks: the cookie's value, which a form token is made of, and whose pages are open to them. `is_new` when
    the browser has no cookie of ours yet."""

    cookie: str
    is_new: bool
    shop: Shop | None
    is_operator: bool
    # The operator's pages are open without a sign-in.
    is_at_home: bool

    @property
    def whose(self) -> str:
        """The id of the shop that has signed in; empty for none."""
        return self.shop.id if self.shop else ""

    @property
    def is_nobody(self) -> bool:
        """Whether neither a shop nor the operator has signed in."""
        return self.shop is None and not self.is_operator

    @property
    def form_token(self) -> str:
        """What every form has to send back: whose it is, and what only this cookie's owner knows."""
        known = hmac.new(self.cookie.encode(), f"form {self.whose}".encode(), hashlib.sha256).hexdigest()
        return f"{self.whose}.{known}"

    def owns(self, form_token: str) -> bool:
        """Whether a form was made for this visitor."""
        # A form may name a charset of its own, by which half a character comes in.
        return hmac.compare_digest(form_token.encode(errors="replace"), self.form_token.encode())

    def had(self, form_token: str) -> bool:
        """Whether a form says that it was made for the same shop, in whichever session; that proves nothing."""
        return form_token.rpartition(".")[0] == self.whose

    def is_another_shop_than(self, form_token: str) -> bool:
        """Whether a form says that it was made for another shop; that proves nothing either."""
        return form_token.rpartition(".")[0] not in {"", self.whose}


class Sessions:
    """The sessions of this marketplace."""

    def __init__(self, desk: Desk, real: Callable[[], int]) -> None:
        """`real` is real time in milliseconds: no clock of a sandbox lengthens a session."""
        self._desk = desk
        self._real = real
        self._limit = RateLimit(_SIGN_INS_PER_MINUTE)
        settings = desk.terms.settings
        self.is_secure = settings.mode == "production"
        # The prefix makes browsers refuse it from subdomains and without TLS (RFC 6265bis, 4.1.3.2).
        self.cookie_name = "__Host-kalathi" if self.is_secure else "kalathi"
        self._may_be_home = _may_be_home(settings)

    async def visitor(self, request: Request) -> Visitor:
        """Who asks. Raises StorageError."""
        cookie = request.cookies.get(self.cookie_name, "")
        at_home = self._is_at_home(request)
        if len(cookie) != _COOKIE_LENGTH or not cookie.isascii():
            return Visitor(secrets.token_urlsafe(32), True, None, False, at_home)
        session_hash = hash_token(cookie)
        found = await self._desk.database.peek(lambda view: store.session(view, session_hash))
        if found is None or found.expires_at <= self._real():
            return Visitor(cookie, False, None, False, at_home)
        is_operator = hmac.compare_digest(found.token_hash, self._desk.operator_token_hash)
        return Visitor(cookie, False, found.shop, is_operator, at_home)

    async def sign_in(self, token: str, client: str, visitor: Visitor) -> tuple[str, bool]:
        """A new session in place of the one that the visitor has: its cookie, and whether it is the operator's.
        Raises UNAUTHORIZED, RATE_LIMITED."""
        self._limit.take(client)
        token_hash = hash_token(token.strip()[:200])
        is_operator = hmac.compare_digest(token_hash, self._desk.operator_token_hash)
        if not is_operator and not await self._desk.database.peek(lambda view: shop_id_of_token(view, token_hash)):
            _log.warning("sign_in_refused", client=client)
            raise DomainError(ErrorCode.UNAUTHORIZED, "This token is not valid.")
        self._limit.give_back(client)
        _log.info("signed_in", client=client, is_operator=is_operator)
        return await self._begin(token_hash, visitor), is_operator

    async def sign_in_as(self, shop: Shop, visitor: Visitor) -> str:
        """A session of a shop in place of the visitor's, for an operator who may do so. Raises NOT_FOUND for a shop
        without a token."""
        token_hash = await self._desk.database.peek(lambda view: store.token_hash_of(view, shop.id))
        if token_hash is None:
            raise DomainError(ErrorCode.NOT_FOUND, "The shop has no token.")
        return await self._begin(token_hash, visitor)

    async def sign_out(self, visitor: Visitor) -> None:
        """The session is over, on every device that has its cookie."""
        await self._desk.database.commit(ChangeSet(store.drop_session(hash_token(visitor.cookie))))

    async def _begin(self, token_hash: bytes, before: Visitor) -> str:
        """A cookie of its own each time, so that none that was planted before is ever a session's; the session before
        ends, as nobody could sign out of it any more."""
        cookie = secrets.token_urlsafe(32)
        now = self._real()
        expires_at = now + self._desk.terms.settings.session_hours * _HOUR_MILLIS

        def command(view: View) -> tuple[ChangeSet, None]:
            changes = store.ended(view, now, token_hash, _MOST_OF_A_TOKEN)
            changes.add(store.drop_session(hash_token(before.cookie)))
            changes.add(store.insert_session(hash_token(cookie), token_hash, expires_at))
            return changes, None

        await self._desk.database.run(command)
        return cookie

    def _is_at_home(self, request: Request) -> bool:
        """In a sandbox on loopback, for who comes from there and names it: a page elsewhere whose host's name leads
        here (DNS rebinding) does not, and neither does who comes through a proxy.

        A proxy that hides itself, names this machine as its own and speaks like a browser cannot be told: whoever
        stands one before a sandbox sets its public URL, and then nobody is at home."""
        if not self._may_be_home or request.client is None:
            return False
        headers = request.headers
        # Browsers have spoken 1.1 since 1999; nginx speaks 1.0 to what is behind it unless it is told.
        if any(name.startswith(_OF_PROXIES) for name in headers) or request.scope.get("http_version") == "1.0":
            return False
        named = (f"//{headers.get('host', '')}", headers.get("origin"), headers.get("referer"))
        return _is_loopback(request.client.host) and all(
            _is_loopback(_host_of(address)) for address in named if address is not None
        )


def client_of(request: Request) -> str:
    """Whose attempts at signing in are counted together: those of an address, and behind a proxy of our own network
    those of each address that the proxy itself has seen, so that nobody can hold up everybody."""
    host = request.client.host if request.client else ""
    # A header that stands there twice is one list (RFC 9110, 5.3), and the proxy writes at its end.
    seen = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()[:50]
    try:
        is_ours = ipaddress.ip_address(host.partition("%")[0]).is_private
    except ValueError:
        is_ours = False
    return f"{host} for {seen}" if is_ours and seen else host


def is_of_another_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that another site has brought this request about (Fetch Metadata, `Sec-Fetch-Site`)."""
    return headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}


def is_of_our_own(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that a page of ours has brought this request about."""
    return headers.get("sec-fetch-site") == "same-origin"


def _host_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _may_be_home(settings: Settings) -> bool:
    public = urlsplit(settings.public_url).hostname if settings.public_url else None
    return settings.mode == "sandbox" and _is_loopback(settings.host) and (public is None or _is_loopback(public))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"
