"""Sessions of the pages: cookies, signing in, and form tokens.

A shop signs in with its API token, the operator with the operator's token or, in a sandbox, with a link
(`links.py`). There are no other accounts. The cookie contains 32 random bytes, and the database stores their hash. Each
form contains a token that only the cookie's owner can know, because browsers can also send cookies with requests that
another site caused (RFC 6265).
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request

from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.panel.refusals import WrongToken
from kalathi.marketplace.panel.sign_in import store
from kalathi.marketplace.panel.sign_in.links import LinkRefused, SignInLink, read_sign_in_link
from kalathi.marketplace.panel.sign_in.open_console import find_console_fault, is_local_visit
from kalathi.marketplace.shops.model import Shop, hash_token
from kalathi.marketplace.shops.store import shop_id_of_token
from kalathi.marketplace.web.callers import network_of
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.limits import RateLimit

_log = structlog.get_logger("kalathi.panel")

_HOUR_MILLIS: Final = 3_600_000
_COOKIE_LENGTH: Final = 43
# Tokens are too long to be guessed. The limit still slows down attempts.
_SIGN_INS_PER_MINUTE: Final = 10
# Sessions of one shop, or of the operator. A program that signs in again and again must not fill the database.
_MOST_OF_A_TOKEN: Final = 100


class Visitor(NamedTuple):
    """The sender of a request: the cookie's value, from which form tokens are derived, and the permissions. `is_new` is
    true if the browser has no cookie of ours. The operator of a sandbox can have a shop's pages open too."""

    cookie: str
    is_new: bool
    shop: Shop | None
    is_operator: bool
    # False for an operator at an open console, which has no session to end.
    has_session: bool = False

    @property
    def whose(self) -> str:
        """The id of the shop with open pages; empty without one."""
        return self.shop.id if self.shop else ""

    @property
    def is_anonymous(self) -> bool:
        """Whether neither a shop nor the operator has signed in."""
        return not self.has_session

    @property
    def form_token(self) -> str:
        """The token that every form must contain: the shop's id, and a value that only this cookie's owner knows."""
        known = hmac.new(self.cookie.encode(), f"form {self.whose}".encode(), hashlib.sha256).hexdigest()
        return f"{self.whose}.{known}"

    def owns(self, form_token: str) -> bool:
        """Whether a form was made for this visitor."""
        # A form can declare its own charset, so the text can contain an unpaired surrogate.
        return hmac.compare_digest(form_token.encode(errors="replace"), self.form_token.encode())

    def had(self, form_token: str) -> bool:
        """Whether the form token names the same shop, from any session. This is only a claim of the form."""
        return form_token.rpartition(".")[0] == self.whose

    def is_another_shop_than(self, form_token: str) -> bool:
        """Whether the form token names another shop. This is only a claim of the form."""
        return form_token.rpartition(".")[0] not in {"", self.whose}


