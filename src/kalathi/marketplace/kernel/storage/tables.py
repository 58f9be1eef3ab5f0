"""How tables are declared: columns are integers, texts and bytes, so that no driver converts a value
(docs/decisions/0004 and 0005)."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.schema import SchemaItem

METADATA = MetaData()
# Texts are compared byte by byte, as SQLite does: the order of PostgreSQL depends on the machine, and is slower.
# Whole numbers have eight bytes on both.
TEXT = Text().with_variant(Text(collation="C"), "postgresql")
INTEGER = Integer().with_variant(BigInteger(), "postgresql")


def text(name: str) -> Column[str]:
    """Return a column of texts."""
    return Column(name, TEXT, nullable=False)


def integer(name: str) -> Column[int]:
    """Return a column of whole numbers."""
    return Column(name, INTEGER, nullable=False)


def blob(name: str) -> Column[bytes]:
    """Return a column of bytes."""
    return Column(name, LargeBinary, nullable=False)


def table(name: str, *items: SchemaItem, small_rows: bool = True) -> Table:
    """Declare a table."""
    # In a table without row ids, a row is stored in its key's own tree, so a write changes one tree instead of two. A
    # row above a quarter of a page would overflow, so tables with documents keep their row ids.
    return Table(name, METADATA, *items, sqlite_with_rowid=not small_rows)
