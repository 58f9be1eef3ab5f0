"""The check that statements name their shop."""

import logging

import pytest

from kalathi.marketplace.kernel.storage.changes import Update
from kalathi.marketplace.kernel.storage.statements import make_guarded_statement, positional
from tests.statement_shapes import EXCEPTIONS, StatementLog, describe_faults, find_unbound, is_exception

_GOOD = {
    "a parameter": "SELECT document FROM orders o WHERE o.shop_id = :shop_id AND o.code = :code",
    "a literal": "SELECT value FROM day_figures d WHERE d.shop_id = ''",
    "the other way round": "SELECT document FROM orders o WHERE :shop_id = o.shop_id",
    "no alias": "SELECT document FROM orders WHERE shop_id = :shop_id",
    "a list": "SELECT document FROM shops WHERE shop_id IN (:id0, :id1)",
    "another column": "SELECT answer FROM idempotency_keys WHERE owner = :owner AND key = :key",
    "a join": "SELECT s.document FROM orders o JOIN shops s ON s.shop_id = o.shop_id WHERE o.shop_id = :shop_id",
    "a chain of joins": """
        SELECT 1 FROM shops s JOIN orders o ON o.shop_id = r.shop_id JOIN returns r ON r.shop_id = s.shop_id
        WHERE s.shop_id = :shop_id""",
    "an outer join": """
        SELECT l.shop_uid, s.quantity FROM listings l LEFT JOIN warehouse_stock s
        ON s.shop_id = l.shop_id AND s.shop_uid = l.shop_uid WHERE l.shop_id = :shop_id""",
    "a correlated subquery": """
        SELECT d.subject FROM due d WHERE d.shop_id = :shop_id
        AND EXISTS (SELECT 1 FROM orders o WHERE o.shop_id = d.shop_id AND o.code = d.subject)""",
    "a correlated subquery without alias": """
        SELECT (SELECT count(*) FROM delivery_attempts WHERE shop_id = e.shop_id AND subject = e.subject)
        FROM webhook_events e WHERE e.shop_id = :shop_id""",
    "a subquery with rows": """
        SELECT o.document FROM (SELECT code, shop_id AS shop FROM orders WHERE shop_id = :shop_id LIMIT :limit) p
        JOIN orders o ON o.shop_id = p.shop AND o.code = p.code""",
    "all columns of a subquery with rows": """
        SELECT a.url FROM (SELECT x.* FROM (SELECT * FROM webhook_events e WHERE e.shop_id = :shop_id) x) y
        LEFT JOIN delivery_attempts a ON a.shop_id = y.shop_id""",
    "a CTE": """
        WITH latest(shop, code) AS (SELECT shop_id, code FROM orders WHERE shop_id = :shop_id)
        SELECT o.document FROM latest l JOIN orders o ON o.shop_id = l.shop AND o.code = l.code""",
    "a recursive CTE": """
        WITH RECURSIVE s(shop_id, n) AS (SELECT :shop_id, 1 UNION ALL SELECT s.shop_id, n + 1 FROM s WHERE n < 3)
        SELECT o.code FROM s JOIN orders o ON o.shop_id = s.shop_id""",
    "a union": """
        SELECT o.document FROM (SELECT shop_id, code FROM orders WHERE shop_id = :shop_id UNION ALL
        SELECT shop_id, code FROM returns WHERE shop_id = :shop_id) u JOIN orders o ON o.shop_id = u.shop_id""",
    "alternatives": """
        SELECT url FROM openings WHERE (shop_id = :shop_id0 AND subject = :subject0)
        OR (shop_id = :shop_id1 AND subject = :subject1)""",
    "rows between two rows": """
        SELECT 1 FROM due d WHERE d.shop_id = :shop_id AND NOT EXISTS (SELECT 1 FROM due e
        WHERE (e.shop_id, e.kind, e.sequence) >= (d.shop_id, d.kind, 0)
        AND (e.shop_id, e.kind, e.sequence) < (d.shop_id, d.kind, d.sequence))""",
    "a lookup": "SELECT document FROM shops WHERE shop_id = (SELECT shop_id FROM api_tokens WHERE token_hash = :hash)",
    "a lookup in the directory": """
        SELECT o.document FROM orders o
        WHERE o.code = :code AND o.shop_id = (SELECT shop_id FROM directory WHERE code = :code)""",
    "a key of for_each on PostgreSQL": "SELECT 1 FROM webhook_events w WHERE w.shop_id = k.shop_id",
    "the latest sequence": """
        SELECT sequence FROM webhook_events WHERE shop_id = :shop_id
        AND sequence = (SELECT max(sequence) FROM webhook_events WHERE shop_id = :shop_id)""",
    "small tables": "SELECT p.name FROM sessions x LEFT JOIN api_tokens t ON t.token_hash = x.token_hash JOIN people p"
    " ON p.shop_id = x.place",
    "a table of a migration": "SELECT version_num FROM alembic_version",
    "no table": "PRAGMA user_version",
    "an update": "UPDATE orders SET version=?, document=? WHERE orders.shop_id = ? AND orders.code = ?",
    "an update on PostgreSQL": "UPDATE listings SET quantity=(listings.quantity + %s::BIGINT)"
    ' WHERE listings.shop_id = %s::VARCHAR COLLATE "C" AND listings.quantity >= %s::BIGINT',
    "a condition without a change": "UPDATE orders SET shop_id=orders.shop_id WHERE orders.shop_id = ?",
    "a deletion": "DELETE FROM due WHERE due.shop_id = ? AND due.kind = ?",
    "a deletion of a small table": "DELETE FROM sessions WHERE sessions.place = ?",
    "a new row": "INSERT INTO moves (shop_id, code, version) VALUES (?, ?, ?)",
}

