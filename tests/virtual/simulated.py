"""The real delivery engine in a world of chance: an event loop whose time jumps to the next thing that is planned, a
database that is written without threads, shops that answer as they like, workers that die.

Nothing here waits or runs beside anything else, so a seed makes the same world again.
"""

import asyncio
import random
import selectors
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.due import DueKind, DueRow, find_earliest_by_kind
from kalathi.marketplace.kernel.storage.changes import ChangeSet, NewJob, News, StorageError
from kalathi.marketplace.kernel.storage.database import Query, T
from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase
from kalathi.marketplace.kernel.storage.sqlite_writing import begin_group
from kalathi.marketplace.shops import commands as shop_commands
from kalathi.marketplace.shops.model import NewLocation, NewShop
from kalathi.marketplace.webhooks.answer import NO_HEADERS, Answer, SendError
from kalathi.marketplace.webhooks.dispatcher import Dispatcher
from kalathi.marketplace.webhooks.retry import RetrySchedule
from kalathi.marketplace.webhooks.store import announce
from kalathi.marketplace.worker.job_kinds import JobKind
from kalathi.marketplace.worker.running import Worker

START_MILLIS: Final = 1_800_000_000_000
SLOTS: Final = 200
SLOTS_PER_SHOP: Final = 4
# A lost lease ends after twenty seconds.
_LEASE_SECONDS: Final = 20.0


class _Jumping(selectors.SelectSelector):
    """Never waits: time jumps to the end of the wait."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("Nothing is planned any more, and yet somebody waits")
        self.loop.seconds += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time starts at 0 and moves only when all tasks wait."""

    def __init__(self) -> None:
        self.seconds = 0.0
        selector = _Jumping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds."""
        return self.seconds

    def millis(self) -> int:
        """Virtual time as the marketplace counts it."""
        return START_MILLIS + int(self.seconds * 1000)


class SimulatedDatabase(SqliteDatabase):
    """Writes take virtual time and now and then fail; several workers share it, as processes share PostgreSQL."""

    is_shared = True

    def __init__(self, path: Path, chance: random.Random, failures: float) -> None:
        super().__init__(path)
        self._chance = chance
        self._failures = failures
        self._writes_one_by_one = asyncio.Lock()

    async def commit_each(self, sets: Sequence[ChangeSet]) -> list[Exception | None]:
        async with self._writes_one_by_one:
            await asyncio.sleep(self._chance.uniform(0.0002, 0.004))
            self._stumble()
            self._end_snapshot()
            outcomes = begin_group(self._writing, sets)()
        tables: set[str] = set()
        jobs: list[NewJob] = []
        for changes, refusal in zip(sets, outcomes, strict=True):
            if not refusal:
                changes.add_news(tables, jobs, [])
        self._notify(News(tables, jobs))
        return outcomes

    async def read_ahead(self, query: Query[T], *, is_small: bool = False) -> T:
        await asyncio.sleep(0.0001)
        self._stumble()
        return await super().read_ahead(query, is_small=is_small)

    def _stumble(self) -> None:
        if self._chance.random() < self._failures:
            raise StorageError("disk I/O error")


class Manner(StrEnum):
    """How a shop's endpoint behaves."""

    HEALTHY = "healthy"
    SLOW = "slow"
    DEAD = "dead"
    REFUSING = "refusing"
    FLAKY = "flaky"
    # Its answers may take longer than a lease lasts, so that two workers send the same.
    STUCK = "stuck"


class Event(NamedTuple):
    """What names an event."""

    shop_id: str
    subject: str
    sequence: int

    def body(self) -> bytes:
        """Its bytes, the same at each attempt."""
        return f'{{"order":"{self.subject}","sequence":{self.sequence},"shop":"{self.shop_id}"}}'.encode()


class Seen:
    """What the network has seen of an event."""

    __slots__ = ("ended", "is_answered", "told_at")

    def __init__(self, told_at: float) -> None:
        self.told_at = told_at
        self.ended = 0
        self.is_answered = False


