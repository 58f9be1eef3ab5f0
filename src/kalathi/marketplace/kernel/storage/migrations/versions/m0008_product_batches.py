"""Stock and prices: tokens of the Products API, variations of listings, and batches."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, Text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_INTEGER = Integer().with_variant(BigInteger(), "postgresql")
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "products_tokens",
        Column("token_hash", LargeBinary, nullable=False),
        Column("shop_id", _TEXT, nullable=False, unique=True),
        PrimaryKeyConstraint("token_hash"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "listing_variations",
        Column("shop_id", _TEXT, nullable=False),
        Column("shop_uid", _TEXT, nullable=False),
        Column("variation_id", _TEXT, nullable=False),
        Column("quantity", _INTEGER, nullable=False),
        Column("document", LargeBinary, nullable=False),
        PrimaryKeyConstraint("shop_id", "shop_uid", "variation_id"),
    )
    op.create_table(
        "product_batches",
        Column("shop_id", _TEXT, nullable=False),
        Column("batch_id", _TEXT, nullable=False),
        Column("sequence", _INTEGER, nullable=False),
        Column("created_at", _INTEGER, nullable=False),
        Column("executed_at", _INTEGER, nullable=False),
        Column("document", LargeBinary, nullable=False),
        PrimaryKeyConstraint("shop_id", "batch_id"),
    )
    op.create_index("product_batches_by_sequence", "product_batches", ["shop_id", "sequence"], unique=True)
    op.create_index("product_batches_by_time", "product_batches", ["created_at"])
