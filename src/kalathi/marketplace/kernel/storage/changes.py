"""Writes as data (docs/decisions/0002): a change set names tables and values, and how many rows each part must
touch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

Value = int | str | bytes | None


class Add(NamedTuple):
    """A new value counted from the old one, so that counters never depend on an earlier read."""

    amount: int


class AtLeast(NamedTuple):
    """A condition on the old value: `column >= amount`."""

    amount: int


class Insert(NamedTuple):
    """One new row. A row with this key that is already there is a condition that does not hold."""

    table: str
    row: Mapping[str, Value]


class Update(NamedTuple):
    """New values for the row under `key`, if `when` holds; `touches` None takes any number of rows."""

    table: str
    key: Mapping[str, Value]
    values: Mapping[str, Value | Add]
    when: Mapping[str, Value | AtLeast] = {}
    touches: int | None = 1


class Delete(NamedTuple):
    """The row under `key` goes, if `when` holds."""

    table: str
    key: Mapping[str, Value]
    when: Mapping[str, Value | AtLeast] = {}
    touches: int | None = 1


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


Guarded = Update | Delete
GuardedMany = UpdateMany | DeleteMany
Part = Insert | InsertMany | Guarded | GuardedMany


class ChangeSet:
    """All of it is written, or nothing. Updates and deletes run first, in order, and then the inserts; parts of many
    rows before the others of their kind."""

    __slots__ = ("guarded", "guarded_many", "inserts", "inserts_many")

    def __init__(self, *parts: Part) -> None:
        self.guarded: list[Guarded] = []
        self.guarded_many: list[GuardedMany] = []
        self.inserts: list[Insert] = []
        self.inserts_many: list[InsertMany] = []
        self.add(*parts)

    def add(self, *parts: Part) -> None:
        """Puts more into the same set."""
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
        """Puts other sets into this one: they then hold or fail together."""
        for other in others:
            self.guarded += other.guarded
            self.guarded_many += other.guarded_many
            self.inserts += other.inserts
            self.inserts_many += other.inserts_many

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.guarded or self.inserts or self.guarded_many or self.inserts_many)

    def tables(self) -> set[str]:
        """The tables that get new rows."""
        tables = {insert.table for insert in self.inserts}
        return tables.union(many.table for many in self.inserts_many) if self.inserts_many else tables


class ConditionFailedError(Exception):
    """A row was not as the change set demands; nothing of it was written. The command may read and decide anew."""


class StorageError(Exception):
    """The database could not write: a full or read-only disk, a lost connection. Nothing of the set was written."""
