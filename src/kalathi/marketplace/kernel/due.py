"""Everything due later is a row with a due time, never a timer in memory (docs/decisions/0007).

Due times are business time, leases real time. A claim puts a fencing token into `lease`. The change set with the job's
effect names that token, so a worker that was too slow changes nothing. A lease that ends without an outcome is free
again, and its job is repeated.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from kalathi.marketplace.kernel.storage.changes import (
    Add,
    ChangeSet,
    Delete,
    DeleteMany,
    Insert,
    Update,
    UpdateMany,
    Value,
)
from kalathi.marketplace.kernel.storage.database import Row, View

# Longer than any job (a webhook takes 12 s at most), and shorter than the 25 s for which a lost lease may block its
# row.
LEASE_MILLIS: Final = 20_000
_FREE: Final = 0


class DueKind(StrEnum):
    """The kinds of due jobs. app.py gives each kind its handler."""

    DELIVERY = "delivery"
    EXPIRY = "expiry"
    EXPRESS = "express"
    VOUCHER = "voucher"
    DELIVERY_NOTE = "delivery_note"
    REVIEW = "review"
    OPENED = "opened"
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
    lease: int

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
        "lease": _FREE,
        "leased_until": 0,
    }
    return Insert("due", row)


_COLUMNS: Final = "d.kind, d.shop_id, d.subject, d.sequence, d.due_at, d.anchor_at, d.attempts, d.lease"
_FREE_AND_DUE: Final = "d.kind = :kind AND d.due_at <= :now AND d.leased_until <= :real"

# Deliver in order: an event waits until the first attempt at the event before it has ended, but not for its retries.
_EARLIER_FIRST: Final = """
  AND NOT EXISTS (SELECT 1 FROM due e WHERE e.kind = d.kind AND e.shop_id = d.shop_id AND e.subject = d.subject
                  AND e.sequence < d.sequence AND e.attempts = 0)"""

# Walk from shop to shop through the index and skip the rows between: the backlog of a dead endpoint costs the others
# nothing.
_SHOPS: Final = """
WITH RECURSIVE s(shop_id) AS (
  SELECT (SELECT min(shop_id) FROM due WHERE kind = :kind)
  UNION ALL
  SELECT (SELECT min(shop_id) FROM due WHERE kind = :kind AND shop_id > s.shop_id) FROM s WHERE s.shop_id IS NOT NULL)
