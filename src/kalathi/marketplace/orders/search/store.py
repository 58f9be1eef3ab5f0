"""The index of words in the database: its rows, and the orders that a search finds."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Holds, InsertMany, Value
from kalathi.marketplace.kernel.storage.database import Row, View
from kalathi.marketplace.orders.model import FoundOrder, Order
from kalathi.marketplace.orders.search.words import list_lasting_words, list_shipping_words, list_words
from kalathi.marketplace.shops.store import shop_of

# The word of an order from an earlier version of the software, whose words are not in the index yet.
_NOT_INDEXED: Final = "?"
_KEY: Final = ("shop_id", "word", "created_at", "code")
# No text follows this one after the same beginning.
_LAST: Final = "\U0010ffff"
# Databases limit the parameters of a statement.
_CODES_AT_ONCE: Final = 500
# More words of one order rarely begin in the same way.
_WORDS_WITH_ONE_BEGINNING: Final = 4


class Match(NamedTuple):
    """An order that a search has found, without its document. Times are milliseconds since 1970."""

    code: str
    state: str
    created_at: int
    updated_at: int


class Matches(NamedTuple):
    """The matches of a search, the latest first. `was_cut`: there are more."""

    found: list[Match]
    was_cut: bool


class Span(NamedTuple):
    """A span of placing times in milliseconds since 1970, the second one excluded."""

    since_millis: int
    until_millis: int


def insert_words(order: Order) -> InsertMany:
    """Return the rows of a new order."""
    return InsertMany("order_words", _KEY, _rows(order, list_words(order)))


def replace_shipping_words(before: Order, after: Order) -> ChangeSet:
    """Return the changed rows of an order with another courier or other tracking codes; empty if they are the same."""
    changes = ChangeSet()
    if (before.courier, before.courier_tracking_codes) == (after.courier, after.courier_tracking_codes):
        return changes
    lasting = list_lasting_words(before)
    old, new = list_shipping_words(before) - lasting, list_shipping_words(after) - lasting
    for row in _rows(before, old - new):
        # The row is missing if the order is not indexed yet.
        changes.add(Delete("order_words", dict(zip(_KEY, row, strict=True)), touches=None))
    if new - old:
        changes.add(InsertMany("order_words", _KEY, _rows(after, new - old)))
    return changes


def index_earlier(view: View, shop_id: str, limit: int) -> ChangeSet:
    """Return the rows of up to `limit` orders that are not in the index yet; empty if there are none. They apply only
    if none of the orders changes in the meantime."""
    rows = view.all(
        "SELECT created_at, code FROM order_words WHERE shop_id = :shop_id AND word = :word LIMIT :limit",
        {"shop_id": shop_id, "word": _NOT_INDEXED, "limit": limit},
    )
    found = load_orders(view, shop_id, [code for _, code in rows])
    changes = ChangeSet()
    for created_at, code in rows:
        changes.add(Delete("order_words", dict(zip(_KEY, (shop_id, _NOT_INDEXED, created_at, code), strict=True))))
        if code in found:
            order = found[code].order
            changes.add(Holds("orders", {"shop_id": shop_id, "code": code}, {"version": found[code].version}))
            changes.add(InsertMany("order_words", _KEY, _rows(order, list_words(order) - _read_words(view, order))))
    return changes


def _read_words(view: View, order: Order) -> set[str]:
    """Return the words that a transition has added to an order that was not indexed yet."""
    words = list_shipping_words(order)
    if not words:
        return words
    parameters: dict[str, Value] = {"shop_id": order.shop_id, "code": order.code}
    parameters["created_at"] = to_millis(order.created_at)
    parameters |= {f"word{number}": word for number, word in enumerate(sorted(words))}
    names = ", ".join(f":word{number}" for number in range(len(words)))
    rows = view.all(
        "SELECT word FROM order_words WHERE shop_id = :shop_id AND created_at = :created_at AND code = :code"  # noqa: S608  (names only)
        f" AND word IN ({names})",
        parameters,
    )
    return {row[0] for row in rows}


def is_indexing(view: View, shop_id: str) -> bool:
    """Whether the words of some of the shop's orders are still missing in the index."""
    row = view.one(
        "SELECT 1 FROM order_words WHERE shop_id = :shop_id AND word = :word LIMIT 1",
        {"shop_id": shop_id, "word": _NOT_INDEXED},
    )
    return row is not None


