"""Sessions in the database: reads, and the rows of their change sets. Times are real, in milliseconds since 1970."""

from typing import NamedTuple

from kalathi.marketplace.kernel.changes import ChangeSet, Delete, Insert, Update
from kalathi.marketplace.kernel.database import View
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.shops.store import shop_of


class Session(NamedTuple):
    """With which token it began, until when it lasts, and the shop whose token that is at this moment."""

    token_hash: bytes
    expires_at: int
    shop: Shop | None


def session(view: View, session_hash: bytes) -> Session | None:
    """The session of a cookie. A shop's is dead as soon as its token is."""
    row = view.one(
        "SELECT x.token_hash, x.expires_at, s.document FROM sessions x"
        " LEFT JOIN api_tokens t ON t.token_hash = x.token_hash LEFT JOIN shops s ON s.shop_id = t.shop_id"
        " WHERE x.session_hash = :session_hash",
        {"session_hash": session_hash},
    )
    return None if row is None else Session(row[0], row[1], None if row[2] is None else shop_of(row[2]))


def token_hash_of(view: View, shop_id: str) -> bytes | None:
    """The hash of the shop's live token; None when it has none."""
    row = view.one("SELECT token_hash FROM api_tokens WHERE shop_id = :shop_id", {"shop_id": shop_id})
    return row[0] if row else None


def insert_session(session_hash: bytes, token_hash: bytes, expires_at: int) -> Insert:
    """Somebody has signed in."""
    return Insert("sessions", {"session_hash": session_hash, "token_hash": token_hash, "expires_at": expires_at})


def drop_session(session_hash: bytes) -> Delete:
    """Somebody signs out, or has gone long ago."""
    return Delete("sessions", {"session_hash": session_hash}, touches=None)


def follow_token(session_hash: bytes, token_hash: bytes) -> Update:
    """This session goes on with the token that takes the place of its own."""
    return Update("sessions", {"session_hash": session_hash}, {"token_hash": token_hash}, touches=None)


def ended(view: View, now_millis: int, token_hash: bytes, most_of_a_token: int) -> ChangeSet:
    """The rows of sessions that are over, and of a token's oldest beside which there are as many as it may have; a
    bounded number of them."""
    over = view.all("SELECT session_hash FROM sessions WHERE expires_at <= :now LIMIT 500", {"now": now_millis})
    oldest = view.all(
        "SELECT session_hash FROM sessions WHERE token_hash = :token_hash AND expires_at > :now"
        " ORDER BY expires_at DESC LIMIT 500 OFFSET :most",
        {"token_hash": token_hash, "now": now_millis, "most": most_of_a_token - 1},
    )
    return ChangeSet(*(drop_session(row[0]) for row in (*over, *oldest)))