_BAD = {
    "no condition": ("SELECT document FROM shops", ["shops"]),
    "a condition on another column": ("SELECT document FROM orders WHERE code = :code", ["orders"]),
    "a condition on another table": ("SELECT 1 FROM orders o, returns r WHERE o.shop_id = :shop_id", ["r (returns)"]),
    "the column of another distribution": (
        "SELECT answer FROM idempotency_keys WHERE key = :key",
        ["idempotency_keys"],
    ),
    "another comparison": ("SELECT 1 FROM orders WHERE shop_id > :shop_id", ["orders"]),
    "a negation": ("SELECT 1 FROM orders WHERE NOT (shop_id = :shop_id)", ["orders"]),
    "an expression": ("SELECT 1 FROM orders WHERE shop_id || '' = :shop_id", ["orders"]),
    "a join of tables without a shop": (
        "SELECT 1 FROM orders o JOIN shops s ON s.shop_id = o.shop_id",
        ["o (orders)", "s (shops)"],
    ),
    "a join by another column": (
        "SELECT 1 FROM orders o JOIN returns r ON r.order_code = o.code WHERE o.shop_id = :shop_id",
        ["r (returns)"],
    ),
    "the shop of a row of the directory": (
        "SELECT 1 FROM directory d JOIN orders o ON o.shop_id = d.shop_id WHERE d.code = :code",
        ["o (orders)"],
    ),
    "the kept side of an outer join": (
        "SELECT 1 FROM shops s LEFT JOIN orders o ON o.shop_id = s.shop_id AND s.shop_id = :shop_id",
        ["s (shops)", "o (orders)"],
    ),
    "a full join": (
        "SELECT 1 FROM (SELECT :shop_id AS shop) x FULL JOIN orders o ON o.shop_id = x.shop",
        ["o (orders)"],
    ),
    "a subquery": (
        "SELECT 1 FROM due d WHERE d.shop_id = :shop_id AND EXISTS (SELECT 1 FROM orders o WHERE o.code = d.subject)",
        ["o (orders)"],
    ),
    "a subquery in the columns": (
        "SELECT (SELECT count(*) FROM orders) FROM shops s WHERE s.shop_id = :shop_id",
        ["orders"],
    ),
    "a subquery of a table without a shop": (
        "SELECT (SELECT count(*) FROM delivery_attempts WHERE shop_id = e.shop_id) FROM webhook_events e",
        ["e (webhook_events)", "delivery_attempts"],
    ),
    "a column of the inner table itself": (
        "SELECT 1 FROM due d WHERE d.shop_id = :shop_id AND EXISTS (SELECT 1 FROM orders o WHERE shop_id = o.shop_id)",
        ["o (orders)"],
    ),
    "the values of a subquery": (
        "SELECT 1 FROM orders WHERE shop_id IN (SELECT shop_id FROM returns WHERE shop_id = :shop_id)",
        ["orders"],
    ),
    "a correlated value": (
        "SELECT 1 FROM due d JOIN orders o ON o.shop_id = (SELECT max(r.shop_id) FROM returns r"
        " WHERE r.shop_id = d.shop_id) WHERE d.shop_id = :shop_id",
        ["o (orders)"],
    ),
    "a subquery without the column": (
        "SELECT 1 FROM (SELECT code, max(shop_id) AS shop_id FROM orders WHERE shop_id = :shop_id GROUP BY code) p"
        " JOIN orders o ON o.shop_id = p.shop_id",
        ["o (orders)"],
    ),
    "a CTE without a shop": (
        "WITH x AS (SELECT shop_id FROM shops) SELECT 1 FROM x JOIN orders o ON o.shop_id = x.shop_id",
        ["shops", "o (orders)"],
    ),
    "a recursive CTE that goes to other shops": (
        "WITH RECURSIVE s(shop_id) AS (SELECT :shop_id UNION ALL SELECT max(s.shop_id) FROM s)"
        " SELECT 1 FROM s JOIN orders o ON o.shop_id = s.shop_id",
        ["o (orders)"],
    ),
    "a union with a part without a shop": (
        "SELECT 1 FROM (SELECT shop_id FROM orders WHERE shop_id = :shop_id UNION ALL SELECT shop_id FROM returns) u"
        " JOIN orders o ON o.shop_id = u.shop_id",
        ["returns", "o (orders)"],
    ),
    "an alternative without a shop": (
        "SELECT url FROM openings WHERE (shop_id = :shop_id AND subject = :one) OR subject = :other",
        ["openings"],
    ),
    "rows after a row": (
        "SELECT 1 FROM due d WHERE d.shop_id = :shop_id AND EXISTS (SELECT 1 FROM due e"
        " WHERE (e.shop_id, e.kind) >= (d.shop_id, d.kind))",
        ["e (due)"],
    ),
    "rows between the rows of two shops": (
        "SELECT 1 FROM due e WHERE (e.shop_id, e.kind) >= (:one, '') AND (e.shop_id, e.kind) < (:other, '')",
        ["e (due)"],
    ),
    "an unknown form": (
        "SELECT 1 FROM orders o CROSS JOIN LATERAL (SELECT 1 FROM returns r WHERE r.shop_id = o.shop_id) x"
        " WHERE o.shop_id = :shop_id",
        ["returns AS r"],
    ),
    "a text that is no statement": ("SELECT FROM WHERE orders", ["The statement"]),
    "a join with a table of each node": (
        "SELECT 1 FROM shops s JOIN api_tokens t ON t.shop_id = s.shop_id WHERE s.shop_id = :shop_id",
        ["api_tokens"],
    ),
    "a join with a table of the coordinator": (
        "SELECT 1 FROM sessions x LEFT JOIN shops s ON s.shop_id = x.place WHERE x.session_hash = :hash",
        ["s (shops)", "sessions"],
    ),
    "a lookup with a further condition": (
        "SELECT 1 FROM shops WHERE shop_id = (SELECT shop_id FROM extra_tokens WHERE token_hash = :hash AND name = '')",
        ["extra_tokens"],
    ),
    "a small table in a condition": (
        "SELECT 1 FROM shops s WHERE s.shop_id = :shop_id AND EXISTS (SELECT 1 FROM people WHERE role = 'owner')",
        ["people"],
    ),
    "an update": ("UPDATE orders SET version=? WHERE orders.code = ?", ["orders"]),
    "an update of all rows": ("UPDATE orders SET version=?", ["orders"]),
    "a move to another shop": ("UPDATE orders SET shop_id=? WHERE orders.shop_id = ?", ["orders"]),
    "a deletion": ("DELETE FROM listeners WHERE 1 = 1", ["listeners"]),
    "a deletion on PostgreSQL": (
        'DELETE FROM directory WHERE directory.shop_id = %s::VARCHAR COLLATE "C"',
        ["directory"],
    ),
    "a new row": ("INSERT INTO idempotency_keys (key, answer) VALUES (?, ?)", ["idempotency_keys"]),
}


