"""Notes on orders, and saved views of the list of orders."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, Text

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_INTEGER = Integer().with_variant(BigInteger(), "postgresql")
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "order_notes",
        Column("shop_id", _TEXT, nullable=False),
        Column("code", _TEXT, nullable=False),
        Column("number", _INTEGER, nullable=False),
        Column("at", _INTEGER, nullable=False),
        Column("text", _TEXT, nullable=False),
        PrimaryKeyConstraint("shop_id", "code", "number"),
    )
    op.create_table(
        "saved_views",
        Column("shop_id", _TEXT, nullable=False),
        Column("name", _TEXT, nullable=False),
        Column("query", _TEXT, nullable=False),
        PrimaryKeyConstraint("shop_id", "name"),
        sqlite_with_rowid=False,
    )
