"""The rows with personal data, by order and by shop."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sqlalchemy import Table

from kalathi.contract.codec import encode
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, InsertMany, Update, Value
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.model import Cart, FoundOrder
from kalathi.marketplace.orders.search.words import PERSONAL, list_words
from kalathi.marketplace.privacy.scrubbing import scrub_body, scrub_cart, scrub_order, scrub_return
from kalathi.marketplace.returns.model import FoundReturn

# Tables of a shop that an export leaves out: secrets, and rows that are made from others.
_NOT_EXPORTED: Final = frozenset(
    {"api_tokens", "products_tokens", "extra_tokens", "signing_secrets", "invitations", "order_words", "due", "moves"}
    | {"listeners", "openings"}
)
_SECRET_COLUMNS: Final = frozenset({"password_hash"})
# The codes of orders and returns, in JSON.
_CODE: Final = re.compile(rb"\b(?:R-)?\d{6}-\d{7}\b")
_WORD_KEY: Final = ("shop_id", "word", "created_at", "code")


def replace_order(found: FoundOrder) -> ChangeSet:
    """Return the order without its customer, under its next version, and its words in the index."""
    order, new = found.order, scrub_order(found.order)
    key: dict[str, Value] = {"shop_id": order.shop_id, "code": order.code}
    values: dict[str, Value] = {"version": found.version + 1, "document": encode(new)}
    changes = ChangeSet(Update("orders", key, {**values}, when={"version": found.version}))
    created_at = to_millis(order.created_at)
    for word in list_words(order) - list_words(new):
        changes.add(
            Delete("order_words", {**key, "word": word, "created_at": created_at}, touches=None),
        )
    added = sorted(list_words(new) - list_words(order))
    if added:
        rows = [(order.shop_id, word, created_at, order.code) for word in added]
        changes.add(InsertMany("order_words", _WORD_KEY, rows))
    return changes


def replace_return(found: FoundReturn) -> Update:
    """Return the return without the customer's texts, under its next version."""
    returned = found.returned
    key: dict[str, Value] = {"shop_id": returned.shop_id, "code": returned.return_code}
    values: dict[str, Value] = {"version": found.version + 1, "document": encode(scrub_return(returned))}
    return Update("returns", key, {**values}, when={"version": found.version})


def replace_cart(view: View, cart_id: str) -> ChangeSet:
    """Return the cart without its customer; empty if there is no such cart."""
    cart = orders.cart(view, cart_id)
    if cart is None:
        return ChangeSet()
    return ChangeSet(Update("carts", {"cart_id": cart_id}, {"document": encode(scrub_cart(cart))}))


def replace_events(view: View, shop_id: str, subject: str) -> ChangeSet:
    """Return the bodies of a subject's webhooks without the customer, and its attempts without the shop's answers."""
    key: dict[str, Value] = {"shop_id": shop_id, "subject": subject}
    rows = view.all(
        "SELECT sequence, body FROM webhook_events WHERE shop_id = :shop_id AND subject = :subject", {**key}
    )
    changes = ChangeSet(Update("delivery_attempts", key, {"answer": b""}, touches=None))
    for sequence, body in rows:
        changes.add(Update("webhook_events", {**key, "sequence": sequence}, {"body": scrub_body(body)}))
    return changes


def drop_files(shop_id: str, code: str) -> ChangeSet:
    """Return the deletion of an order's vouchers, uploads and notes."""
    key: dict[str, Value] = {"shop_id": shop_id, "code": code}
    return ChangeSet(*(Delete(table, key, touches=None) for table in ("vouchers", "uploads", "order_notes")))