@pytest.mark.parametrize("sql", _GOOD.values(), ids=_GOOD)
def test_a_statement_that_names_its_shop_passes(sql: str) -> None:
    assert find_unbound(sql) == []
    assert describe_faults([sql]) == ""


@pytest.mark.parametrize(("sql", "tables"), _BAD.values(), ids=_BAD)
def test_each_table_without_its_shop_and_each_refused_join_is_found(sql: str, tables: list[str]) -> None:
    found = find_unbound(sql)
    assert len(found) == len(tables), found
    for sentence, beginning in zip(found, tables, strict=True):
        assert sentence.startswith(f"{beginning} "), found


def test_the_message_has_the_statement_and_what_to_do() -> None:
    message = describe_faults(["SELECT 1 FROM orders", "SELECT 1 FROM orders WHERE shop_id = :shop_id"])
    assert "SELECT 1 FROM orders\n  - orders has no known shop_id." in message
    assert ":shop_id\n" not in message
    assert "EXCEPTIONS" in message


def test_an_exception_is_a_whole_statement() -> None:
    [first, *_] = [text for texts in EXCEPTIONS.values() for text in texts if "…" not in text]
    assert find_unbound(first)
    assert is_exception(f"\n{first.replace(' ', '  ')}")
    assert describe_faults([first]) == ""
    assert not is_exception(f"{first} LIMIT 1")


def test_an_exception_does_not_excuse_a_refused_join() -> None:
    sql = "SELECT count(*) FROM orders o JOIN people p ON p.shop_id = o.shop_id"
    assert is_exception(sql)
    assert describe_faults([sql]).count("\n  - ") == 1


class _Texts(logging.Filter):
    """Collects what the logger gets."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        self.texts.append(record.getMessage())
        return False


def test_each_statement_is_logged_once(statement_log: StatementLog) -> None:
    logger, log = logging.getLogger("kalathi.statements"), _Texts()
    change = Update("orders", {"shop_id": "s", "created_at": 1}, {"updated_at": 2}, touches=None)
    logger.removeFilter(statement_log)
    logger.addFilter(log)
    for _ in range(3):
        positional("SELECT '%d' FROM orders WHERE shop_id = :only_in_this_test")
        make_guarded_statement(change)
    logger.removeFilter(log)
    logger.addFilter(statement_log)
    assert log.texts == [
        "SELECT '%d' FROM orders WHERE shop_id = :only_in_this_test",
        "UPDATE orders SET updated_at=? WHERE orders.shop_id = ? AND orders.created_at = ?",
    ]
