"""The kinds of jobs that a worker runs, each with a pool of slots that is shared out among the shops."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from kalathi.marketplace.kernel.due import Beside, DueKind, DueRow
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Row, View

# An endpoint that answers within this is a healthy one; how many of them are remembered.
_QUICK_SECONDS: Final = 1.0
_MOST_KNOWN: Final = 100_000


class JobKind(NamedTuple):
    """One kind of job: its handler, and how many jobs run at once, in all and for one shop.

    The handler commits its own outcome together with the end of the row. Or it returns a result, and `record` turns the
    results of many rows into one change set when their slots are free again: a delivery needs its slot while the
    endpoint answers, not while the disk writes. If the change set cannot be written, the leases end and the jobs are
    repeated. If the handler raises any other error, the row is put off.

    `prepare` runs once for all claimed rows and the columns read `beside` them; the handler gets its part with its row.
    `weigh` returns how many bytes of memory that part holds.
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
    """A claimed row, its prepared part and how many bytes that holds, and the time of the claim."""

    __slots__ = ("claimed_at", "prepared", "row", "weight")

    def __init__(self, row: DueRow, prepared: Any, weight: int, claimed_at: float) -> None:
        self.row = row
        self.prepared = prepared
        self.weight = weight
        self.claimed_at = claimed_at


class WorkerPool:
    """The claimed jobs of one kind: how many each shop has, which ones wait for a slot, and how many slots are
    taken."""

    def __init__(self, job_kind: JobKind) -> None:
        self.job_kind = job_kind
        self.by_shop: Counter[str] = Counter()
        self.ready: deque[Claimed] = deque()
        self.slots_taken = 0
        # Shops by the duration of their last job: quick ones, and slow ones.
        self.quick: set[str] = set()
        self.slow: set[str] = set()

    def note_duration(self, shop_id: str, seconds: float) -> None:
        """How long the shop's work took."""
        if seconds < _QUICK_SECONDS:
            self.slow.discard(shop_id)
            if len(self.quick) >= _MOST_KNOWN:
                self.quick.clear()
            self.quick.add(shop_id)
        else:
            self.quick.discard(shop_id)
            self.slow.add(shop_id)

    def shares(self) -> Callable[[str], int]:
        """How many slots a shop may have, for one claim: one until its work has ended quickly, so that dead endpoints
        cannot take all; and those that were slow the last time have a quarter of the slots together."""
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
        """How many slots a shop may have at most, and `shares` if some shops may have less, for one claim. A move of
        the clock (`is_hurried`) waits for all due work, so that a slow shop must not do it one by one."""
        return (self.job_kind.slots, None) if is_hurried else (self.job_kind.slots_per_shop, self.shares())

    @property
    def room(self) -> int:
        """How many more may be claimed."""
        return 2 * self.job_kind.slots - self.by_shop.total()

    def add(self, claimed: Claimed) -> None:
        """Its turn comes."""
        self.by_shop[claimed.row.shop_id] += 1
        self.ready.append(claimed)

    def remove(self, shop_id: str) -> None:
        """The shop may have another one."""
        self.by_shop[shop_id] -= 1
        if not self.by_shop[shop_id]:
            del self.by_shop[shop_id]
