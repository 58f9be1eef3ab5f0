"""Sessions of the pages."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_INTEGER = Integer().with_variant(BigInteger(), "postgresql")


def upgrade() -> None:
    """Create the table of sessions."""
    op.create_table(
        "sessions",
        Column("session_hash", LargeBinary, nullable=False),
        Column("token_hash", LargeBinary, nullable=False),
        Column("expires_at", _INTEGER, nullable=False),
        PrimaryKeyConstraint("session_hash"),
        sqlite_with_rowid=False,
    )
