"""Check that each statement names its shop, so that a database that is spread over nodes runs it on one node
(docs/decisions/0069). tests/conftest.py checks the statements that run in tests.

A statement names its shop if it has a condition on the distribution column (BY_COLUMN) of each of its tables:

    o.shop_id = :shop_id
    o.shop_id IN (:id0, :id1)
    o.shop_id = s.shop_id                   if there is a condition on s
    o.shop_id = (SELECT shop_id FROM api_tokens WHERE token_hash = :token_hash)

The subquery of the last one runs before the statement. In any other form, a small table (REFERENCE, ON_COORDINATOR)
must not be in one statement with tables that are distributed by a column.
"""

import logging
import re
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from traceback import walk_stack
from typing import Final, NamedTuple

import sqlglot
from sqlglot.errors import ParseError, TokenError

from kalathi.marketplace.kernel import storage
from kalathi.marketplace.kernel.storage.schema import METADATA
from tests.statement_scopes import StatementCheck

# The statements that do not name their shop, by the reason why they may. Each stands for a whole statement, and `…` in
# it for any text.
EXCEPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "runs on each shard by itself (View.each_shard)": (
        "WITH RECURSIVE s(shop_id) AS ( SELECT (SELECT min(shop_id) FROM due WHERE kind = :kind) UNION ALL SELECT…",
        "SELECT …FROM due d WHERE d.kind = :kind AND d.due_at <= :now ORDER BY d.due_at LIMIT :most",
        "SELECT …(SELECT min(due_at) FROM due WHERE kind = :…",
    ),
    "the operator's lists and numbers of all shops": (
        "SELECT document FROM shops ORDER BY shop_id",
        "SELECT count(*) FROM shops",
        "SELECT code, shop_id FROM directory WHERE code >= :first AND code < :last ORDER BY code DESC LIMIT :limit",
        "SELECT s.document, o.document, o.version FROM orders o JOIN shops s ON s.shop_id = o.shop_id …"
        "ORDER BY o.created_at DESC, o.code DESC LIMIT :limit OFFSET :offset",
        "SELECT count(*) FROM orders o …",
        "SELECT …SELECT shop_id, code, state, created_at FROM orders ORDER BY created_at DESC, code DESC LIMIT :most…",
        "SELECT s.document, r.document, r.version FROM …returns r JOIN shops s ON s.shop_id = r.shop_id …"
        "ORDER BY r.created_at DESC, r.code DESC LIMIT :limit OFFSET :offset",
        "SELECT count(*) FROM returns r …",
        "SELECT x.*, …ORDER BY x.created_at DESC, x.shop_id, x.subject, x.sequence DESC LIMIT :limit OFFSET :offset",
        "SELECT count(*) FROM (…FROM webhook_events e…",
        "SELECT count(*) FROM webhook_events e…",
        "SELECT y.state, count(*) FROM (SELECT …FROM webhook_events e…) y GROUP BY y.state",
        "SELECT x.*, 'pending' AS state FROM (…FROM webhook_events e…ORDER BY anchor_at LIMIT 1) d…",
        "SELECT y.* FROM (SELECT x.*, …WHERE y.state = 'exhausted' ORDER BY y.created_at LIMIT 1",
        "SELECT count(*), min(anchor_at) FROM due WHERE kind = :kind",
        "SELECT * FROM (…) u ORDER BY due_at, kind, subject LIMIT :most",
        "SELECT x.state, sum(x.value) FROM (SELECT state, value FROM state_counts UNION ALL SELECT after, 1 FROM…",
    ),
    "a process counts the transitions of all shops in the background": (
        "SELECT shop_id, code, version, at, event, before, after FROM moves ORDER BY shop_id, code, version …",
    ),
    "a process deletes old rows of all shops in the background": (
        "SELECT e.shop_id, e.subject, e.sequence FROM webhook_events e WHERE e.created_at < :before …",
        "SELECT shop_id, batch_id FROM product_batches WHERE created_at < :before AND executed_at <> :not_yet …",
        "SELECT shop_id, at, entry FROM history WHERE at < :before LIMIT :limit",
    ),
    "personal data is removed from the kept answers and reports of all shops": (
        "SELECT owner, key, answer FROM idempotency_keys",
        "SELECT shop_id, name, document FROM shop_documents",
    ),
    "the codes of one shop are in all shards of the directory; they are exported or deleted with the shop": (
        "SELECT code, shop_id FROM directory WHERE shop_id = :shop_id …",
        "DELETE FROM directory WHERE directory.shop_id = …",
    ),
    "has a second form (spread/statements.py); one server must not use the index of the key here": (
        "SELECT subject, sequence, event_type, created_at FROM webhook_events WHERE shop_id || '' = :shop_id …",
    ),
    "runs only where one process serves the database": ("DELETE FROM listeners WHERE 1 = 1",),
}
# The exceptions that the code puts together from names, with a text of the code that does.
MADE_FROM_NAMES: Final[Mapping[str, str]] = {
    "SELECT code, shop_id FROM directory WHERE shop_id = :shop_id …": "for table in store.exported_tables()",
    "DELETE FROM directory WHERE directory.shop_id = …": "for name in (*store.shop_tables(),",
    "DELETE FROM listeners WHERE 1 = 1": 'Delete("listeners", {}, touches=None)',
}

