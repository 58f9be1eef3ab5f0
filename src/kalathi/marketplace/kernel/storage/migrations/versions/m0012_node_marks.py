"""The last commits of each process to the nodes of a database that is spread over several."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, Text

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_INTEGER = Integer().with_variant(BigInteger(), "postgresql")
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "node_marks",
        Column("writer", _TEXT, nullable=False),
        Column("mark", _INTEGER, nullable=False),
        Column("at", _INTEGER, nullable=False),
        PrimaryKeyConstraint("writer"),
        sqlite_with_rowid=False,
    )
