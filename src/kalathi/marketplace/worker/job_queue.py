"""The jobs of one kind that a worker has read, and the rules by which the shops share the slots.

A slow or dead endpoint must never delay another shop. So the shops take turns, and none has more jobs running than it
has slots.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from kalathi.marketplace.kernel.due import DueKind, DueRow, Found, JobName
from kalathi.marketplace.worker.job_kinds import Job, JobKind

# A job that ends faster than this is quick. The most quick shops that are remembered.
_QUICK_SECONDS: Final = 1.0
_MOST_KNOWN: Final = 100_000
# The jobs that are read for one quick shop beyond those that run, and for all shops, by the number of slots.
_AHEAD_OF_A_SHOP: Final = 16
_AHEAD: Final = 5


class JobQueue:
    """The jobs of one kind: those that wait for a slot, those that run, and the names of all that are not to be read
    again yet."""

    def __init__(self, job_kind: JobKind) -> None:
        self.job_kind = job_kind
        # Waiting, running, and ended without a written result.
        self.held: dict[str, set[JobName]] = {}
        self.running: Counter[str] = Counter()
        self.slots_taken = 0
        self.waiting_jobs = 0
        # The number of jobs that have ended.
        self.ended = 0
        self._few = _AHEAD * job_kind.slots
        # The shops that may have further due rows, in the order in which they are read, with the number of rows that
        # are known to be new.
        self.more: dict[str, int] = {}
        # The shops of which an event may wait for a job that is held.
        self._blocked: set[str] = set()
        # The shops whose last job was quick, and those whose last job was slow.
        self._quick: set[str] = set()
        self._slow: set[str] = set()
        self._waiting: dict[str, deque[Job]] = {}
        # The shops that may have a job to start, and the slow ones that wait for their turn.
        self._turns: deque[str] = deque()
        self._has_turn: set[str] = set()
        self._parked: deque[str] = deque()

    @property
    def may_start(self) -> bool:
        """Whether a further job may be able to start."""
        return bool(self._turns) and self.slots_taken < self.job_kind.slots

    @property
    def room(self) -> int:
        """The number of further jobs to read; 0 while enough are waiting. One read of many rows costs less than many
        reads of few, so it begins late: when few more jobs wait than will probably start during the read."""
        most = _AHEAD * self.job_kind.slots
        return most - self.waiting_jobs if self.waiting_jobs <= min(self._few, most // 2) else 0

    def note_jobs(self, shop_id: str) -> None:
        """Note a new due row of a shop."""
        self.more[shop_id] = self.more.get(shop_id, 0) + 1

    def take_more(self) -> dict[str, int]:
        """Return the shops to read, with the number of their new rows, and forget them."""
        more, self.more = self.more, {}
        return more

    def note_read(self, found: Found, noted: Mapping[str, int], held: Collection[str], ended_before: int) -> None:
        """Record the result of a read. At its beginning, these new rows were `noted`, jobs of these shops were `held`,
        and so many jobs had `ended_before`.

        Further events of a shop may wait for the first attempt at an event that we hold, or have just read. So the shop
        is read again after the attempt.
        """
        for shop_id in found.more:
            self.more.setdefault(shop_id, 0)
        rows = Counter(row.shop_id for row in found.rows)
        for shop_id in found.shops:
            if shop_id in held or rows[shop_id] != noted.get(shop_id, 0):
                if shop_id in self.held or rows[shop_id]:
                    self._blocked.add(shop_id)
                else:
                    self.more.setdefault(shop_id, 0)  # The attempt has ended during the read.
        self._few = (self.ended - ended_before) * 3 // 2 + self.job_kind.slots // 4

    def most_to_read(self, shop_id: str, *, is_hurried: bool) -> int:
        """Return the most further jobs to read for a shop."""
        if is_hurried:
            ahead = self.job_kind.slots
        elif self._is_quick(shop_id):
            ahead = self.job_kind.slots_per_shop * _AHEAD_OF_A_SHOP
        else:
            ahead = 1
        return ahead - len(self._waiting.get(shop_id, ()))

    def add(self, jobs: Iterable[Job]) -> None:
        """Queue jobs that were read."""
        for job in jobs:
            row = job.row
            self.held.setdefault(row.shop_id, set()).add((row.subject, row.sequence))
            self._waiting.setdefault(row.shop_id, deque()).append(job)
            self.waiting_jobs += 1
            self._give_turn(row.shop_id)

    def start(self, *, is_hurried: bool) -> Job | None:
        """Return the next job that may start, and take a slot for it; None if there is none.

        For deliveries, a shop has one slot until one of its jobs has ended quickly, so that dead endpoints cannot use
        all slots. All shops whose last job was slow share a quarter of the slots. A move of the clock (`is_hurried`)
        waits for all due jobs, so a shop may then use all slots: a slow shop must not run its jobs one by one.
        """
        if self.slots_taken >= self.job_kind.slots:
            return None
        if is_hurried:
            for shop_id in self._waiting:
                self._give_turn(shop_id)
        while self._turns:
            shop_id = self._turns.popleft()
            self._has_turn.discard(shop_id)
            waiting = self._waiting.get(shop_id)
            if not waiting or not (is_hurried or self._has_slot(shop_id)):
                continue
            job = waiting.popleft()
            self._forget_waiting(shop_id, 1)
            self.running[shop_id] += 1
            self.slots_taken += 1
            if waiting:
                self._give_turn(shop_id)
            return job
        return None

    def end(self, row: DueRow, seconds: float) -> None:
        """Free the slot of a job that took so many seconds. Its row stays held."""
        shop_id = row.shop_id
        self.ended += 1
        if seconds < _QUICK_SECONDS:
            self._slow.discard(shop_id)
            if len(self._quick) >= _MOST_KNOWN:
                self._quick.clear()
            self._quick.add(shop_id)
        else:
            self._quick.discard(shop_id)
            self._slow.add(shop_id)
        self._free_slot(shop_id)

    def give_back(self, row: DueRow) -> None:
        """Free the slot of a job that did not take place, and read its row again."""
        self._free_slot(row.shop_id)
        self.let_go(row)
        self.more.setdefault(row.shop_id, 0)

    def _free_slot(self, shop_id: str) -> None:
        self.slots_taken -= 1
        self.running[shop_id] -= 1
        if not self.running[shop_id]:
            del self.running[shop_id]
        # A parked shop comes first: else the same slow shops would start again and again.
        if self._parked:
            self._give_turn(self._parked.popleft())
        if shop_id in self._waiting:
            self._give_turn(shop_id)

    def let_go(self, row: DueRow) -> None:
        """Allow a row to be read again: its result is written, or its job did not take place. The shop is read again if
        another event may have waited for this one."""
        if row.shop_id in self._blocked:
            self._blocked.discard(row.shop_id)
            self.more.setdefault(row.shop_id, 0)
        names = self.held[row.shop_id]
        names.discard((row.subject, row.sequence))
        if not names:
            del self.held[row.shop_id]

    def drop_waiting(self, shop_ids: Iterable[str]) -> list[Job]:
        """Remove the waiting jobs of these shops. Their rows can be read again."""
        dropped: list[Job] = []
        for shop_id in shop_ids:
            waiting = self._waiting.get(shop_id, ())
            dropped += waiting
            if waiting:
                self._forget_waiting(shop_id, len(waiting), is_all=True)
        for job in dropped:
            self.let_go(job.row)
        return dropped

    def waiting_shops(self) -> list[str]:
        """Return the shops with waiting jobs."""
        return list(self._waiting)

    def _is_quick(self, shop_id: str) -> bool:
        return shop_id in self._quick or self.job_kind.kind is not DueKind.DELIVERY

    def _forget_waiting(self, shop_id: str, count: int, *, is_all: bool = False) -> None:
        self.waiting_jobs -= count
        if is_all or not self._waiting[shop_id]:
            del self._waiting[shop_id]

    def _give_turn(self, shop_id: str) -> None:
        if shop_id not in self._has_turn:
            self._has_turn.add(shop_id)
            self._turns.append(shop_id)

    def _has_slot(self, shop_id: str) -> bool:
        """Whether the shop may start a further job. A slow shop that may not only because of the others is parked."""
        running = self.running.get(shop_id, 0)
        if self._is_quick(shop_id):
            return running < self.job_kind.slots_per_shop
        if running:
            return False
        if shop_id in self._slow:
            of_slow = sum(self.running[slow] for slow in self._slow & self.running.keys())
            if of_slow >= max(1, self.job_kind.slots // 4):
                self._parked.append(shop_id)
                return False
        return True
