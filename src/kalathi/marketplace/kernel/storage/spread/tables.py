"""Where the rows of each table are when the database is spread over nodes (docs/decisions/0069).

`kalathi distribute` and the migrations read this one list. Every table of the schema must be in exactly one part.
"""

from typing import Final

# Distributed by this column. All these tables are colocated: equal values of their columns are on the same node.
BY_COLUMN: Final = {
    "shops": "shop_id",
    "signing_secrets": "shop_id",
    "listings": "shop_id",
    "listing_variations": "shop_id",
    "product_batches": "shop_id",
    "orders": "shop_id",
    "order_words": "shop_id",
    "returns": "shop_id",
    "timeline": "shop_id",
    "webhook_events": "shop_id",
    "delivery_attempts": "shop_id",
    "openings": "shop_id",
    "listeners": "shop_id",
    "due": "shop_id",
    "suppliers": "shop_id",
    "purchase_orders": "shop_id",
    "warehouse_stock": "shop_id",
    "vouchers": "shop_id",
    "uploads": "shop_id",
    "shop_documents": "shop_id",
    "history": "shop_id",
    "order_notes": "shop_id",
    "saved_views": "shop_id",
    "moves": "shop_id",
    "day_figures": "shop_id",
    "state_counts": "shop_id",
    # The owner is a shop, or the operator.
    "idempotency_keys": "owner",
    # Read by code before the shop is known.
    "directory": "code",
    # A cart may hold orders of several shops.
    "carts": "cart_id",
    # A process has a row on each node (writing.py).
    "node_marks": "writer",
}

# A copy on every node: read with every call, and rarely written. A write needs all nodes.
REFERENCE: Final = frozenset({"api_tokens", "products_tokens", "extra_tokens"})

# On the coordinator only: small tables of the whole marketplace, which must not need a node with shops.
ON_COORDINATOR: Final = frozenset(
    {
        "commit_marks",
        "counters",
        "workers",
        "shards",
        "secrets",
        "sandbox_faults",
        "people",  # their names are unique in the whole marketplace
        "invitations",
        "token_uses",
        "sessions",
        "used_links",
        "delivery_minutes",
    }
)