def find_by_words(
    view: View, shop_id: str, beginnings: Sequence[str], marks: Sequence[str], span: Span | None, limit: int
) -> Matches:
    """Return the latest orders that have a word with each beginning, and each mark."""
    # An order can have several words with one beginning. In SQL, DISTINCT takes six times as long.
    rows_read = limit if len(beginnings) + len(marks) > 1 else _WORDS_WITH_ONE_BEGINNING * limit
    parameters: dict[str, Value] = {"shop_id": shop_id, "limit": rows_read + 1}
    conditions = []
    for number, beginning in enumerate(beginnings):
        parameters |= {f"from{number}": beginning, f"to{number}": beginning + _LAST}
        conditions.append(f"word >= :from{number} AND word < :to{number}")
    for number, mark in enumerate(marks):
        parameters[f"mark{number}"] = mark
        conditions.append(f"word = :mark{number}")
    within = _limit_span("created_at", span, parameters)
    parts = [
        f"SELECT created_at, code FROM order_words WHERE shop_id = :shop_id AND {condition}{within}"  # noqa: S608  (names only)
        for condition in conditions
    ]
    rows = view.all(
        "SELECT o.code, o.state, o.created_at, o.updated_at FROM"  # noqa: S608  (names only)
        f" (SELECT created_at, code FROM ({' INTERSECT '.join(parts)}) b"
        " ORDER BY created_at DESC, code DESC LIMIT :limit) m"
        " JOIN orders o ON o.shop_id = :shop_id AND o.code = m.code",
        parameters,
    )
    found = sorted({Match(*row) for row in rows}, key=lambda match: (-match.created_at, match.code))
    return Matches(found[:limit], len(rows) > rows_read or len(found) > limit)


def find_by_time(view: View, shop_id: str, span: Span, limit: int) -> Matches:
    """Return the shop's latest orders that were placed in a span of time."""
    parameters: dict[str, Value] = {"shop_id": shop_id, "limit": limit + 1}
    within = _limit_span("created_at", span, parameters)
    rows = view.all(
        "SELECT code, state, created_at, updated_at FROM orders"  # noqa: S608  (names only)
        f" WHERE shop_id = :shop_id{within} ORDER BY created_at DESC LIMIT :limit",
        parameters,
    )
    return _cut([Match(*row) for row in rows], limit)


def find_by_change(
    view: View, shop_id: str, states: Iterable[OrderState], limit: int, *, is_oldest_first: bool = False
) -> Matches:
    """Return the shop's orders in these states with the latest changes, or with the oldest ones."""
    direction, sign = ("ASC", 1) if is_oldest_first else ("DESC", -1)
    rows: list[Row] = []
    for state in states:
        rows += view.all(
            "SELECT code, state, created_at, updated_at FROM orders WHERE shop_id = :shop_id AND state = :state"  # noqa: S608  (fixed text only)
            f" ORDER BY updated_at {direction}, code LIMIT :limit",
            {"shop_id": shop_id, "state": state, "limit": limit + 1},
        )
    return _cut(sorted((Match(*row) for row in rows), key=lambda match: sign * match.updated_at), limit)


def _cut(found: list[Match], limit: int) -> Matches:
    return Matches(found[:limit], len(found) > limit)


def load_orders(view: View, shop_id: str, codes: Collection[str]) -> dict[str, FoundOrder]:
    """Return the shop's orders with these codes, by code."""
    wanted = list(codes)
    found: dict[str, FoundOrder] = {}
    for start in range(0, len(wanted), _CODES_AT_ONCE):
        parameters: dict[str, Value] = {"shop_id": shop_id}
        some = wanted[start : start + _CODES_AT_ONCE]
        parameters |= {f"code{number}": code for number, code in enumerate(some)}
        names = ", ".join(f":code{number}" for number in range(len(some)))
        rows = view.all(
            "SELECT o.code, s.document, o.document, o.version FROM orders o JOIN shops s ON s.shop_id = o.shop_id"  # noqa: S608  (names only)
            f" WHERE o.shop_id = :shop_id AND o.code IN ({names})",
            parameters,
        )
        found |= {row[0]: FoundOrder(row[2], row[3], shop_of(row[1])) for row in rows}
    return found


def count_by_state(view: View, shop_id: str, most: int) -> dict[str, int]:
    """Return the number of the shop's orders by state, at most `most` of each; states without orders are left out."""
    parameters: dict[str, Value] = {"shop_id": shop_id, "most": most}
    parts = []
    for number, state in enumerate(OrderState):
        parameters[f"state{number}"] = state
        parts.append(
            "(SELECT count(*) FROM (SELECT 1 FROM orders WHERE shop_id = :shop_id"  # noqa: S608  (names only)
            f" AND state = :state{number} LIMIT :most) s{number})"
        )
    row = view.one(f"SELECT {', '.join(parts)}", parameters) or ()
    return {state.value: number for state, number in zip(OrderState, row, strict=False) if number}


def _limit_span(column: str, span: Span | None, parameters: dict[str, Value]) -> str:
    if span is None:
        return ""
    parameters |= {"since": span.since_millis, "until": span.until_millis}
    return f" AND {column} >= :since AND {column} < :until"


def _rows(order: Order, words: Iterable[str]) -> list[tuple[Value, ...]]:
    created_at = to_millis(order.created_at)
    return [(order.shop_id, word, created_at, order.code) for word in sorted(words)]
