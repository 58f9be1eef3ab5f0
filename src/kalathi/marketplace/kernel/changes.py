"""Writes as data (DESIGN, decision 2): a change set names tables and values, and how many rows each part must touch."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

Value = int | str | bytes | None


class Add(NamedTuple):
    """A new value counted from the old one, so that counters never depend on what was read."""

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


Guarded = Update | Delete


class ChangeSet:
    """All of it is written, or nothing. Updates and deletes run first, in order, and then the inserts."""

    __slots__ = ("guarded", "inserts")

    def __init__(self, *parts: Insert | Guarded) -> None:
        self.guarded: list[Guarded] = []
        self.inserts: list[Insert] = []
        self.add(*parts)

    def add(self, *parts: Insert | Guarded) -> None:
        """Puts more into the same set."""
        for part in parts:
            if isinstance(part, Insert):
                self.inserts.append(part)
            else:
                self.guarded.append(part)

    def extend(self, others: Iterable["ChangeSet"]) -> None:
        """Puts other sets into this one: they then hold or fail together."""
        for other in others:
            self.guarded += other.guarded
            self.inserts += other.inserts

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.guarded or self.inserts)

    def tables(self) -> set[str]:
        """The tables that get new rows."""
        return {insert.table for insert in self.inserts}


class ConditionFailedError(Exception):
    """A row was not as the change set demands; nothing of it was written. The command may read and decide anew."""


class StorageError(Exception):
    """The database could not write: a full or read-only disk, a lost connection. Nothing of the set was written."""