SELECT (SELECT min(due_at) FROM due WHERE kind = :kind AND shop_id = s.shop_id), shop_id
FROM s WHERE shop_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM listeners l WHERE l.shop_id = s.shop_id AND l.expires_at > :real)"""


class Beside(NamedTuple):
    """Columns that are read together with due rows, and the join that finds them; the due row is `d`."""

    columns: str
    join: str


class Wanted(NamedTuple):
    """The due rows that a worker has room for. Times are in milliseconds since 1970.

    Each shop gets at most `per_shop` rows, including its `busy` ones. For deliveries, `slots_of` may allow a shop
    fewer; it is called once for each shop, the longest waiting first. With `only_shop`, only deliveries of this shop
    are found. Without it, shops whose deliveries go to listeners are left out.
    """

    kind: DueKind
    now_millis: int
    real_millis: int
    limit: int
    per_shop: int
    busy: Mapping[str, int]
    beside: Beside | None = None
    slots_of: Callable[[str], int] | None = None
    only_shop: str = ""

    @property
    def parameters(self) -> dict[str, Value]:
        """The parameters of the statements."""
        return {"kind": self.kind, "now": self.now_millis, "real": self.real_millis, "limit": self.limit}


def find_claimable(view: View, wanted: Wanted) -> list[tuple[DueRow, Row]]:
    """Return free due rows, the longest due first, each with its columns of `beside`. Rows that other workers are
    claiming are left out."""
    if wanted.kind is DueKind.DELIVERY:
        slots = _list_slots(view, wanted)
        rows = _find_deliveries(view, wanted, slots)
    else:
        rows = view.all(_select(view, wanted, _FREE_AND_DUE), wanted.parameters)
        slots = dict.fromkeys((row[1] for row in rows), wanted.per_shop)
    rows.sort(key=lambda row: row[4])
    return [(_as_due(row[:8]), row[8:]) for row in _limit_to_slots(rows, slots, wanted.busy)[: wanted.limit]]


def _select(view: View, wanted: Wanted, condition: str) -> str:
    columns, source = _COLUMNS, "due d"
    if wanted.beside is not None:
        columns, source = f"{_COLUMNS}, {wanted.beside.columns}", f"due d {wanted.beside.join}"
    return f"SELECT {columns} FROM {source} WHERE {condition} ORDER BY d.due_at LIMIT :limit{view.unlocked('d')}"  # noqa: S608  (names only)


def _list_slots(view: View, wanted: Wanted) -> dict[str, int]:
    """Return the slots of each shop with due deliveries, the longest waiting shop first."""
    if wanted.only_shop:
        names = [wanted.only_shop]
    else:
        shops = view.all(_SHOPS, {"kind": wanted.kind, "real": wanted.real_millis})
        names = [name for _, name in sorted((at, name) for at, name in shops if at <= wanted.now_millis)]
    slots_of = wanted.slots_of
    return {name: wanted.per_shop if slots_of is None else min(wanted.per_shop, slots_of(name)) for name in names}


def _find_deliveries(view: View, wanted: Wanted, slots: Mapping[str, int]) -> list[Row]:
    """Return free deliveries of shops with a free slot. Read some shops at a time until there are enough rows, because
    other workers may be claiming the rows of the shops that have waited longest."""
    sql = _select(view, wanted, f"d.shop_id = :shop_id AND {_FREE_AND_DUE}{_EARLIER_FIRST}")
    names = [name for name, count in slots.items() if wanted.busy.get(name, 0) < count]
    rows: list[Row] = []
    # Read as many further shops as there are busy ones, which may have no further rows.
    step = wanted.limit + len(wanted.busy)
    for start in range(0, len(names), step):
        some = names[start : start + step]
        # Read only each shop's share: the columns beside further rows would be read for nothing.
        share: Value = min(wanted.per_shop, -(-wanted.limit // len(some)))
        rows += view.for_each("shop_id", some, sql, wanted.parameters | {"limit": share})
        if len(rows) >= wanted.limit:
            break
    return rows


def _limit_to_slots(rows: list[Row], slots: Mapping[str, int], busy: Mapping[str, int]) -> list[Row]:
    taken = Counter(busy)
    kept = []
    for row in rows:
        if taken[row[1]] < slots[row[1]]:
            taken[row[1]] += 1
            kept.append(row)
    return kept


_KEY: Final = ("shop_id", "kind", "subject", "sequence")


def claim(rows: Sequence[DueRow], real_millis: int) -> tuple[ChangeSet, list[DueRow]]:
    """Return the change set that leases the rows, and the rows with their new token. The set fails as a whole if
    another worker has leased one of the rows."""
    if not rows:
        return ChangeSet(), []
    token = secrets.randbits(62) + 1
    until = real_millis + LEASE_MILLIS
    leases = [
        (token, until, shop_id, kind, subject, sequence, lease, attempts)
        for kind, shop_id, subject, sequence, _, _, attempts, lease in rows
    ]
    changes = ChangeSet(UpdateMany("due", ("lease", "leased_until"), _KEY, ("lease", "attempts"), leases))
    return changes, [DueRow(*row[:7], token) for row in rows]


def complete_all(rows: Iterable[DueRow]) -> DeleteMany:
    """Return the deletion of rows with finished jobs. It fails unless we still hold the lease of every row."""
    gone = [(shop_id, kind, subject, sequence, lease) for kind, shop_id, subject, sequence, _, _, _, lease in rows]
    return DeleteMany("due", _KEY, ("lease",), gone)


def complete(row: DueRow) -> Delete:
    """Return the deletion of a row with a finished job. It fails unless we still hold the lease."""
    return Delete("due", row.key(), when={"lease": row.lease})


def repeat_at(row: DueRow, due_at: int) -> Update:
    """Return the update that makes a job due again at `due_at`, with one more attempt. It fails unless we still hold
    the lease."""
    values: dict[str, Value | Add] = {"due_at": due_at, "attempts": Add(1), "lease": _FREE, "leased_until": 0}
    return Update("due", row.key(), values, when={"lease": row.lease})


def release(row: DueRow) -> Update:
    """Return the update that frees a row for the next claim, with its job not done. It fails unless we still hold the
    lease."""
    return Update("due", row.key(), {"lease": _FREE, "leased_until": 0}, when={"lease": row.lease})


def find_planned(view: View, kind: DueKind, shop_id: str, subject: str, sequence: int) -> DueRow | None:
    """Return the row of a job that waits or runs, or None."""
    row = view.one(
        f"SELECT {_COLUMNS} FROM due d WHERE d.kind = :kind AND d.shop_id = :shop_id AND d.subject = :subject"  # noqa: S608  (names only)
        " AND d.sequence = :sequence",
        {"kind": kind, "shop_id": shop_id, "subject": subject, "sequence": sequence},
    )
    return None if row is None else _as_due(row)


def bring_forward(row: DueRow, due_at: int) -> ChangeSet:
    """Return the change set that makes a job due at this time instead of later. It is empty if the job is running."""
    if row.lease != _FREE:
        return ChangeSet()
    return ChangeSet(Update("due", row.key(), {"due_at": due_at}, when={"lease": _FREE, "attempts": row.attempts}))


def free_all() -> ChangeSet:
    """Free every lease: for the start of the one process that serves a database, where no claimant or listener can be
    connected."""
    return ChangeSet(
        Update("due", {}, {"lease": _FREE, "leased_until": 0}, touches=None), Delete("listeners", {}, touches=None)
    )


_EARLIEST: Final = f"SELECT {', '.join(f'(SELECT min(due_at) FROM due WHERE kind = :{kind})' for kind in DueKind)}"  # noqa: S608  (numbers only)


def find_earliest_by_kind(view: View) -> dict[DueKind, int]:
    """Return when the next job of each kind is due, leased ones included; kinds without jobs are left out. One
    statement; each of its parts reads the first entry of an index."""
    row = view.one(_EARLIEST, {kind: kind for kind in DueKind}) or ()
    return {kind: due_at for kind, due_at in zip(DueKind, row, strict=False) if due_at is not None}


def list_coming(view: View, most: int, only: Mapping[DueKind, str]) -> list[DueRow]:
    """Return the next due rows of all shops, the earliest first; each kind's part of the index is read from its
    beginning. `only` is SQL that selects the rows `d` of a kind that will have an effect."""
    parts = " UNION ALL ".join(
        f"SELECT * FROM (SELECT {_COLUMNS} FROM due d WHERE d.kind = :{kind}"  # noqa: S608  (names and fixed text only)
        f" AND {only.get(kind, '1 = 1')} ORDER BY d.due_at LIMIT :most) {kind}_rows"
        for kind in DueKind
    )
    rows = view.all(
        f"SELECT * FROM ({parts}) u ORDER BY due_at, kind, subject LIMIT :most",  # noqa: S608  (names only)
        {**{kind: kind for kind in DueKind}, "most": most},
    )
    return [_as_due(row) for row in rows]


def find_next_due_millis(view: View) -> int | None:
    """Return when the next job is due, leased ones included, in milliseconds since 1970; None if no job is planned."""
    return min(find_earliest_by_kind(view).values(), default=None)


def _as_due(row: Row) -> DueRow:
    return DueRow(_KINDS[row[0]], *row[1:])


_KINDS: Final = {str(kind): kind for kind in DueKind}