class World:
    """Shops, their endpoints, and the workers of one marketplace."""

    def __init__(self, folder: Path, seed: int, *, failures: float = 0.0) -> None:
        self.chance = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        assert isinstance(self.loop, VirtualLoop)
        self.millis = self.loop.millis
        self.database = SimulatedDatabase(folder / "simulated.db", self.chance, failures)
        self.manners: dict[str, Manner] = {}
        self.seen: dict[Event, Seen] = {}
        self.in_flight: Counter[tuple[int, str]] = Counter()
        self.latencies: defaultdict[Manner, list[float]] = defaultdict(list)
        self.sends = self.crashes = 0
        self.broken: list[tuple[Event, str]] = []
        self.workers: list[_Process] = []
        self._subjects = 0

    async def open_shops(self, manners: Mapping[Manner, int]) -> None:
        """So many shops of each manner, in an order of chance."""
        kinds = [manner for manner, count in manners.items() for _ in range(count)]
        self.chance.shuffle(kinds)
        for number, manner in enumerate(kinds):
            location = NewLocation(street_name="Ερμού")
            new = NewShop(name="S", domain="s", webhook_url=f"http://shop{number}/", locations=(location,))
            changes, shop = shop_commands.add_shop(new, [f"shop{number:04}", f"l{number}"], f"token{number}")
            while await self._refused(changes):
                pass
            self.manners[shop.id] = manner

    async def _refused(self, changes: ChangeSet) -> bool:
        try:
            await self.database.commit(changes)
        except StorageError:
            return True
        return False

    async def tell(self, shop_id: str) -> int:
        """An order of this shop gets one to three events, one after the other or all at once."""
        self._subjects += 1
        subject = f"o{self._subjects}"
        count = self.chance.choice((1, 1, 2, 3))
        at_once = self.chance.random() < 0.5
        for sequence in range(1, count + 1):
            event = Event(shop_id, subject, sequence)
            rows = announce(
                shop_id,
                subject,
                sequence,
                event_type="order_updated",
                body=event.body(),
                at_millis=self.millis(),
                has_url=True,
            )
            while await self._refused(ChangeSet(*rows)):
                pass
            self.seen[event] = Seen(self.loop.time())
            if not at_once:
                await asyncio.sleep(self.chance.random())
        return count

    def start_worker(self, skew_millis: int = 0) -> None:
        """One more process, whose real time is off by so much."""
        self.workers.append(_Process(self, skew_millis))

    async def leave_one(self) -> None:
        """One ends as SIGTERM ends it."""
        await self.workers.pop(self.chance.randrange(len(self.workers))).stop()

    async def crash_one(self) -> None:
        """One dies at whatever it is doing, and another one starts."""
        self.crashes += 1
        await self.workers.pop(self.chance.randrange(len(self.workers))).crash()
        self.start_worker()

    async def settle(self) -> None:
        """Until nothing is due any more, retries included."""
        while DueKind.DELIVERY in await self.database.read_point(find_earliest_by_kind):
            await asyncio.sleep(10)  # Of the simulation's time.

    async def stop(self) -> None:
        """Ends the workers as SIGTERM does."""
        for process in self.workers:
            await process.stop()
        await self.database.close()


class _Process:
    """A worker with its own way to the network."""

    def __init__(self, world: World, skew_millis: int) -> None:
        self._world = world
        clock = BusinessClock(0, world.millis)
        dispatcher = Dispatcher(world.database, clock, self, RetrySchedule("0,1,5,19"))
        job_kind = JobKind(
            DueKind.DELIVERY,
            dispatcher.deliver,
            SLOTS,
            SLOTS_PER_SHOP,
            record=dispatcher.record,
            prepare=dispatcher.prepare,
            weigh=dispatcher.weigh,
        )
        self._worker = Worker(
            world.database,
            clock,
            [job_kind],
            real=lambda: world.millis() + skew_millis,
            name=f"{world.chance.getrandbits(60):x}",
        )
        self._running = asyncio.create_task(self._worker.run())
        self._is_dead = False

    async def stop(self) -> None:
        self._worker.end()
        await self._running
        await self._worker.drain()

    async def crash(self) -> None:
        """What it was doing stops in the middle: what it has sent is sent, what it has not written is lost."""
        self._is_dead = True
        # A task in wait_for may swallow its cancellation, so it is cancelled twice.
        self._worker.end()
        tasks = [self._running, *self._worker._list_unfinished()]
        tasks += [self._worker._owning] if self._worker._owning is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def prepare_body(self, row: DueRow, event_type: str, body: bytes) -> bytes:
        return body

    async def send(
        self, row: DueRow, event_type: str, url: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> Answer:
        """The transport: what the shop makes of it, and what must be true of each attempt."""
        world = self._world
        event = Event(row.shop_id, row.subject, row.sequence)
        seen = world.seen[event]
        pool = (id(self), row.shop_id)
        world.in_flight[pool] += 1
        before = [Event(row.shop_id, row.subject, sequence) for sequence in range(1, row.sequence)]
        rules = {
            "the dead do not send": not self._is_dead,
            "the same bytes at each attempt": body == event.body(),
            "an order's events go out in order": all(world.seen[earlier].ended for earlier in before),
            "a shop has so many slots": world.in_flight[pool] <= SLOTS_PER_SHOP,
        }
        # The engine takes whatever is raised here for the endpoint's fault.
        world.broken += [(event, rule) for rule, holds in rules.items() if not holds]
        world.sends += 1
        seconds, answer = _answered(world.manners[row.shop_id], world.chance, url)
        try:
            await asyncio.sleep(seconds)
        finally:
            world.in_flight[pool] -= 1
        seen.ended += 1
        if answer.delivered:
            if not seen.is_answered:
                world.latencies[world.manners[row.shop_id]].append(world.loop.time() - seen.told_at)
            seen.is_answered = True
        return answer


def _answered(manner: Manner, chance: random.Random, url: str) -> tuple[float, Answer]:
    """How long it takes, and how it ends."""
    match manner:
        case Manner.HEALTHY:
            return chance.uniform(0.005, 0.05), _status(url, 200)
        case Manner.SLOW:
            return chance.uniform(2.0, 9.9), _status(url, 200)
        case Manner.DEAD:
            return 10.0, Answer(url, None, SendError.TIMEOUT, b"", 10_000)
        case Manner.REFUSING:
            return 0.001, Answer(url, None, SendError.CONNECTION, b"", 1)
        case Manner.FLAKY:
            status = chance.choice((200, 200, 500, 503, 404, 201))
            return chance.uniform(0.01, 1.0), _status(url, status, wait=chance.choice((0.0, 90.0, 7200.0)))
        case Manner.STUCK:
            return chance.choice((0.1, _LEASE_SECONDS + 5.0)), _status(url, 200)


def _status(url: str, status: int, wait: float = 0.0) -> Answer:
    return Answer(url, status, SendError.NONE, b"ok", 1, retry_after_seconds=0.0 if status == 200 else wait)


def run_in_virtual_time(main: Any) -> Any:
    """Runs the coroutine on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
