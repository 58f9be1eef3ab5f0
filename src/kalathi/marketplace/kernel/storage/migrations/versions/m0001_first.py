"""The first shape of the tables."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, Text, UniqueConstraint
from sqlalchemy.schema import SchemaItem

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_INTEGER = Integer().with_variant(BigInteger(), "postgresql")


def _text(name: str) -> Column[str]:
    return Column(name, _TEXT, nullable=False)


def _integer(name: str) -> Column[int]:
    return Column(name, _INTEGER, nullable=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _table(name: str, *items: SchemaItem, small_rows: bool = True) -> None:
    op.create_table(name, *items, sqlite_with_rowid=not small_rows)


def upgrade() -> None:
    """Create every table."""
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
        _text("shop_id"),
        PrimaryKeyConstraint("token_hash"),
        UniqueConstraint("shop_id"),
    )
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
        small_rows=False,
    )
    op.create_index("orders_by_change", "orders", ["shop_id", "state", "updated_at"])
    _table("order_directory", _text("code"), _text("shop_id"), PrimaryKeyConstraint("code"))
    _table(
        "timeline",
        _text("shop_id"),
        _text("code"),
        _integer("version"),
        _integer("at"),
        _text("event"),
        _text("state"),
        PrimaryKeyConstraint("shop_id", "code", "version"),
    )
    _table(
        "webhook_events",
        _text("shop_id"),
        _text("subject"),
        _integer("sequence"),
        _text("event_type"),
        _integer("created_at"),
        _bytes("body"),
        PrimaryKeyConstraint("shop_id", "subject", "sequence"),
        small_rows=False,
    )
    op.create_index("webhook_events_by_time", "webhook_events", ["created_at"])
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
    _table(
        "due",
        _text("shop_id"),
        _text("kind"),
        _text("subject"),
        _integer("sequence"),
        _integer("due_at"),
        _integer("anchor_at"),
        _integer("attempts"),
        _integer("lease"),
        _integer("leased_until"),
        PrimaryKeyConstraint("shop_id", "kind", "subject", "sequence"),
    )
    op.create_index("due_by_time", "due", ["kind", "due_at"])
    op.create_index("due_by_shop", "due", ["kind", "shop_id", "due_at"])
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
        small_rows=False,
    )
    op.create_index("uploads_by_link", "uploads", ["shop_id", "link"], unique=True)
    _table("sandbox_faults", _text("name"), _bytes("document"), PrimaryKeyConstraint("name"), small_rows=False)
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
