"""Sessions in the database: reads, and the rows of their change sets. Times are real, in milliseconds since 1970."""

from datetime import datetime
from typing import NamedTuple

from kalathi.marketplace.kernel.clock import athens, from_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Insert, Update, Value
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.people.model import Person
from kalathi.marketplace.people.store import read_person
from kalathi.marketplace.shops.model import Shop, hash_token
from kalathi.marketplace.shops.store import shop


class Session(NamedTuple):
    """A session: the hash of the token that began it, its expiry, its last use, and its shop. That is the shop of its
    person or token, or the shop that the operator has open."""

    token_hash: bytes
    expires_at: int
    seen_at: int
    shop: Shop | None
    # Whether the shop's own token began the session.
    is_shops_own: bool
    person: Person | None


class NewSession(NamedTuple):
    """A session that begins now. `opened_shop_id` is the shop that an operator's session has open."""

    session_hash: bytes
    token_hash: bytes
    now: int
    expires_at: int
    person: Person | None = None
    opened_shop_id: str | None = None
    browser: str = ""


class ListedSession(NamedTuple):
    """A session in the list of a place's sessions. `name` is empty for one that began with a token. The browser is a
    short description."""

    session_hash: bytes
    person_id: str
    name: str
    began_at: datetime
    seen_at: datetime
    browser: str


def session(view: View, session_hash: bytes) -> Session | None:
    """Return the session of a cookie; None also if its person was removed. A session of a shop's token has no shop once
    the token is replaced, which ends it."""
    row = view.one(
        "SELECT x.token_hash, x.expires_at, x.seen_at, x.opened_shop_id, t.shop_id, x.person_id,"
        " p.person_id, p.shop_id, p.name, p.role, p.password_hash, p.created_at FROM sessions x"
        " LEFT JOIN api_tokens t ON t.token_hash = x.token_hash"
        " LEFT JOIN people p ON p.shop_id = x.place AND p.person_id = x.person_id"
        " WHERE x.session_hash = :session_hash",
        {"session_hash": session_hash},
    )
    if row is None or row[5] != row[6]:
        return None
    token_hash, expires_at, seen_at, opened_shop_id, token_shop_id = row[:5]
    person = None if row[6] is None else read_person(row[6:])
    is_shops_own = token_shop_id is not None or bool(person and person.place)
    shop_id = (person and person.place) or token_shop_id or opened_shop_id
    opened = shop(view, shop_id) if shop_id else None
    return Session(token_hash, expires_at, seen_at, opened, is_shops_own, person)


def list_sessions(view: View, place: str, token_hash: bytes, now_millis: int) -> list[ListedSession]:
    """Return the sessions of a place's people, and those that began with the token of this hash, the last used
    first."""
    rows = view.all(
        "SELECT x.session_hash, COALESCE(p.person_id, ''), COALESCE(p.name, ''), x.began_at, x.seen_at, x.browser"
        " FROM sessions x LEFT JOIN people p ON p.shop_id = x.place AND p.person_id = x.person_id"
        " WHERE x.expires_at > :now AND (x.place = :place AND p.person_id IS NOT NULL OR x.token_hash = :token_hash)"
        " ORDER BY x.seen_at DESC LIMIT 200",
        {"now": now_millis, "place": place, "token_hash": token_hash},
    )
    return [
        ListedSession(session_hash, person_id, name, athens(from_millis(began)), athens(from_millis(seen)), browser)
        for session_hash, person_id, name, began, seen, browser in rows
    ]


def hash_of_person(person_id: str) -> bytes:
    """Return the value that the sessions of a person have in place of a token's hash."""
    return hash_token(f"person {person_id}")


def token_hash_of(view: View, shop_id: str) -> bytes | None:
    """Return the hash of the shop's live token, or None."""
    row = view.one("SELECT token_hash FROM api_tokens WHERE shop_id = :shop_id", {"shop_id": shop_id})
    return row[0] if row else None


def insert_session(new: NewSession) -> Insert:
    """Return the row of a new session."""
    row: dict[str, Value] = {
        "session_hash": new.session_hash,
        "token_hash": new.token_hash,
        "expires_at": new.expires_at,
        "opened_shop_id": new.opened_shop_id,
        "place": new.person and new.person.place,
        "person_id": new.person and new.person.id,
        "began_at": new.now,
        "seen_at": new.now,
        "browser": new.browser,
    }
    return Insert("sessions", row)


def note_use(session_hash: bytes, now_millis: int) -> Update:
    """Return the change of a session's last use."""
    return Update("sessions", {"session_hash": session_hash}, {"seen_at": now_millis}, touches=None)


def drop_sessions_of(token_hash: bytes) -> Delete:
    """Return the deletion of all sessions of a token or a person."""
    return Delete("sessions", {"token_hash": token_hash}, touches=None)


def use_link(link_hash: bytes, expires_at: int) -> Insert:
    """Return the row that marks a sign-in link as used. A second insert for the same link fails."""
    return Insert("used_links", {"link_hash": link_hash, "expires_at": expires_at})


def is_link_used(view: View, link_hash: bytes) -> bool:
    """Whether this sign-in link has been used."""
    return view.one("SELECT 1 FROM used_links WHERE link_hash = :link_hash", {"link_hash": link_hash}) is not None


def delete_expired_links(view: View, now_millis: int) -> ChangeSet:
    """Delete the marks of expired links, up to 500 at once."""
    rows = view.all("SELECT link_hash FROM used_links WHERE expires_at <= :now LIMIT 500", {"now": now_millis})
    return ChangeSet(*(Delete("used_links", {"link_hash": row[0]}, touches=None) for row in rows))


def drop_session(session_hash: bytes) -> Delete:
    """Delete a session."""
    return Delete("sessions", {"session_hash": session_hash}, touches=None)


def follow_token(session_hash: bytes, old_hash: bytes, new_hash: bytes) -> Update:
    """Move this session to the new token, if it began with the old one."""
    key, values = {"session_hash": session_hash}, {"token_hash": new_hash}
    return Update("sessions", key, values, when={"token_hash": old_hash}, touches=None)


def delete_ended(view: View, now_millis: int, token_hash: bytes, most_of_a_token: int) -> ChangeSet:
    """Delete expired sessions, and the token's oldest so that it has at most `most_of_a_token` with one more. Up to 500
    of each at once."""
    over = view.all("SELECT session_hash FROM sessions WHERE expires_at <= :now LIMIT 500", {"now": now_millis})
    oldest = view.all(
        "SELECT session_hash FROM sessions WHERE token_hash = :token_hash AND expires_at > :now"
        " ORDER BY expires_at DESC LIMIT 500 OFFSET :most",
        {"token_hash": token_hash, "now": now_millis, "most": most_of_a_token - 1},
    )
    return ChangeSet(*(drop_session(row[0]) for row in (*over, *oldest)))
