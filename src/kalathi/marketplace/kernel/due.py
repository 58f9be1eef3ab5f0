"""Everything due later is a row with a due time, never a timer in memory (docs/decisions/0007).

Due times are business time. No row says whether its job is running: only the owner of a shop runs the shop's jobs
(docs/decisions/0056), and it knows them. The change set with a job's effect names the number of attempts that the
job's reader saw. So if two workers run the same job, one of them changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from operator import itemgetter
from typing import Final, NamedTuple

from kalathi.marketplace.kernel.storage.changes import (
    ChangeSet,
    Delete,
    DeleteMany,
    Insert,
    Update,
    Value,
)
from kalathi.marketplace.kernel.storage.database import Dialect, Row, View


class DueKind(StrEnum):
    """The kinds of due jobs. app.py gives each kind its handler."""

    DELIVERY = "delivery"
    EXPIRY = "expiry"
    EXPRESS = "express"
    VOUCHER = "voucher"
    DELIVERY_NOTE = "delivery_note"
    REVIEW = "review"
    OPENED = "opened"
    PRODUCTS = "products"
    FORGET = "forget"


class DueRow(NamedTuple):
    """One due job. Times are in milliseconds since 1970. `subject` and `sequence` identify the job within its kind."""

    kind: DueKind
    shop_id: str
    subject: str
    sequence: int
    due_at: int
    anchor_at: int
    attempts: int

    def key(self) -> dict[str, Value]:
        """Return the key columns of this row."""
        return {"shop_id": self.shop_id, "kind": self.kind, "subject": self.subject, "sequence": self.sequence}


def plan(
    kind: DueKind, shop_id: str, subject: str, sequence: int, *, due_at: int, anchor_at: int, attempts: int = 0
) -> Insert:
    """Return the row of a job that is due at `due_at`. Its retries are counted from `anchor_at`; `attempts` is the
    number of earlier attempts."""
    row: dict[str, Value] = {
        "shop_id": shop_id,
        "kind": kind,
        "subject": subject,
        "sequence": sequence,
        "due_at": due_at,
        "anchor_at": anchor_at,
        "attempts": attempts,
    }
    return Insert("due", row)


_COLUMNS: Final = "d.kind, d.shop_id, d.subject, d.sequence, d.due_at, d.anchor_at, d.attempts"

_DELIVERIES: Final = f"""
SELECT {_COLUMNS} FROM due d WHERE d.shop_id = :shop_id AND d.kind = :kind AND d.due_at <= :now
  AND NOT EXISTS (SELECT 1 FROM listeners l WHERE l.shop_id = :shop_id AND l.expires_at > :listened_until)
  AND NOT EXISTS (SELECT 1 FROM due e WHERE %s AND e.attempts = 0)
ORDER BY d.due_at LIMIT :most"""  # noqa: S608  (fixed column names, no input)
# Deliver in order: an event waits until the first attempt at the event before it has ended, but not for its retries.
# On PostgreSQL only the primary key serves a comparison of rows. Without statistics, it would choose the index by shop
# for the other form, and read the shop's whole backlog for each row.
_DELIVERIES_IN_ORDER: Final[Mapping[Dialect, str]] = {
    "sqlite": _DELIVERIES
    % "e.shop_id = d.shop_id AND e.kind = d.kind AND e.subject = d.subject AND e.sequence < d.sequence",
    "postgresql": _DELIVERIES
    % (
        "(e.shop_id, e.kind, e.subject, e.sequence) >= (d.shop_id, d.kind, d.subject, 0)"
        " AND (e.shop_id, e.kind, e.subject, e.sequence) < (d.shop_id, d.kind, d.subject, d.sequence)"
    ),
}

_BY_TIME: Final = (
    f"SELECT {_COLUMNS} FROM due d WHERE d.kind = :kind AND d.due_at <= :now ORDER BY d.due_at LIMIT :most"  # noqa: S608  (fixed column names, no input)
)

# Walk from shop to shop through the index and skip the rows between: the backlog of a dead endpoint costs the others
# nothing.
_SHOPS: Final = """
WITH RECURSIVE s(shop_id) AS (
  SELECT (SELECT min(shop_id) FROM due WHERE kind = :kind)
  UNION ALL
  SELECT (SELECT min(shop_id) FROM due WHERE kind = :kind AND shop_id > s.shop_id) FROM s WHERE s.shop_id IS NOT NULL)
