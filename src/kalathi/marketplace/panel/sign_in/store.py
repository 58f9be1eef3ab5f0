"""Sessions in the database: reads, and the rows of their change sets. Times are real, in milliseconds since 1970."""

from typing import NamedTuple

from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Insert, Update, Value
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.shops.store import shop_of


class Session(NamedTuple):
    """A session: the hash of the token that began it, its expiry, and its shop. That is the token's shop, or the shop
    that the operator has open."""

    token_hash: bytes
    expires_at: int
    shop: Shop | None
    # Whether the shop's own token began the session.
    is_shops_own: bool


def session(view: View, session_hash: bytes) -> Session | None:
    """Return the session of a cookie. A shop's session has no shop once its token is replaced, which ends it."""
    row = view.one(
        "SELECT x.token_hash, x.expires_at, s.document, t.shop_id FROM sessions x"
        " LEFT JOIN api_tokens t ON t.token_hash = x.token_hash"
        " LEFT JOIN shops s ON s.shop_id = COALESCE(t.shop_id, x.opened_shop_id)"
        " WHERE x.session_hash = :session_hash",
        {"session_hash": session_hash},
    )
    if row is None:
        return None
    return Session(row[0], row[1], None if row[2] is None else shop_of(row[2]), row[3] is not None)


def token_hash_of(view: View, shop_id: str) -> bytes | None:
    """Return the hash of the shop's live token, or None."""
    row = view.one("SELECT token_hash FROM api_tokens WHERE shop_id = :shop_id", {"shop_id": shop_id})
    return row[0] if row else None


def insert_session(
    session_hash: bytes, token_hash: bytes, expires_at: int, opened_shop_id: str | None = None
) -> Insert:
    """Return the row of a new session. `opened_shop_id` is the shop that an operator's session has open."""
    row: dict[str, Value] = {"session_hash": session_hash, "token_hash": token_hash, "expires_at": expires_at}
    return Insert("sessions", row | {"opened_shop_id": opened_shop_id})


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
