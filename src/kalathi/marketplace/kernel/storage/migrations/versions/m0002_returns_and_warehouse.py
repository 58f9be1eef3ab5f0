"""Returns, goods in the warehouse, one directory for every kind of code, and the marks of commits."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, Text
from sqlalchemy.schema import SchemaItem

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_INTEGER = Integer().with_variant(BigInteger(), "postgresql")


def _text(name: str) -> Column[str]:
    return Column(name, _TEXT, nullable=False)


def _integer(name: str) -> Column[int]:
    return Column(name, _INTEGER, nullable=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _table(name: str, *items: SchemaItem, small_rows: bool = True) -> None:
    op.create_table(name, *items, sqlite_with_rowid=not small_rows)


def upgrade() -> None:
    """Create the new tables, and extend the directory of orders to returns and purchase orders."""
    _table("commit_marks", _text("writer"), _integer("mark"), _integer("at"), PrimaryKeyConstraint("writer"))
    _table("directory", _text("code"), _text("shop_id"), PrimaryKeyConstraint("code"))
    op.execute("INSERT INTO directory (code, shop_id) SELECT code, shop_id FROM order_directory")
    op.drop_table("order_directory")
    _table(
        "returns",
        _text("shop_id"),
        _text("code"),
        _text("order_code"),
        _text("state"),
        _integer("version"),
        _integer("created_at"),
        _bytes("document"),
        PrimaryKeyConstraint("shop_id", "code"),
        small_rows=False,
    )
    op.create_index("returns_by_time", "returns", ["shop_id", "created_at"])
    op.create_index("returns_by_order", "returns", ["shop_id", "order_code"])
    _table("openings", _text("shop_id"), _text("subject"), _text("url"), PrimaryKeyConstraint("shop_id", "subject"))
    _table(
        "suppliers",
        _text("shop_id"),
        _text("supplier_id"),
        _text("code"),
        _integer("version"),
        _bytes("document"),
        PrimaryKeyConstraint("shop_id", "supplier_id"),
        small_rows=False,
    )
    op.create_index("suppliers_by_code", "suppliers", ["shop_id", "code"], unique=True)
    _table(
        "purchase_orders",
        _text("shop_id"),
        _text("code"),
        _integer("version"),
        _integer("created_at"),
        _bytes("document"),
        PrimaryKeyConstraint("shop_id", "code"),
        small_rows=False,
    )
    op.create_index("purchase_orders_by_time", "purchase_orders", ["shop_id", "created_at"])
    _table(
        "warehouse_stock",
        _text("shop_id"),
        _text("shop_uid"),
        _integer("quantity"),
        PrimaryKeyConstraint("shop_id", "shop_uid"),
    )