SELECT (SELECT min(due_at) FROM due WHERE kind = :kind AND shop_id = s.shop_id), shop_id
FROM s WHERE shop_id IS NOT NULL"""

_NEVER: Final = 2**62
# The place of the due time in a row.
_DUE_AT: Final = 4

# The subject and the sequence, which name a job within its kind and shop.
JobName = tuple[str, int]


class Wanted(NamedTuple):
    """The due rows for which a worker has room. Times are in milliseconds since 1970.

    Each shop gets at most as many rows as `most_of` returns for it, and none of its `held` ones, which the worker has
    already. Only shops that the worker `owns` are read, and with `shops` only deliveries of these shops. Shops whose
    deliveries go to listeners are left out, unless the worker is that of the listeners (`of_listeners`).
    """

    kind: DueKind
    now_millis: int
    real_millis: int
    limit: int
    most_of: Callable[[str], int]
    held: Mapping[str, Collection[JobName]] = {}
    owns: Callable[[str], bool] = lambda _shop_id: True
    shops: Sequence[str] | None = None
    of_listeners: bool = False


class Found(NamedTuple):
    """Due rows, the longest due first; the shops that may have further due deliveries; and the shops that were read, or
    for which the worker has enough rows already."""

    rows: list[DueRow]
    more: list[str]
    shops: list[str]


def find_due(view: View, wanted: Wanted) -> Found:
    """Return due rows."""
    found = _find_deliveries(view, wanted) if wanted.kind is DueKind.DELIVERY else _find_by_time(view, wanted)
    found.rows.sort(key=lambda row: row.due_at)
    return found


def _find_deliveries(view: View, wanted: Wanted) -> Found:
    """Return due deliveries shop by shop, the longest waiting shop first. Read some shops at a time until there are
    enough rows."""
    if wanted.shops is not None:
        shops = [shop_id for shop_id in wanted.shops if wanted.owns(shop_id)]
    else:
        waiting = view.each_shard(_SHOPS, {"kind": wanted.kind})
        due = sorted((at, shop_id) for at, shop_id in waiting if at <= wanted.now_millis and wanted.owns(shop_id))
        shops = [shop_id for _, shop_id in due]
    most = {shop_id: wanted.most_of(shop_id) for shop_id in shops}
    # These have enough waiting jobs already.
    asked = [shop_id for shop_id, count in most.items() if count <= 0]
    shops = [shop_id for shop_id, count in most.items() if count > 0]
    rows: list[Row] = []
    more: list[str] = []
    for start in range(0, len(shops), wanted.limit):
        some = shops[start : start + wanted.limit]
        # Each shop's share of the rows. The rows that we hold are usually the first ones.
        share = -(-wanted.limit // len(some))
        keys = [(shop_id, min(most[shop_id], share) + len(wanted.held.get(shop_id, ()))) for shop_id in some]
        parameters = {**_times(wanted), "listened_until": _NEVER if wanted.of_listeners else wanted.real_millis}
        sql = _DELIVERIES_IN_ORDER[view.dialect]
        found = view.for_each(("shop_id", "most"), keys, sql, parameters, is_complete=False)
        counts = Counter(row[1] for row in found)
        asked += some
        more += [shop_id for shop_id, count in keys if counts[shop_id] >= count]
        rows += _limit_new(found, most, wanted)
        if len(rows) >= wanted.limit:
            more += shops[start + wanted.limit :]
            break
    rows, rest = _cut_evenly(rows, wanted.limit)
    more += {row[1] for row in rest}
    return Found([_as_due(row) for row in rows], more, asked)


def _find_by_time(view: View, wanted: Wanted) -> Found:
    """Return due rows of all owned shops. The rows of other owners and held rows may come first, so read further until
    there are enough rows."""
    most = wanted.limit + sum(map(len, wanted.held.values()))
    while True:
        found = view.each_shard(_BY_TIME, {**_times(wanted), "most": most})
        found = sorted(found, key=itemgetter(_DUE_AT))[:most]
        owned = [row for row in found if wanted.owns(row[1])]
        rows = _limit_new(owned, {row[1]: wanted.most_of(row[1]) for row in owned}, wanted)
        if len(rows) >= wanted.limit or len(found) < most:
            kept = [_as_due(row) for row in rows[: wanted.limit]]
            # Which shops have further rows does not matter: the next read goes by time again.
            is_all = len(found) < most and len(kept) == sum(_is_new(row, wanted) for row in owned)
            return Found(kept, [] if is_all else list(dict.fromkeys(row[1] for row in owned)), [])
        most *= 4


def _times(wanted: Wanted) -> dict[str, Value]:
    return {"kind": wanted.kind, "now": wanted.now_millis}


def _is_new(row: Row, wanted: Wanted) -> bool:
    return (row[2], row[3]) not in wanted.held.get(row[1], ())


def _limit_new(rows: list[Row], most: Mapping[str, int], wanted: Wanted) -> list[Row]:
    """Return the rows that we do not hold, up to each shop's limit."""
    taken: Counter[str] = Counter()
    kept = []
    for row in rows:
        shop_id = row[1]
        if taken[shop_id] < most[shop_id] and _is_new(row, wanted):
            taken[shop_id] += 1
            kept.append(row)
    return kept


