"""The report of a shop's last checkup, and the progress of its recipes."""

from alembic import op
from sqlalchemy import Column, LargeBinary, PrimaryKeyConstraint, Text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table of a sandbox's documents of shops."""
    op.create_table(
        "shop_documents",
        Column("shop_id", _TEXT, nullable=False),
        Column("name", _TEXT, nullable=False),
        Column("document", LargeBinary, nullable=False),
        PrimaryKeyConstraint("shop_id", "name"),
    )