_HERE: Final = Path(__file__)
_LOGGING: Final = Path(logging.__file__).parent
_STORAGE: Final = Path(storage.__file__).parent
_OUR_TABLES: Final = re.compile(rf"\b({'|'.join(METADATA.tables)})\b")
_WRITE: Final = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b")
_UNNAMED: Final = re.compile(r"%s|\?")


def find_unbound(sql: str) -> list[str]:
    """Return a sentence for each table of a statement that does not name its shop, and for each refused join. Its
    parameters are `:name`; in a statement that writes, `?` or `%s`."""
    faults = _find_faults(sql)
    return faults.unbound + faults.refused


class _Faults(NamedTuple):
    """The tables of a statement that do not name their shop, and other faults, which are not excused."""

    unbound: list[str]
    refused: list[str]


def _find_faults(sql: str) -> _Faults:
    if not _OUR_TABLES.search(sql):
        return _Faults([], [])
    try:
        tree = sqlglot.parse_one(_UNNAMED.sub(":value", sql) if _WRITE.match(sql) else sql, read="postgres")
    except (ParseError, TokenError) as error:
        return _Faults([], [f"The statement cannot be parsed: {str(error).splitlines()[0]}"])
    check = StatementCheck(tree)
    return _Faults(check.unbound, check.refused)


class StatementLog(logging.Filter):
    """Collects each statement of this process once, as a filter of the logger `kalathi.statements`; reads by tests
    themselves are left out."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()
        self._new: deque[str] = deque()

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the text of a statement that has not been logged before. Drop the record, so that a failed test does not
        show it among its logs."""
        sql = record.getMessage()
        if sql not in self._seen and (_WRITE.match(sql) or not _is_read_by_a_test()):
            self._seen.add(sql)
            self._new.append(sql)
        return False

    def take_new(self) -> list[str]:
        """Return the statements since the last call."""
        return [self._new.popleft() for _ in range(len(self._new))]


def _is_read_by_a_test() -> bool:
    """Whether the code that has passed the statement to the database is a test's."""
    for frame, _ in walk_stack(None):
        path = Path(frame.f_code.co_filename)
        if path.parent != _LOGGING and _STORAGE not in path.parents and path != _HERE:
            return _HERE.parent in path.parents
    return False


def describe_faults(statements: Iterable[str]) -> str:
    """Return the faults of the statements and their remedies; empty if each names its shop or is an exception."""
    parts = []
    for sql in statements:
        unbound, refused = _find_faults(sql)
        if unbound and is_exception(sql):
            unbound = []
        if found := unbound + refused:
            parts.append("\n".join([sql.strip(), *(f"  - {fault}" for fault in found)]))
    if not parts:
        return ""
    return "\n\n".join(
        [
            "A database that is spread over nodes cannot run this on one node:",
            *parts,
            "Name the shop in the statement (tests/statement_shapes.py shows how), split it in two, or add it with its"
            " reason to EXCEPTIONS there.",
        ]
    )


def is_exception(sql: str) -> bool:
    """Whether the statement is on the list of exceptions."""
    text = normalise_spaces(sql)
    return any(_as_pattern(exception).fullmatch(text) for texts in EXCEPTIONS.values() for exception in texts)


def normalise_spaces(text: str) -> str:
    """Return the text on one line, with single spaces."""
    return " ".join(text.split())


def _as_pattern(exception: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part.strip()) for part in exception.split("…")))
