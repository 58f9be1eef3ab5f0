"""Sessions of the pages: cookies, signing in, and form tokens.

People sign in with their name and password. A new shop signs in with its API token, and a new operator with the
operator's token, until an owner has joined; in a sandbox the operator also signs in with a link (`links.py`).

The cookie contains 32 random bytes, and the database stores their hash. Each form contains a token that only the
cookie's owner can know, because browsers can also send cookies with requests that another site caused (RFC 6265).
"""

import asyncio
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request

from kalathi.marketplace.kernel.actors import Actor, ActorKind
from kalathi.marketplace.kernel.errors import DomainError, refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet, StorageError
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.panel.refusals import SignInByName, WrongPassword, WrongToken
from kalathi.marketplace.panel.sign_in import store
from kalathi.marketplace.panel.sign_in.links import LinkRefused, SignInLink, read_sign_in_link
from kalathi.marketplace.panel.sign_in.open_console import find_console_fault, is_local_visit
from kalathi.marketplace.people import store as people
from kalathi.marketplace.people.model import OPERATORS, Person, Role, fold_name
from kalathi.marketplace.people.passwords import is_password
from kalathi.marketplace.shops.commands import find_open_shop
from kalathi.marketplace.shops.model import Shop, ShopStatus, hash_token
from kalathi.marketplace.shops.store import shop_id_of_token
from kalathi.marketplace.web.callers import network_of
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.limits import RateLimit

_log = structlog.get_logger("kalathi.panel")

_HOUR_MILLIS: Final = 3_600_000
_COOKIE_LENGTH: Final = 43
# Tokens are too long to be guessed, but passwords are not.
_SIGN_INS_PER_MINUTE: Final = 10
_SEEN_EVERY_MILLIS: Final = 300_000
# Sessions of one person, of one shop, or of the operator. A program that signs in again and again must not fill the
# database.
_MOST_OF_A_TOKEN: Final = 100


class Browser(NamedTuple):
    """The sender of a request to sign in: its address, and a short description such as `Firefox, Windows`."""

    client: str
    name: str