class Sessions:
    """The sessions of this marketplace."""

    def __init__(self, context: Context, real: Callable[[], int]) -> None:
        """`real` returns real time in milliseconds since 1970, so that a sandbox's clock does not affect sessions."""
        self._context = context
        self._real = real
        self._limit = RateLimit(_SIGN_INS_PER_MINUTE, what="attempts to sign in")
        settings = context.terms.settings
        self.is_secure = settings.mode == "production"
        # With this prefix, browsers refuse the cookie from subdomains and without TLS (RFC 6265bis, 4.1.3.2).
        self.cookie_name = "__Host-kalathi" if self.is_secure else "kalathi"
        self._is_sandbox = settings.mode == "sandbox"
        self._is_console_open = settings.open_console and find_console_fault(settings) is None

    async def visitor(self, request: Request) -> Visitor:
        """Return the sender of a request. Raises StorageError."""
        cookie = request.cookies.get(self.cookie_name, "")
        at_console = self._is_console_open and is_local_visit(request)
        if len(cookie) != _COOKIE_LENGTH or not cookie.isascii():
            return Visitor(secrets.token_urlsafe(32), True, None, at_console)
        session_hash = hash_token(cookie)
        found = await self._context.database.read_point(lambda view: store.session(view, session_hash))
        if found is None or found.expires_at <= self._real():
            return Visitor(cookie, False, None, at_console)
        is_operator = hmac.compare_digest(found.token_hash, self._context.operator_token_hash)
        # A session from an earlier operator's token gives no permission, not even for the shop that it opened.
        shop = found.shop if is_operator or found.is_shops_own else None
        return Visitor(cookie, False, shop, is_operator or at_console, shop is not None or is_operator)

    async def sign_in(self, token: str, client: str, visitor: Visitor) -> tuple[str, bool]:
        """Begin a session that replaces the visitor's. Return its cookie, and whether it is the operator's.
        Raises UNAUTHORIZED, RATE_LIMITED."""
        network = network_of(client)
        self._limit.count(network)
        token_hash = hash_token(token.strip()[:200])
        is_operator = hmac.compare_digest(token_hash, self._context.operator_token_hash)
        if not is_operator and not await self._context.database.read_point(
            lambda view: shop_id_of_token(view, token_hash)
        ):
            _log.warning("sign_in_refused", client=client)
            raise refuse(WrongToken())
        self._limit.give_back(network)
        cookie = await self._begin(token_hash, visitor)
        _log.info("signed_in", client=client, is_operator=is_operator)
        return cookie, is_operator

    async def sign_in_by_link(self, link: str, client: str, visitor: Visitor) -> str:
        """Begin an operator's session in a sandbox, once for each link, and return its cookie. Raises UNAUTHORIZED,
        also for a used or expired link."""
        found = read_sign_in_link(link, self._context.operator_token_hash) if self._is_sandbox else None
        if found is None or found.expires_at <= self._real():
            raise refuse(LinkRefused())
        cookie = await self._begin(self._context.operator_token_hash, visitor, link=found)
        _log.info("signed_in", client=client, is_operator=True)
        return cookie

    async def open_shop(self, shop: Shop, visitor: Visitor) -> str | None:
        """Open a shop's pages to the operator of a sandbox, beside the operator's own, and return the new session's
        cookie. None in production, where operators do not act as shops."""
        if not self._is_sandbox:
            return None
        return await self._begin(self._context.operator_token_hash, visitor, opened_shop_id=shop.id)

    async def sign_out(self, visitor: Visitor) -> None:
        """End the session, for every browser that has its cookie."""
        await self._context.database.commit(ChangeSet(store.drop_session(hash_token(visitor.cookie))))

    async def _begin(
        self,
        token_hash: bytes,
        before: Visitor,
        *,
        opened_shop_id: str | None = None,
        link: SignInLink | None = None,
    ) -> str:
        """Begin a session with a new cookie, so that an attacker cannot fix a session by planting a cookie. The old
        session ends, because the new cookie replaces its cookie. Raises UNAUTHORIZED for a used link."""
        cookie = secrets.token_urlsafe(32)
        now = self._real()
        expires_at = now + self._context.terms.settings.session_hours * _HOUR_MILLIS

        def command(view: View) -> tuple[ChangeSet, None]:
            changes = store.delete_ended(view, now, token_hash, _MOST_OF_A_TOKEN)
            changes.add(store.drop_session(hash_token(before.cookie)))
            changes.add(store.insert_session(hash_token(cookie), token_hash, expires_at, opened_shop_id))
            if link is not None:
                if store.is_link_used(view, link.link_hash):
                    raise refuse(LinkRefused())
                changes.add(store.use_link(link.link_hash, link.expires_at))
                changes.extend([store.delete_expired_links(view, now)])
            return changes, None

        await self._context.database.run(command)
        return cookie


def is_of_another_site(headers: Mapping[str, str], public_url: str) -> bool:
    """Whether the headers show that another site caused this request: by `Sec-Fetch-Site` (Fetch Metadata), or by an
    `Origin` (RFC 6454) that is neither the request's Host nor the marketplace's public URL."""
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return True
    origin = headers.get("origin")
    own_hosts = {headers.get("host", "").lower(), urlsplit(public_url).netloc.lower()}
    return origin is not None and origin.lower().partition("://")[2] not in own_hosts - {""}


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """Whether the browser prefetches this page (`Sec-Purpose`, Fetch Metadata)."""
    return headers.get("sec-purpose", headers.get("purpose", "")).startswith("prefetch")


def is_of_our_own(headers: Mapping[str, str]) -> bool:
    """Whether the browser reports that one of our pages caused this request (`Sec-Fetch-Site`)."""
    return headers.get("sec-fetch-site") == "same-origin"
