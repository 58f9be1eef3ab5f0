"""The processes that deliver webhooks to connected listeners."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, Text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_INTEGER = Integer().with_variant(BigInteger(), "postgresql")
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table of listeners, and give the index by time the shop."""
    op.drop_index("webhook_events_by_time", "webhook_events")
    op.create_index("webhook_events_by_time", "webhook_events", ["created_at", "shop_id"])
    op.create_table(
        "listeners",
        Column("shop_id", _TEXT, nullable=False),
        Column("holder", _TEXT, nullable=False),
        Column("expires_at", _INTEGER, nullable=False),
        PrimaryKeyConstraint("shop_id"),
        sqlite_with_rowid=False,
    )