class Visitor(NamedTuple):
    """The sender of a request: the cookie's value, from which form tokens are derived, and the permissions. `is_new` is
    true if the browser has no cookie of ours. The operator of a sandbox can have a shop's pages open too."""

    cookie: str
    is_new: bool
    shop: Shop | None
    is_operator: bool
    # False for an operator at an open console, which has no session to end.
    has_session: bool = False
    # None for a session that began with a token or a link, and without a session.
    person: Person | None = None
    # Whether the session is the shop's own: of its person or its token, and not of an operator who has opened it.
    is_shops_own: bool = False

    @property
    def role(self) -> Role:
        """The role of the person. A session that began with a token has all permissions."""
        return self.person.role if self.person else Role.OWNER

    @property
    def actor(self) -> Actor:
        """The cause of changes by this visitor. The operator of a sandbox, who has a shop open, is still the
        operator."""
        kind = ActorKind.SHOP if self.is_shops_own else ActorKind.OPERATOR
        return Actor(kind, self.person.name if self.person else "")

    @property
    def session_hash(self) -> bytes:
        """The hash by which the database knows the session."""
        return hash_token(self.cookie)

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

    def __init__(self, context: Context) -> None:
        self._context = context
        # A sandbox's clock does not affect sessions.
        self._real = context.real
        self._limit = RateLimit(_SIGN_INS_PER_MINUTE, what="attempts to sign in")
        # A password is tried from many addresses, or many names from one.
        self._names = RateLimit(_SIGN_INS_PER_MINUTE, what="attempts to sign in")
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
        if found.seen_at <= self._real() - _SEEN_EVERY_MILLIS:
            # If this fails, the next request tries again.
            with contextlib.suppress(StorageError):
                await self._context.database.commit(ChangeSet(store.note_use(session_hash, self._real())))
        is_operator = hmac.compare_digest(found.token_hash, self._context.operator_token_hash)
        is_operator |= found.person is not None and found.person.place == OPERATORS
        # A session from an earlier operator's token gives no permission, not even for the shop that it opened.
        shop = found.shop if is_operator or found.is_shops_own else None
        if shop is not None and shop.status is ShopStatus.CLOSED and not is_operator:
            shop = None
        has_session = shop is not None or is_operator
        is_own = found.is_shops_own and shop is not None
        return Visitor(cookie, False, shop, is_operator or at_console, has_session, found.person, is_own)

    async def sign_in(self, token: str, browser: Browser, visitor: Visitor) -> tuple[str, bool]:
        """Begin a session with a token, in place of the visitor's. Return its cookie, and whether it is the operator's.
        Raises UNAUTHORIZED, also if the token's place has people, and RATE_LIMITED."""
        with self._counted(browser):
            token_hash = hash_token(token.strip()[:200])
            is_operator = hmac.compare_digest(token_hash, self._context.operator_token_hash)
            shop_id = await self._context.database.read_point(lambda view: shop_id_of_token(view, token_hash))
            if not is_operator and not shop_id:
                raise refuse(WrongToken())
            place = OPERATORS if is_operator else shop_id
            if await self._context.database.read(lambda view: people.people(view, place)):
                raise refuse(SignInByName())
        cookie = await self._begin(token_hash, visitor, browser, place=place)
        _log.info("signed_in", client=browser.client, is_operator=is_operator)
        return cookie, is_operator

    async def sign_in_person(self, name: str, password: str, browser: Browser, visitor: Visitor) -> tuple[str, bool]:
        """Begin a person's session, in place of the visitor's. Return its cookie, and whether it is the operator's.
        Raises UNAUTHORIZED, RATE_LIMITED."""
        database, threads = self._context.database, self._context.threads
        with self._counted(browser):
            # Only after the address was counted: a blocked address must not use up the attempts of a name.
            self._names.count(fold_name(name))
            person = await database.read(lambda view: people.person_of_name(view, name))
            known = person and person.password_hash
            is_right = await asyncio.get_running_loop().run_in_executor(threads, is_password, password, known)
            if person is None or not is_right:
                raise refuse(WrongPassword())
            if person.place != OPERATORS:
                place = person.place
                await database.read(lambda view: find_open_shop(view, place))
        self._names.give_back(fold_name(name))
        return await self.begin_for_person(person, browser, visitor), person.place == OPERATORS

    def count_guess(self, person: Person) -> None:
        """Count an attempt to give a person's password. Raises RATE_LIMITED."""
        self._names.count(fold_name(person.name))

    async def begin_for_person(self, person: Person, browser: Browser, visitor: Visitor) -> str:
        """Begin the session of a person who has just proven who they are, and return its cookie."""
        cookie = await self._begin(store.hash_of_person(person.id), visitor, browser, place=person.place, person=person)
        _log.info("signed_in", client=browser.client, is_operator=person.place == OPERATORS, person=person.id)
        return cookie

    @contextlib.contextmanager
    def _counted(self, browser: Browser) -> Iterator[None]:
        """Count an attempt to sign in, unless it succeeds. Raises RATE_LIMITED."""
        network = network_of(browser.client)
        self._limit.count(network)
        try:
            yield
        except DomainError:
            self._context.database.metrics.note_refused_sign_in()
            _log.warning("sign_in_refused", client=browser.client)
            raise
        self._limit.give_back(network)

    async def sign_in_by_link(self, link: str, browser: Browser, visitor: Visitor) -> str:
        """Begin an operator's session in a sandbox, once for each link, and return its cookie. Raises UNAUTHORIZED,
        also for a used or expired link."""
        found = read_sign_in_link(link, self._context.operator_token_hash) if self._is_sandbox else None
        if found is None or found.expires_at <= self._real():
            raise refuse(LinkRefused())
        cookie = await self._begin(self._context.operator_token_hash, visitor, browser, place=OPERATORS, link=found)
        _log.info("signed_in", client=browser.client, is_operator=True)
        return cookie

    async def open_shop(self, shop: Shop, browser: Browser, visitor: Visitor) -> str | None:
        """Open a shop's pages to the operator of a sandbox, beside the operator's own, and return the new session's
        cookie. None in production, where operators do not act as shops."""
        if not self._is_sandbox:
            return None
        person = visitor.person
        token_hash = store.hash_of_person(person.id) if person else self._context.operator_token_hash
        return await self._begin(token_hash, visitor, browser, person=person, opened_shop_id=shop.id)

    async def sign_out(self, visitor: Visitor) -> None:
        """End the session, for every browser that has its cookie."""
        await self._context.database.commit(ChangeSet(store.drop_session(hash_token(visitor.cookie))))

    async def _begin(
        self,
        token_hash: bytes,
        before: Visitor,
        browser: Browser,
        *,
        place: str | None = None,
        person: Person | None = None,
        opened_shop_id: str | None = None,
        link: SignInLink | None = None,
    ) -> str:
        """Begin a session with a new cookie, so that an attacker cannot fix a session by planting a cookie. The old
        session ends, because the new cookie replaces its cookie. With a `place`, its history notes it. Raises
        UNAUTHORIZED for a used link."""
        cookie = secrets.token_urlsafe(32)
        now = self._real()
        expires_at = now + self._context.terms.settings.session_hours * _HOUR_MILLIS
        new = store.NewSession(hash_token(cookie), token_hash, now, expires_at, person, opened_shop_id, browser.name)

        def command(view: View) -> tuple[ChangeSet, None]:
            changes = store.delete_ended(view, now, token_hash, _MOST_OF_A_TOKEN)
            changes.add(store.drop_session(hash_token(before.cookie)))
            changes.add(store.insert_session(new))
            if place is not None:
                kind = ActorKind.OPERATOR if place == OPERATORS else ActorKind.SHOP
                actor = Actor(kind, person.name if person else "")
                moment = self._context.clock.now()
                changes.add(people.insert_entry(place, moment, actor, "/sign-in", browser.name))
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
