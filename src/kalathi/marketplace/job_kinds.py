"""The job kinds of a worker, and the pool of slots of each kind, which the shops share."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from kalathi.marketplace.kernel.due import Beside, DueKind, DueRow
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Row, View

# A job that ends faster than this is quick. The most quick shops that are remembered.
_QUICK_SECONDS: Final = 1.0
_MOST_KNOWN: Final = 100_000


class JobKind(NamedTuple):
    """One kind of job: its handler, and the most jobs that run at once, in all and for one shop.

    The handler either commits its own outcome together with the end of the row, or returns a result. `record` turns the
    results of many rows into one change set after their slots are free: a delivery needs its slot while the endpoint
    answers, not while the disk writes. If the change set cannot be written, the leases expire and the jobs are
    repeated. If the handler raises any other error, the row is put off.

    `prepare` runs once for all claimed rows and the columns read `beside` them; the handler receives each row with its
    prepared part. `weigh` returns the size of that part in bytes.
    """

    kind: DueKind
    handle: Callable[..., Awaitable[Any]]
    slots: int
    slots_per_shop: int
    record: Callable[[Sequence[Any]], ChangeSet] | None = None
    beside: Beside | None = None
    prepare: Callable[[View, Sequence[tuple[DueRow, Row]]], Sequence[Any]] | None = None
    weigh: Callable[[Any], int] = lambda _prepared: 0
    # Only rows of this shop, which has listeners connected to this process; empty: all shops without listeners.
    only_shop: str = ""


class Claimed:
    """A claimed row, its prepared part with its size in bytes, and the event loop's time of the claim in seconds."""

    __slots__ = ("claimed_at", "prepared", "row", "weight")

    def __init__(self, row: DueRow, prepared: Any, weight: int, claimed_at: float) -> None:
        self.row = row
        self.prepared = prepared
        self.weight = weight
        self.claimed_at = claimed_at


class WorkerPool:
    """The claimed jobs of one kind: their number by shop, the jobs that wait for a slot, and the number of slots in
    use."""

    def __init__(self, job_kind: JobKind) -> None:
        self.job_kind = job_kind
        self.by_shop: Counter[str] = Counter()
        self.ready: deque[Claimed] = deque()
        self.slots_taken = 0
        # The shops whose last job was quick, and those whose last job was slow.
        self.quick: set[str] = set()
        self.slow: set[str] = set()

    def note_duration(self, shop_id: str, seconds: float) -> None:
        """Record the duration of a shop's job."""
        if seconds < _QUICK_SECONDS:
            self.slow.discard(shop_id)
            if len(self.quick) >= _MOST_KNOWN:
                self.quick.clear()
            self.quick.add(shop_id)
        else:
            self.quick.discard(shop_id)
            self.slow.add(shop_id)

    def shares(self) -> Callable[[str], int]:
        """Return a function that gives the number of slots of a shop, for one claim.

        A shop has one slot until one of its jobs has ended quickly, so that dead endpoints cannot use all slots. All
        shops whose last job was slow share a quarter of the slots.
        """
        left = max(1, self.job_kind.slots // 4) - sum(
            self.by_shop[shop_id] for shop_id in self.slow & self.by_shop.keys()
        )

        def share(shop_id: str) -> int:
            nonlocal left
            if shop_id in self.quick:
                return self.job_kind.slots_per_shop
            if shop_id not in self.slow or self.by_shop.get(shop_id):
                return 1
            left -= 1
            return 1 if left >= 0 else 0

        return share

    def limits(self, *, is_hurried: bool) -> tuple[int, Callable[[str], int] | None]:
        """Return the most slots of a shop for one claim, and `shares` if some shops may have fewer. A move of the clock
        (`is_hurried`) waits for all due jobs, so a shop may then use all slots: a slow shop must not run its jobs one
        by one."""
        return (self.job_kind.slots, None) if is_hurried else (self.job_kind.slots_per_shop, self.shares())

    @property
    def room(self) -> int:
        """The number of further rows that may be claimed."""
        return 2 * self.job_kind.slots - self.by_shop.total()

    def add(self, claimed: Claimed) -> None:
        """Queue a claimed row for a slot."""
        self.by_shop[claimed.row.shop_id] += 1
        self.ready.append(claimed)

    def remove(self, shop_id: str) -> None:
        """Remove a finished job of the shop, so that its next one can be claimed."""
        self.by_shop[shop_id] -= 1
        if not self.by_shop[shop_id]:
            del self.by_shop[shop_id]
