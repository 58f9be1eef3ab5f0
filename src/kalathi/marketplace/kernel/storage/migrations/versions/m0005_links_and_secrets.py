"""Sign-in links, shops that the operator has open, and the installation's random keys."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    column,
    select,
    table,
)

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_INTEGER = Integer().with_variant(BigInteger(), "postgresql")
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create both tables, and give sessions the shop that is open. Sessions stay."""
    # SQLite appends an added column after the constraints, so the table is rebuilt.
    before = table("sessions", column("session_hash"), column("token_hash"), column("expires_at"))
    rows = op.get_bind().execute(select(before)).all()
    op.drop_table("sessions")
    sessions: Table = op.create_table(
        "sessions",
        Column("session_hash", LargeBinary, nullable=False),
        Column("token_hash", LargeBinary, nullable=False),
        Column("expires_at", _INTEGER, nullable=False),
        Column("opened_shop_id", _TEXT),
        PrimaryKeyConstraint("session_hash"),
        sqlite_with_rowid=False,
    )
    op.bulk_insert(sessions, [dict(row._mapping) for row in rows])
    op.create_table(
        "used_links",
        Column("link_hash", LargeBinary, nullable=False),
        Column("expires_at", _INTEGER, nullable=False),
        PrimaryKeyConstraint("link_hash"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "secrets",
        Column("name", _TEXT, nullable=False),
        Column("value", LargeBinary, nullable=False),
        PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
