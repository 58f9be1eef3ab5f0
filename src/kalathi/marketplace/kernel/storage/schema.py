"""The tables. Columns are integers, texts and bytes, so that no driver converts a value (docs/decisions/0004 and 0005).

Keys start with `shop_id`, so that the data can be spread over servers by shop; spread/tables.py has the exceptions.
Times are milliseconds since 1970, in UTC; documents are JSON of the slices' own structs.
"""

from sqlalchemy import Column, Index, PrimaryKeyConstraint

from kalathi.marketplace.kernel.storage import schema_pages  # noqa: F401  (it declares its tables)
from kalathi.marketplace.kernel.storage.tables import INTEGER, METADATA, TEXT, blob, integer, table, text

__all__ = ["METADATA"]

# PostgreSQL only: the last commit of each process.
table("commit_marks", text("writer"), integer("mark"), integer("at"), PrimaryKeyConstraint("writer"))
# A database that is spread over nodes only: the last commit of each process to each node (spread/writing.py).
table("node_marks", text("writer"), integer("mark"), integer("at"), PrimaryKeyConstraint("writer"))
table("counters", text("name"), integer("value"), PrimaryKeyConstraint("name"))

table(
    "shops",
    text("shop_id"),
    integer("version"),
    blob("document"),
    PrimaryKeyConstraint("shop_id"),
    small_rows=False,
)
table(
    "api_tokens",
    blob("token_hash"),
    Column("shop_id", TEXT, nullable=False, unique=True),  # one live token a shop (docs/contract.md#section-1)
    PrimaryKeyConstraint("token_hash"),
)
table(
    "products_tokens",
    blob("token_hash"),
    Column("shop_id", TEXT, nullable=False, unique=True),  # one live token a shop (docs/contract.md#section-10)
    PrimaryKeyConstraint("token_hash"),
)
# The active signing secrets of a shop: two while a secret is being changed, none if signing is off.
table(
    "signing_secrets",
    text("shop_id"),
    integer("number"),
    text("secret"),
    PrimaryKeyConstraint("shop_id", "number"),
)
table(
    "listings",
    text("shop_id"),
    text("shop_uid"),
    integer("quantity"),
    blob("document"),
    PrimaryKeyConstraint("shop_id", "shop_uid"),
    small_rows=False,
)
# The variations of listings, such as sizes. The listing itself counts their pieces too.
table(
    "listing_variations",
    text("shop_id"),
    text("shop_uid"),
    text("variation_id"),
    integer("quantity"),
    blob("document"),
    PrimaryKeyConstraint("shop_id", "shop_uid", "variation_id"),
    small_rows=False,
)
# Batches of stock and prices. The sequence is the order in which the marketplace accepted a shop's batches.
table(
    "product_batches",
    text("shop_id"),
    text("batch_id"),
    integer("sequence"),
    integer("created_at"),
    integer("executed_at"),  # 0 while in progress
    blob("document"),
    PrimaryKeyConstraint("shop_id", "batch_id"),
    Index("product_batches_by_sequence", "shop_id", "sequence", unique=True),
    Index("product_batches_by_time", "created_at"),
    small_rows=False,
)

table("carts", text("cart_id"), blob("document"), PrimaryKeyConstraint("cart_id"), small_rows=False)
table(
    "orders",
    text("shop_id"),
    text("code"),
    text("state"),
    integer("version"),
    integer("created_at"),
    integer("updated_at"),
    blob("document"),
    PrimaryKeyConstraint("shop_id", "code"),
    # The list call: a shop's orders of one state, or of each, by their latest change.
    Index("orders_by_change", "shop_id", "state", "updated_at"),
    # The orders that were placed in a span of time.
    Index("orders_by_time", "shop_id", "created_at"),
    # The latest orders of all shops.
    Index("orders_by_age", "created_at", "code"),
    small_rows=False,
)
# The words and marks by which an order is found (orders/search/words.py). The word ? stands for an order of an earlier
# version of the software, whose words are not in the index yet.
table(
    "order_words",
    text("shop_id"),
    text("word"),
    integer("created_at"),
    text("code"),
    PrimaryKeyConstraint("shop_id", "word", "created_at", "code"),
)
# The shop of each code. Orders, returns and purchase orders never have the same code.
table("directory", text("code"), text("shop_id"), PrimaryKeyConstraint("code"))
table(
    "returns",
    text("shop_id"),
    text("code"),
    text("order_code"),
    text("state"),
    integer("version"),
    integer("created_at"),
    blob("document"),
    PrimaryKeyConstraint("shop_id", "code"),
    # The list call, of all of a shop's returns or of one order's.
    Index("returns_by_time", "shop_id", "created_at"),
    Index("returns_by_order", "shop_id", "order_code"),
    small_rows=False,
)
# The history of an order or a return.
table(
    "timeline",
    text("shop_id"),
    text("code"),
    integer("version"),
    integer("at"),
    text("event"),
    text("state"),
    # The cause of the change (kernel/actors.py); empty for one of an earlier version.
    Column("actor", TEXT, nullable=False, server_default=""),
    PrimaryKeyConstraint("shop_id", "code", "version"),
)