def _cut_evenly(rows: list[Row], limit: int) -> tuple[list[Row], list[Row]]:
    """Return at most `limit` rows, and the rest: the first row of each shop, then the second one of each, and so on."""
    if len(rows) <= limit:
        return rows, []
    places: Counter[str] = Counter()
    by_place: dict[int, list[Row]] = {}
    for row in rows:
        by_place.setdefault(places[row[1]], []).append(row)
        places[row[1]] += 1
    in_turn = list(chain.from_iterable(by_place.values()))
    return in_turn[:limit], in_turn[limit:]


_KEY: Final = ("shop_id", "kind", "subject", "sequence")


def complete_all(rows: Iterable[DueRow]) -> DeleteMany:
    """Return the deletion of rows with finished jobs. It fails unless every row has the attempts that were read."""
    gone = [(shop_id, kind, subject, sequence, attempts) for kind, shop_id, subject, sequence, _, _, attempts in rows]
    return DeleteMany("due", _KEY, ("attempts",), gone)


def complete(row: DueRow) -> Delete:
    """Return the deletion of a row with a finished job. It fails unless the row has the attempts that were read."""
    return Delete("due", row.key(), when={"attempts": row.attempts})


def repeat_at(row: DueRow, due_at: int) -> Update:
    """Return the update that makes a job due again at `due_at`, with one more attempt. It fails unless the row has the
    attempts that were read."""
    return Update("due", row.key(), {"due_at": due_at, "attempts": row.attempts + 1}, when={"attempts": row.attempts})


def find_planned(view: View, kind: DueKind, shop_id: str, subject: str, sequence: int) -> DueRow | None:
    """Return the row of a job that waits or runs, or None."""
    row = view.one(
        f"SELECT {_COLUMNS} FROM due d WHERE d.kind = :kind AND d.shop_id = :shop_id AND d.subject = :subject"  # noqa: S608  (fixed column names, no input)
        " AND d.sequence = :sequence",
        {"kind": kind, "shop_id": shop_id, "subject": subject, "sequence": sequence},
    )
    return None if row is None else _as_due(row)


def bring_forward(row: DueRow, due_at: int) -> ChangeSet:
    """Return the change set that makes a job due at this time instead of later. If the job is running, it has no
    effect."""
    if row.due_at <= due_at:
        return ChangeSet()
    return ChangeSet(Update("due", row.key(), {"due_at": due_at}, when={"attempts": row.attempts}))


_EARLIEST: Final = f"SELECT {', '.join(f'(SELECT min(due_at) FROM due WHERE kind = :{kind})' for kind in DueKind)}"  # noqa: S608  (numbers only)


def find_earliest_by_kind(view: View, *, is_complete: bool = False) -> dict[DueKind, int]:
    """Return when the next job of each kind is due, running ones included; kinds without jobs are left out. One
    statement; each of its parts reads the first entry of an index. With `is_complete`, raises StorageError if the jobs
    of some shops cannot be read now."""
    earliest: dict[DueKind, int] = {}
    for row in view.each_shard(_EARLIEST, {kind: kind for kind in DueKind}, is_complete=is_complete):
        for kind, due_at in zip(DueKind, row, strict=True):
            if due_at is not None:
                earliest[kind] = min(due_at, earliest.get(kind, due_at))
    return earliest


def list_coming(view: View, most: int, only: Mapping[DueKind, str]) -> list[DueRow]:
    """Return the next due rows of all shops, the earliest first; each kind's part of the index is read from its
    beginning. `only` is SQL that selects the rows `d` of a kind that will have an effect."""
    parts = " UNION ALL ".join(
        f"SELECT * FROM (SELECT {_COLUMNS} FROM due d WHERE d.kind = :{kind}"  # noqa: S608  (names and fixed text only)
        f" AND {only.get(kind, '1 = 1')} ORDER BY d.due_at LIMIT :most) {kind}_rows"
        for kind in DueKind
    )
    rows = view.all(
        f"SELECT * FROM ({parts}) u ORDER BY due_at, kind, subject LIMIT :most",  # noqa: S608  (fixed column names, no input)
        {**{kind: kind for kind in DueKind}, "most": most},
    )
    return [_as_due(row) for row in rows]


def find_next_due_millis(view: View) -> int | None:
    """Return when the next job is due, running ones included, in milliseconds since 1970; None if no job is planned."""
    return min(find_earliest_by_kind(view, is_complete=True).values(), default=None)


def _as_due(row: Row) -> DueRow:
    return DueRow(_KINDS[row[0]], *row[1:])


_KINDS: Final = {str(kind): kind for kind in DueKind}
