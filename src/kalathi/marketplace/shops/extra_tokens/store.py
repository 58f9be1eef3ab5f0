"""Additional API tokens and the last uses of tokens in the database."""

from datetime import datetime
from typing import NamedTuple

from kalathi.marketplace.kernel.clock import athens, from_millis
from kalathi.marketplace.kernel.storage.changes import Delete, Insert
from kalathi.marketplace.kernel.storage.database import View


class ExtraToken(NamedTuple):
    """An additional token. Times are in Athens; the last use is known to the minute, and None for a token that was
    never used."""

    name: str
    created_at: datetime
    used_at: datetime | None


def list_extra_tokens(view: View, shop_id: str) -> list[ExtraToken]:
    """Return the shop's additional tokens, by name."""
    rows = view.all(
        "SELECT x.name, x.created_at, u.at FROM extra_tokens x LEFT JOIN token_uses u ON u.token_hash = x.token_hash"
        " WHERE x.shop_id = :shop_id ORDER BY x.name",
        {"shop_id": shop_id},
    )
    return [ExtraToken(name, athens(from_millis(created)), _moment(used)) for name, created, used in rows]


def find_last_use(view: View, shop_id: str) -> datetime | None:
    """Return the last use of the shop's own API token, in Athens time; None if it was never used."""
    row = view.one(
        "SELECT u.at FROM api_tokens t JOIN token_uses u ON u.token_hash = t.token_hash WHERE t.shop_id = :shop_id",
        {"shop_id": shop_id},
    )
    return _moment(row[0]) if row else None


def insert_extra_token(shop_id: str, name: str, token_hash: bytes, now_millis: int) -> Insert:
    """Return the row of a new token. The time is real."""
    return Insert(
        "extra_tokens", {"token_hash": token_hash, "shop_id": shop_id, "name": name, "created_at": now_millis}
    )


def drop_extra_token(shop_id: str, name: str) -> Delete:
    """Return the deletion of a token."""
    return Delete("extra_tokens", {"shop_id": shop_id, "name": name})


def replace_use(token_hash: bytes, at_millis: int) -> tuple[Delete, Insert]:
    """Return the change of a token's last use. The time is real."""
    key = {"token_hash": token_hash}
    return Delete("token_uses", {**key}, touches=None), Insert("token_uses", {**key, "at": at_millis})


def _moment(millis: int | None) -> datetime | None:
    return None if millis is None else athens(from_millis(millis))
