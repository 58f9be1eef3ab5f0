"""Search of orders: the index of their words, and the index of placing times."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, Text

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_INTEGER = Integer().with_variant(BigInteger(), "postgresql")
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table and the index. The marketplace indexes the present orders while it runs."""
    op.create_table(
        "order_words",
        Column("shop_id", _TEXT, nullable=False),
        Column("word", _TEXT, nullable=False),
        Column("created_at", _INTEGER, nullable=False),
        Column("code", _TEXT, nullable=False),
        PrimaryKeyConstraint("shop_id", "word", "created_at", "code"),
        sqlite_with_rowid=False,
    )
    op.create_index("orders_by_time", "orders", ["shop_id", "created_at"])
    op.execute(
        "INSERT INTO order_words (shop_id, word, created_at, code) SELECT shop_id, '?', created_at, code FROM orders"
    )