def drop_answers(view: View, codes: Collection[str]) -> ChangeSet:
    """Return the deletion of the remembered answers, and of the kept reports, that name an order or a return."""
    changes = ChangeSet()
    marks = [code.encode() for code in codes]
    for owner, key, answer in view.all("SELECT owner, key, answer FROM idempotency_keys", {}):
        if any(mark in answer for mark in marks):
            changes.add(Delete("idempotency_keys", {"owner": owner, "key": key}, touches=None))
    for shop_id, name, document in view.all("SELECT shop_id, name, document FROM shop_documents", {}):
        if any(mark in document for mark in marks):
            changes.add(Delete("shop_documents", {"shop_id": shop_id, "name": name}, touches=None))
    return changes


def drop_answers_of_shop(view: View, shop_id: str) -> ChangeSet:
    """Return the deletion of the remembered answers that name an order or a return of a shop."""
    changes = ChangeSet()
    for owner, key, answer in view.all("SELECT owner, key, answer FROM idempotency_keys", {}):
        codes = {code.decode() for code in _CODE.findall(answer)}
        if any(orders.shop_of_code(view, code) == shop_id for code in codes):
            changes.add(Delete("idempotency_keys", {"owner": owner, "key": key}, touches=None))
    return changes


def list_notes(view: View, shop_id: str, code: str) -> list[str]:
    """Return the shop's notes on an order, the oldest first."""
    rows = view.all(
        "SELECT text FROM order_notes WHERE shop_id = :shop_id AND code = :code ORDER BY number",
        {"shop_id": shop_id, "code": code},
    )
    return [row[0] for row in rows]


def list_personal(
    view: View, shop_id: str, before_millis: int, after: tuple[int, str], limit: int
) -> list[tuple[int, str]]:
    """Return time and code of a shop's orders that still have their customer and were placed before a business time.
    The oldest come first, beginning after the given time and code."""
    rows = view.all(
        "SELECT created_at, code FROM order_words WHERE shop_id = :shop_id AND word = :word"
        " AND created_at < :before AND (created_at, code) > (:after, :code) ORDER BY created_at, code LIMIT :limit",
        {
            "shop_id": shop_id,
            "word": PERSONAL,
            "before": before_millis,
            "after": after[0],
            "code": after[1],
            "limit": limit,
        },
    )
    return [(at, code) for at, code in rows]


def exported_tables() -> list[Table]:
    """Return the tables of a shop that an export has."""
    return [
        table for name, table in METADATA.tables.items() if "shop_id" in table.columns and name not in _NOT_EXPORTED
    ]


def read_rows(
    view: View, table: Table, shop_id: str, after: Sequence[Value] | None, limit: int
) -> list[dict[str, Value]]:
    """Return up to `limit` rows of a shop in a table, in the order of its key, after the row with this key."""
    columns = [str(column.name) for column in table.columns if column.name not in _SECRET_COLUMNS]
    keys = [column.name for column in table.primary_key.columns if column.name != "shop_id"]
    parameters: dict[str, Value] = {"shop_id": shop_id, "limit": limit}
    where = "shop_id = :shop_id"
    if after is not None and keys:
        parameters |= {f"key{number}": value for number, value in enumerate(after)}
        names = ", ".join(f":key{number}" for number in range(len(keys)))
        where += f" AND ({', '.join(keys)}) > ({names})"
    order = f" ORDER BY {', '.join(keys)}" if keys else ""
    rows = view.all(
        f"SELECT {', '.join(columns)} FROM {table.name} WHERE {where}{order} LIMIT :limit",  # noqa: S608  (names only)
        parameters,
    )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def list_key(table: Table, row: dict[str, Value]) -> list[Value]:
    """Return the key of a row without the shop."""
    return [row[column.name] for column in table.primary_key.columns if column.name != "shop_id"]


def shop_tables() -> list[str]:
    """Return the names of all tables with rows of shops, without the shop's own."""
    return [name for name, table in METADATA.tables.items() if "shop_id" in table.columns and name != "shops"]


def load_carts(view: View, cart_ids: Iterable[str]) -> list[Cart]:
    """Return the carts with these ids that still exist."""
    found = (orders.cart(view, cart_id) for cart_id in cart_ids)
    return [cart for cart in found if cart is not None]
