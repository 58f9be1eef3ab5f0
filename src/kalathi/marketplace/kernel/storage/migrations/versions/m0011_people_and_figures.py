"""People with roles, invitations, the history of their actions, additional API tokens, and the figures of days."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, Text

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_INTEGER = Integer().with_variant(BigInteger(), "postgresql")
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables, and extend the sessions and the timeline."""
    op.create_table(
        "people",
        Column("shop_id", _TEXT, nullable=False),
        Column("person_id", _TEXT, nullable=False),
        Column("name", _TEXT, nullable=False),
        Column("folded", _TEXT, nullable=False),
        Column("role", _TEXT, nullable=False),
        Column("password_hash", _TEXT, nullable=False),
        Column("created_at", _INTEGER, nullable=False),
        PrimaryKeyConstraint("shop_id", "person_id"),
    )
    op.create_index("people_by_name", "people", ["folded"], unique=True)
    op.create_table(
        "invitations",
        Column("token_hash", LargeBinary, nullable=False),
        Column("shop_id", _TEXT, nullable=False),
        Column("role", _TEXT, nullable=False),
        Column("person_id", _TEXT, nullable=False),
        Column("invited_by", _TEXT, nullable=False),
        Column("expires_at", _INTEGER, nullable=False),
        PrimaryKeyConstraint("token_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("invitations_by_shop", "invitations", ["shop_id"])
    op.create_table(
        "history",
        Column("shop_id", _TEXT, nullable=False),
        Column("at", _INTEGER, nullable=False),
        Column("entry", _TEXT, nullable=False),
        Column("actor", _TEXT, nullable=False),
        Column("action", _TEXT, nullable=False),
        Column("subject", _TEXT, nullable=False),
        PrimaryKeyConstraint("shop_id", "at", "entry"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "extra_tokens",
        Column("token_hash", LargeBinary, nullable=False),
        Column("shop_id", _TEXT, nullable=False),
        Column("name", _TEXT, nullable=False),
        Column("created_at", _INTEGER, nullable=False),
        PrimaryKeyConstraint("token_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("extra_tokens_by_shop", "extra_tokens", ["shop_id", "name"], unique=True)
    op.create_table(
        "token_uses",
        Column("token_hash", LargeBinary, nullable=False),
        Column("at", _INTEGER, nullable=False),
        PrimaryKeyConstraint("token_hash"),
        sqlite_with_rowid=False,
    )
    op.add_column("sessions", Column("place", _TEXT))
    op.add_column("sessions", Column("person_id", _TEXT))
    op.add_column("sessions", Column("began_at", _INTEGER, nullable=False, server_default="0"))
    op.add_column("sessions", Column("seen_at", _INTEGER, nullable=False, server_default="0"))
    op.add_column("sessions", Column("browser", _TEXT, nullable=False, server_default=""))
    op.create_index("sessions_by_token", "sessions", ["token_hash", "expires_at"])
    op.add_column("timeline", Column("actor", _TEXT, nullable=False, server_default=""))
    # The mark of orders that still have their customer. Orders whose words are not indexed yet get it with their words.
    op.execute(
        "INSERT INTO order_words (shop_id, word, created_at, code) SELECT o.shop_id, '=personal', o.created_at, o.code"
        " FROM orders o WHERE NOT EXISTS (SELECT 1 FROM order_words w WHERE w.shop_id = o.shop_id AND w.word = '?'"
        " AND w.created_at = o.created_at AND w.code = o.code)"
    )
    op.create_index("orders_by_age", "orders", ["created_at", "code"])
    _add_figures()


def _add_figures() -> None:
    op.create_table(
        "moves",
        Column("shop_id", _TEXT, nullable=False),
        Column("code", _TEXT, nullable=False),
        Column("version", _INTEGER, nullable=False),
        Column("at", _INTEGER, nullable=False),
        Column("event", _TEXT, nullable=False),
        Column("before", _TEXT, nullable=False),
        Column("after", _TEXT, nullable=False),
        PrimaryKeyConstraint("shop_id", "code", "version"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "day_figures",
        Column("shop_id", _TEXT, nullable=False),
        Column("name", _TEXT, nullable=False),
        Column("day", _TEXT, nullable=False),
        Column("value", _INTEGER, nullable=False),
        PrimaryKeyConstraint("shop_id", "name", "day"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "state_counts",
        Column("shop_id", _TEXT, nullable=False),
        Column("state", _TEXT, nullable=False),
        Column("value", _INTEGER, nullable=False),
        PrimaryKeyConstraint("shop_id", "state"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "delivery_minutes",
        Column("minute", _INTEGER, nullable=False),
        Column("writer", _TEXT, nullable=False),
        Column("document", LargeBinary, nullable=False),
        PrimaryKeyConstraint("minute", "writer"),
    )
    op.execute(
        "INSERT INTO state_counts (shop_id, state, value)"
        " SELECT shop_id, state, count(*) FROM orders GROUP BY shop_id, state"
    )
    # The worker counts these transitions after the start, some thousand at a time.
    op.execute(
        "INSERT INTO moves (shop_id, code, version, at, event, before, after)"
        " SELECT shop_id, code, version, at, event, state, state FROM timeline"
        " WHERE event IN ('place', 'place_from_warehouse', 'accept', 'reject', 'expire', 'cancel', 'deliver',"
        " 'deliver_partly', 'collect', 'request', 'request_without_review')"
    )
