"""Writes as data (docs/decisions/0002): a change set names tables and values, and how many rows each part must
touch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

Value = int | str | bytes | None


class Add(NamedTuple):
    """A change relative to the old value, so that counters never depend on an earlier read."""

    amount: int


class AtLeast(NamedTuple):
    """A condition on the old value: `column >= amount`."""

    amount: int


class Insert(NamedTuple):
    """One new row. If a row with its key exists already, the condition of the change set fails."""

    table: str
    row: Mapping[str, Value]


class Update(NamedTuple):
    """New values for the row with this `key`, if `when` holds. With `touches` None, any number of rows may match."""

    table: str
    key: Mapping[str, Value]
    values: Mapping[str, Value | Add]
    when: Mapping[str, Value | AtLeast] = {}
    touches: int | None = 1


class Delete(NamedTuple):
    """The deletion of the row with this `key`, if `when` holds. With `touches` None, any number of rows may match."""

    table: str
    key: Mapping[str, Value]
    when: Mapping[str, Value | AtLeast] = {}
    touches: int | None = 1


class Holds(NamedTuple):
    """A condition without a change: the row with this `key` has the values of `when`. The row is locked until the
    commit."""

    table: str
    key: Mapping[str, Value]
    when: Mapping[str, Value | AtLeast]

    @property
    def touches(self) -> int:
        """The number of rows that must meet the condition."""
        return 1


class InsertMany(NamedTuple):
    """Many new rows of one shape: the values of each in the order of `columns`."""

    table: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Value, ...]]


class UpdateMany(NamedTuple):
    """Many updates of one shape, each of one row: for each its new values, its key and its conditions, in the order of
    the three lists of names."""

    table: str
    values: tuple[str, ...]
    key: tuple[str, ...]
    when: tuple[str, ...]
    rows: Sequence[tuple[Value, ...]]


class DeleteMany(NamedTuple):
    """Many deletions of one shape, each of one row: for each its key and its conditions."""

    table: str
    key: tuple[str, ...]
    when: tuple[str, ...]
    rows: Sequence[tuple[Value, ...]]


Guarded = Update | Delete | Holds
GuardedMany = UpdateMany | DeleteMany
Part = Insert | InsertMany | Guarded | GuardedMany


# Subscribers of these tables are also called for updates and deletes, because they cache rows in memory.
WATCHED: Final = frozenset({"api_tokens", "sandbox_faults", "shops"})


class NewJob(NamedTuple):
    """A new due row. Its time is business time, in milliseconds since 1970."""

    kind: str
    shop_id: str
    due_at: int


class News(NamedTuple):
    """The changes of a commit: the tables with new rows, the new due rows (None if they are not known), and the
    orders that have another version, by shop and code."""

    tables: set[str]
    jobs: list[NewJob] | None = None
    orders: Sequence[tuple[str, str]] = ()


class ChangeSet:
    """Parts that are written together or not at all. All updates and deletes run before the inserts."""

    __slots__ = ("guarded", "guarded_many", "inserts", "inserts_many")

    def __init__(self, *parts: Part) -> None:
        self.guarded: list[Guarded] = []
        self.guarded_many: list[GuardedMany] = []
        self.inserts: list[Insert] = []
        self.inserts_many: list[InsertMany] = []
        self.add(*parts)

    def add(self, *parts: Part) -> None:
        """Add parts to the set."""
        for part in parts:
            if isinstance(part, Insert):
                self.inserts.append(part)
            elif isinstance(part, InsertMany):
                self.inserts_many.append(part)
            elif isinstance(part, UpdateMany | DeleteMany):
                self.guarded_many.append(part)
            else:
                self.guarded.append(part)

    def extend(self, others: Iterable["ChangeSet"]) -> None:
        """Merge other sets into this one. They then hold or fail together."""
        for other in others:
            self.guarded += other.guarded
            self.guarded_many += other.guarded_many
            self.inserts += other.inserts
            self.inserts_many += other.inserts_many

    @property
    def is_empty(self) -> bool:
        """Whether the set has no parts."""
        return not (self.guarded or self.inserts or self.guarded_many or self.inserts_many)

    def add_news(self, tables: set[str], jobs: list[NewJob], orders: list[tuple[str, str]]) -> None:
        """Add what this set changes, as `News` has it. One pass over the parts, because every commit does this."""
        for insert in self.inserts:
            tables.add(insert.table)
            if insert.table == "due":
                row: Mapping[str, Any] = insert.row
                jobs.append(NewJob(row["kind"], row["shop_id"], row["due_at"]))
        for many in self.inserts_many:
            tables.add(many.table)
            if many.table == "due":
                rows = (dict(zip(many.columns, values, strict=True)) for values in many.rows)
                jobs += [
                    NewJob(cast(Any, row["kind"]), cast(Any, row["shop_id"]), cast(Any, row["due_at"])) for row in rows
                ]
        for part in self.guarded:
            if part.table == "orders" and "code" in part.key:
                key: Mapping[str, Any] = part.key
                orders.append((key["shop_id"], key["code"]))
            elif part.table in WATCHED:
                tables.add(part.table)


class ConditionFailedError(Exception):
    """A condition of the change set did not hold, so nothing was written. The command may read and decide again."""


class StorageError(Exception):
    """The database could not write: a full or read-only disk, a lost connection. Nothing of the set was written."""
