"""Enlarge a small database: copy the rows of its first order many times, under codes from all days of a year."""

import random
import sqlite3
from pathlib import Path

# Each table with rows of an order: its code column, and its document column, in which the code is replaced. The cart is
# left out, because neither a GET nor an accept reads it.
_TABLES = {
    "orders": ("code", "document"),
    "directory": ("code", None),
    "timeline": ("code", None),
    "webhook_events": ("subject", "body"),
    "due": ("subject", None),
}
# Days of 2025, so that no code is one of the orders that the marketplace's own commands have placed.
_CODES = """
CREATE TABLE more_codes AS WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :last)
SELECT printf('25%02d%02d-%07d', n % 12 + 1, n % 28 + 1, (n * 7368787) % 10000000) AS code FROM numbers ORDER BY code"""


def grow(path: Path, template: str, total: int) -> list[str]:
    """Add orders until there are `total`, open like the template. Return 20,000 of the new codes, chosen at random."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000"):
        connection.execute(f"PRAGMA {pragma}")
    [(present,)] = connection.execute("SELECT count(*) FROM orders")
    connection.execute("BEGIN")
    connection.execute(_CODES, {"last": total - present - 1})
    for table, (key, document) in _TABLES.items():
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        values = [_value(name, key, document) for name in names]
        connection.execute(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)}"
            f" FROM more_codes m CROSS JOIN {table} t WHERE t.{key} = :template",
            {"template": template},
        )
    connection.execute("COMMIT")
    chance = random.Random(1)
    wanted = [chance.randrange(1, total - present + 1) for _ in range(20_000)]
    codes = [
        connection.execute("SELECT code FROM more_codes WHERE rowid = ?", (rowid,)).fetchone()[0] for rowid in wanted
    ]
    connection.execute("DROP TABLE more_codes")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    return codes


def _value(name: str, key: str, document: str | None) -> str:
    if name == key:
        return "m.code"
    if name == document:
        return f"CAST(replace(CAST(t.{name} AS TEXT), :template, m.code) AS BLOB)"
    return f"t.{name}"
