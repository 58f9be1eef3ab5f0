"""Owners of shops, and due rows without leases."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, PrimaryKeyConstraint, Text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_INTEGER = Integer().with_variant(BigInteger(), "postgresql")
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables of workers and shards, and remove the leases of due rows. Every due row stays."""
    op.create_table(
        "workers",
        Column("worker", _TEXT, nullable=False),
        Column("expires_at", _INTEGER, nullable=False),
        PrimaryKeyConstraint("worker"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shards",
        Column("shard", _INTEGER, nullable=False),
        Column("worker", _TEXT, nullable=False),
        Column("token", _INTEGER, nullable=False),
        PrimaryKeyConstraint("shard"),
        sqlite_with_rowid=False,
    )
    op.drop_column("due", "lease")
    op.drop_column("due", "leased_until")