# Events with their frozen bodies: a retry or a resend sends these bytes. The subject is the code of an order or a
# return, the sequence its version, so that an event needs no id of its own and an order's events have their order.
table(
    "webhook_events",
    text("shop_id"),
    text("subject"),
    integer("sequence"),
    text("event_type"),
    integer("created_at"),
    blob("body"),
    PrimaryKeyConstraint("shop_id", "subject", "sequence"),
    # The delivery log, newest first, and old events. With the shop, so that new events of one shop are found in it.
    Index("webhook_events_by_time", "created_at", "shop_id"),
    small_rows=False,
)
table(
    "delivery_attempts",
    text("shop_id"),
    text("subject"),
    integer("sequence"),
    integer("number"),
    integer("at"),
    text("url"),
    text("outcome"),
    Column("status", INTEGER),
    text("error"),
    integer("duration_millis"),
    blob("answer"),
    PrimaryKeyConstraint("shop_id", "subject", "sequence", "number"),
)
# The URL that received the event which opens a subject: later events of it go to no other.
table(
    "openings",
    text("shop_id"),
    text("subject"),
    text("url"),
    PrimaryKeyConstraint("shop_id", "subject"),
)
# The process that delivers a shop's webhooks to the listeners connected to it; real time.
table(
    "listeners",
    text("shop_id"),
    text("holder"),
    integer("expires_at"),
    PrimaryKeyConstraint("shop_id"),
)
# The owners of shops, where several processes share a database (kernel/shards.py); real time.
table("workers", text("worker"), integer("expires_at"), PrimaryKeyConstraint("worker"))
table(
    "shards",
    integer("shard"),
    text("worker"),
    integer("token"),
    PrimaryKeyConstraint("shard"),
)
table(
    "due",
    text("shop_id"),
    text("kind"),
    text("subject"),
    integer("sequence"),
    integer("due_at"),
    integer("anchor_at"),
    integer("attempts"),
    PrimaryKeyConstraint("shop_id", "kind", "subject", "sequence"),
    Index("due_by_time", "kind", "due_at"),
    Index("due_by_shop", "kind", "shop_id", "due_at"),
)

# Goods in the marketplace's warehouse: suppliers, purchase orders, and stock.
table(
    "suppliers",
    text("shop_id"),
    text("supplier_id"),
    text("code"),
    integer("version"),
    blob("document"),
    PrimaryKeyConstraint("shop_id", "supplier_id"),
    Index("suppliers_by_code", "shop_id", "code", unique=True),
    small_rows=False,
)
table(
    "purchase_orders",
    text("shop_id"),
    text("code"),
    integer("version"),
    integer("created_at"),
    blob("document"),
    PrimaryKeyConstraint("shop_id", "code"),
    Index("purchase_orders_by_time", "shop_id", "created_at"),
    small_rows=False,
)
table(
    "warehouse_stock",
    text("shop_id"),
    text("shop_uid"),
    integer("quantity"),
    PrimaryKeyConstraint("shop_id", "shop_uid"),
)

table(
    "vouchers",
    text("shop_id"),
    text("link"),
    text("code"),
    blob("pdf"),
    PrimaryKeyConstraint("shop_id", "link"),
    small_rows=False,
)
table(
    "uploads",
    text("shop_id"),
    text("code"),
    text("kind"),
    text("link"),
    text("mime_type"),
    blob("content"),
    PrimaryKeyConstraint("shop_id", "code", "kind"),
    Index("uploads_by_link", "shop_id", "link", unique=True),
    small_rows=False,
)

# Random keys that belong to this installation.
table("secrets", text("name"), blob("value"), PrimaryKeyConstraint("name"))

# The fault rules of a sandbox: one row of the marketplace, and one of each shop with rules of its own.
table("sandbox_faults", text("name"), blob("document"), PrimaryKeyConstraint("name"), small_rows=False)

# What a sandbox keeps of a shop: the report of its last checkup, and the progress of its recipes.
table(
    "shop_documents",
    text("shop_id"),
    text("name"),
    blob("document"),
    PrimaryKeyConstraint("shop_id", "name"),
    small_rows=False,
)

# The answers to POSTs with an Idempotency-Key; the owner is a shop's id, or the operator.
table(
    "idempotency_keys",
    text("owner"),
    text("key"),
    blob("digest"),
    integer("status"),
    blob("answer"),
    PrimaryKeyConstraint("owner", "key"),
    small_rows=False,
)
