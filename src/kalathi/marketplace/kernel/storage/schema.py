"""The tables. Columns are integers, texts and bytes, so that no driver converts a value (docs/decisions/0004 and 0005).

Keys start with `shop_id`, so that the data can later be spread by shop; api_tokens, products_tokens, carts, directory,
counters, commit_marks, workers, shards, sandbox_faults, secrets, sessions, used_links, invitations, extra_tokens,
token_uses and the operator's idempotency_keys are the exceptions.
Times are milliseconds since 1970, in UTC; documents are JSON of the slices' own structs.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text
from sqlalchemy.schema import SchemaItem

METADATA = MetaData()
# Texts are compared byte by byte, as SQLite does: the order of PostgreSQL depends on the machine, and is slower.
# Whole numbers have eight bytes on both.
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_INTEGER = Integer().with_variant(BigInteger(), "postgresql")


def _text(name: str) -> Column[str]:
    return Column(name, _TEXT, nullable=False)


def _integer(name: str) -> Column[int]:
    return Column(name, _INTEGER, nullable=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _table(name: str, *items: SchemaItem, small_rows: bool = True) -> Table:
    # In a table without row ids, a row is stored in its key's own tree, so a write changes one tree instead of two. A
    # row above a quarter of a page would overflow, so tables with documents keep their row ids.
    return Table(name, METADATA, *items, sqlite_with_rowid=not small_rows)


# PostgreSQL only: the last commit of each process.
_table("commit_marks", _text("writer"), _integer("mark"), _integer("at"), PrimaryKeyConstraint("writer"))
_table("counters", _text("name"), _integer("value"), PrimaryKeyConstraint("name"))

_table(
    "shops",
    _text("shop_id"),
    _integer("version"),
    _bytes("document"),
    PrimaryKeyConstraint("shop_id"),
    small_rows=False,
)
_table(
    "api_tokens",
    _bytes("token_hash"),
    Column("shop_id", _TEXT, nullable=False, unique=True),  # one live token a shop (docs/contract.md#section-1)
    PrimaryKeyConstraint("token_hash"),
)
_table(
    "products_tokens",
    _bytes("token_hash"),
    Column("shop_id", _TEXT, nullable=False, unique=True),  # one live token a shop (docs/contract.md#section-10)
    PrimaryKeyConstraint("token_hash"),
)
# The active signing secrets of a shop: two while a secret is being changed, none if signing is off.
_table(
    "signing_secrets",
    _text("shop_id"),
    _integer("number"),
    _text("secret"),
    PrimaryKeyConstraint("shop_id", "number"),
)
_table(
    "listings",
    _text("shop_id"),
    _text("shop_uid"),
    _integer("quantity"),
    _bytes("document"),
    PrimaryKeyConstraint("shop_id", "shop_uid"),
    small_rows=False,
)
# The variations of listings, such as sizes. The listing itself counts their pieces too.
_table(
    "listing_variations",
    _text("shop_id"),
    _text("shop_uid"),
    _text("variation_id"),
    _integer("quantity"),
    _bytes("document"),
    PrimaryKeyConstraint("shop_id", "shop_uid", "variation_id"),
    small_rows=False,
)
# Batches of stock and prices. The sequence is the order in which the marketplace accepted a shop's batches.
_table(
    "product_batches",
    _text("shop_id"),
    _text("batch_id"),
    _integer("sequence"),
    _integer("created_at"),
    _integer("executed_at"),  # 0 while in progress
    _bytes("document"),
    PrimaryKeyConstraint("shop_id", "batch_id"),
    Index("product_batches_by_sequence", "shop_id", "sequence", unique=True),
    Index("product_batches_by_time", "created_at"),
    small_rows=False,
)

_table("carts", _text("cart_id"), _bytes("document"), PrimaryKeyConstraint("cart_id"), small_rows=False)
_table(
    "orders",
    _text("shop_id"),
    _text("code"),
    _text("state"),
    _integer("version"),
    _integer("created_at"),
    _integer("updated_at"),
    _bytes("document"),
    PrimaryKeyConstraint("shop_id", "code"),
    # The list call: a shop's orders of one state, or of each, by their latest change.
    Index("orders_by_change", "shop_id", "state", "updated_at"),
    # The orders that were placed in a span of time.
    Index("orders_by_time", "shop_id", "created_at"),
    small_rows=False,
)
# The words and marks by which an order is found (orders/search/words.py). The word ? stands for an order of an earlier
# version of the software, whose words are not in the index yet.
_table(
    "order_words",
    _text("shop_id"),
    _text("word"),
    _integer("created_at"),
    _text("code"),
    PrimaryKeyConstraint("shop_id", "word", "created_at", "code"),
)
# Notes of a shop's employees on an order, and their saved filters of the list.
_table(
    "order_notes",
    _text("shop_id"),
    _text("code"),
    _integer("number"),
    _integer("at"),
    _text("text"),
    PrimaryKeyConstraint("shop_id", "code", "number"),
    small_rows=False,
)
_table("saved_views", _text("shop_id"), _text("name"), _text("query"), PrimaryKeyConstraint("shop_id", "name"))
# The shop of each code. Orders, returns and purchase orders never have the same code.
_table("directory", _text("code"), _text("shop_id"), PrimaryKeyConstraint("code"))
_table(
    "returns",
    _text("shop_id"),
    _text("code"),
    _text("order_code"),
    _text("state"),
    _integer("version"),
    _integer("created_at"),
    _bytes("document"),
    PrimaryKeyConstraint("shop_id", "code"),
    # The list call, of all of a shop's returns or of one order's.
    Index("returns_by_time", "shop_id", "created_at"),
    Index("returns_by_order", "shop_id", "order_code"),
    small_rows=False,
)
# The history of an order or a return.
_table(
    "timeline",
    _text("shop_id"),
    _text("code"),
    _integer("version"),
    _integer("at"),
    _text("event"),
    _text("state"),
    # The cause of the change (kernel/actors.py); empty for one of an earlier version.
    Column("actor", _TEXT, nullable=False, server_default=""),
    PrimaryKeyConstraint("shop_id", "code", "version"),
)

# Events with their frozen bodies: a retry or a resend sends these bytes. The subject is the code of an order or a
# return, the sequence its version, so that an event needs no id of its own and an order's events have their order.
_table(
    "webhook_events",
    _text("shop_id"),
    _text("subject"),
    _integer("sequence"),
    _text("event_type"),
    _integer("created_at"),
    _bytes("body"),
    PrimaryKeyConstraint("shop_id", "subject", "sequence"),
    # The delivery log, newest first, and old events. With the shop, so that new events of one shop are found in it.
    Index("webhook_events_by_time", "created_at", "shop_id"),
    small_rows=False,
)
_table(
    "delivery_attempts",
    _text("shop_id"),
    _text("subject"),
    _integer("sequence"),
    _integer("number"),
    _integer("at"),
    _text("url"),
    _text("outcome"),
    Column("status", _INTEGER),
    _text("error"),
    _integer("duration_millis"),
    _bytes("answer"),
    PrimaryKeyConstraint("shop_id", "subject", "sequence", "number"),
)
# The URL that received the event which opens a subject: later events of it go to no other.
_table(
    "openings",
    _text("shop_id"),
    _text("subject"),
    _text("url"),
    PrimaryKeyConstraint("shop_id", "subject"),
)
# The process that delivers a shop's webhooks to the listeners connected to it; real time.
_table(
    "listeners",
    _text("shop_id"),
    _text("holder"),
    _integer("expires_at"),
    PrimaryKeyConstraint("shop_id"),
)
# The owners of shops, where several processes share a database (kernel/shards.py); real time.
_table("workers", _text("worker"), _integer("expires_at"), PrimaryKeyConstraint("worker"))
_table(
    "shards",
    _integer("shard"),
    _text("worker"),
    _integer("token"),
    PrimaryKeyConstraint("shard"),
)
_table(
    "due",
    _text("shop_id"),
    _text("kind"),
    _text("subject"),
    _integer("sequence"),
    _integer("due_at"),
    _integer("anchor_at"),
    _integer("attempts"),
    PrimaryKeyConstraint("shop_id", "kind", "subject", "sequence"),
    Index("due_by_time", "kind", "due_at"),
    Index("due_by_shop", "kind", "shop_id", "due_at"),
)

# Goods in the marketplace's warehouse: suppliers, purchase orders, and stock.
_table(
    "suppliers",
    _text("shop_id"),
    _text("supplier_id"),
    _text("code"),
    _integer("version"),
    _bytes("document"),
    PrimaryKeyConstraint("shop_id", "supplier_id"),
    Index("suppliers_by_code", "shop_id", "code", unique=True),
    small_rows=False,
)
_table(
    "purchase_orders",
    _text("shop_id"),
    _text("code"),
    _integer("version"),
    _integer("created_at"),
    _bytes("document"),
    PrimaryKeyConstraint("shop_id", "code"),
    Index("purchase_orders_by_time", "shop_id", "created_at"),
    small_rows=False,
)
_table(
    "warehouse_stock",
    _text("shop_id"),
    _text("shop_uid"),
    _integer("quantity"),
    PrimaryKeyConstraint("shop_id", "shop_uid"),
)

_table(
    "vouchers",
    _text("shop_id"),
    _text("link"),
    _text("code"),
    _bytes("pdf"),
    PrimaryKeyConstraint("shop_id", "link"),
    small_rows=False,
)
_table(
    "uploads",
    _text("shop_id"),
    _text("code"),
    _text("kind"),
    _text("link"),
    _text("mime_type"),
    _bytes("content"),
    PrimaryKeyConstraint("shop_id", "code", "kind"),
    Index("uploads_by_link", "shop_id", "link", unique=True),
    small_rows=False,
)

# The users of the pages. The shop_id of people who work for the marketplace is empty. Names are unique in the whole
# marketplace in their folded form.
_table(
    "people",
    _text("shop_id"),
    _text("person_id"),
    _text("name"),
    _text("folded"),
    _text("role"),
    _text("password_hash"),
    _integer("created_at"),
    PrimaryKeyConstraint("shop_id", "person_id"),
    Index("people_by_name", "folded", unique=True),
    small_rows=False,
)
# Links for new people and for new passwords, each for one use; real time.
_table(
    "invitations",
    _bytes("token_hash"),
    _text("shop_id"),
    _text("role"),
    _text("person_id"),
    _text("invited_by"),
    _integer("expires_at"),
    PrimaryKeyConstraint("token_hash"),
    Index("invitations_by_shop", "shop_id"),
)
# The actions of people and of the operator's API, except those in timelines; business time.
_table(
    "history",
    _text("shop_id"),
    _integer("at"),
    _text("entry"),
    _text("actor"),
    _text("action"),
    _text("subject"),
    PrimaryKeyConstraint("shop_id", "at", "entry"),
)
# Additional tokens of a shop, if the setting `extra_api_tokens` is on. The uses are of all API tokens; real time.
_table(
    "extra_tokens",
    _bytes("token_hash"),
    _text("shop_id"),
    _text("name"),
    _integer("created_at"),
    PrimaryKeyConstraint("token_hash"),
    Index("extra_tokens_by_shop", "shop_id", "name", unique=True),
)
_table("token_uses", _bytes("token_hash"), _integer("at"), PrimaryKeyConstraint("token_hash"))
# Sessions of the pages. A session ends with its person or with the token that it began with, or at a real time. In a
# sandbox, the operator's session may have a shop open. The place is the shop_id of the session's person.
_table(
    "sessions",
    _bytes("session_hash"),
    _bytes("token_hash"),
    _integer("expires_at"),
    Column("opened_shop_id", _TEXT),
    Column("place", _TEXT),
    Column("person_id", _TEXT),
    Column("began_at", _INTEGER, nullable=False, server_default="0"),
    Column("seen_at", _INTEGER, nullable=False, server_default="0"),
    Column("browser", _TEXT, nullable=False, server_default=""),
    PrimaryKeyConstraint("session_hash"),
    Index("sessions_by_token", "token_hash", "expires_at"),
)
# Sign-in links that have been used, until they expire; real time.
_table("used_links", _bytes("link_hash"), _integer("expires_at"), PrimaryKeyConstraint("link_hash"))
# Random keys that belong to this installation.
_table("secrets", _text("name"), _bytes("value"), PrimaryKeyConstraint("name"))

# The fault rules of a sandbox: one row of the marketplace, and one of each shop with rules of its own.
_table("sandbox_faults", _text("name"), _bytes("document"), PrimaryKeyConstraint("name"), small_rows=False)

# What a sandbox keeps of a shop: the report of its last checkup, and the progress of its recipes.
_table(
    "shop_documents",
    _text("shop_id"),
    _text("name"),
    _bytes("document"),
    PrimaryKeyConstraint("shop_id", "name"),
    small_rows=False,
)

# The answers to POSTs with an Idempotency-Key; the owner is a shop's id, or the operator.
_table(
    "idempotency_keys",
    _text("owner"),
    _text("key"),
    _bytes("digest"),
    _integer("status"),
    _bytes("answer"),
    PrimaryKeyConstraint("owner", "key"),
    small_rows=False,
)
