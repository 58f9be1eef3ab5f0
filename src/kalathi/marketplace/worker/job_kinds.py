"""The job kinds of a worker."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from kalathi.marketplace.kernel.due import DueKind, DueRow
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View


class JobKind(NamedTuple):
    """One kind of job: its handler, and the most jobs that run at once, in all and for one shop.

    The handler either commits its own outcome together with the end of the row, or returns a result. `record` turns the
    results of many rows into one change set after their slots are free: a delivery needs its slot while the endpoint
    answers, not while the disk writes. A result that cannot be written now is kept and written later. If the handler
    raises an unexpected error, the row is put off.

    `prepare` reads what the handler needs, once for many rows; the handler receives each row with its prepared part.
    `weigh` returns the size of that part in bytes.
    """

    kind: DueKind
    handle: Callable[..., Awaitable[Any]]
    slots: int
    slots_per_shop: int
    record: Callable[[Sequence[Any]], ChangeSet] | None = None
    prepare: Callable[[View, Sequence[DueRow]], Sequence[Any]] | None = None
    weigh: Callable[[Any], int] = lambda _prepared: 0
    # Only rows of this shop, which has listeners connected to this process; empty: all shops without listeners.
    only_shop: str = ""


class Job:
    """A due row that was read, its prepared part with its size in bytes, and the event loop's time of the read in
    seconds."""

    __slots__ = ("prepared", "read_at", "row", "weight")

    def __init__(self, row: DueRow, prepared: Any, weight: int, read_at: float) -> None:
        self.row = row
        self.prepared = prepared
        self.weight = weight
        self.read_at = read_at
