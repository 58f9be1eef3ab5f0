"""Notes and saved views in the database. Both belong to the shop; the API does not show them."""

from datetime import datetime
from typing import NamedTuple

from kalathi.marketplace.kernel.clock import athens, from_millis, to_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Insert, Value
from kalathi.marketplace.kernel.storage.database import View


class Note(NamedTuple):
    """A note on an order, in Athens time."""

    at: datetime
    text: str


class SavedView(NamedTuple):
    """A filter of the list of orders under a name. `query` is the part of the address after the question mark."""

    name: str
    query: str


def notes(view: View, shop_id: str, code: str) -> list[Note]:
    """Return the notes on an order, oldest first."""
    rows = view.all(
        "SELECT at, text FROM order_notes WHERE shop_id = :shop_id AND code = :code ORDER BY number",
        {"shop_id": shop_id, "code": code},
    )
    return [Note(athens(from_millis(at)), text) for at, text in rows]


def insert_note(view: View, shop_id: str, code: str, text: str, now: datetime) -> Insert:
    """Return the row of the next note on an order. It fails if another one is added at the same moment."""
    last = view.one(
        "SELECT max(number) FROM order_notes WHERE shop_id = :shop_id AND code = :code",
        {"shop_id": shop_id, "code": code},
    )
    number = (last[0] or 0) + 1 if last else 1
    row: dict[str, Value] = {"shop_id": shop_id, "code": code, "number": number, "at": to_millis(now), "text": text}
    return Insert("order_notes", row)


def saved_views(view: View, shop_id: str) -> list[SavedView]:
    """Return the shop's saved views, by name."""
    rows = view.all("SELECT name, query FROM saved_views WHERE shop_id = :shop_id ORDER BY name", {"shop_id": shop_id})
    return [SavedView(*row) for row in rows]


def replace_view(shop_id: str, saved: SavedView) -> ChangeSet:
    """Return the change that saves a view. It replaces an earlier one of the same name."""
    key: dict[str, Value] = {"shop_id": shop_id, "name": saved.name}
    return ChangeSet(Delete("saved_views", key, touches=None), Insert("saved_views", {**key, "query": saved.query}))


def drop_view(shop_id: str, name: str) -> Delete:
    """Return the deletion of a view, if it exists."""
    return Delete("saved_views", {"shop_id": shop_id, "name": name}, touches=None)
