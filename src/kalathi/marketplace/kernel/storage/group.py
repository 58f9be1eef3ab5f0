"""The group commit (docs/decisions/0004): all waiting sets share one transaction, and no caller is answered before it
is on disk.

A group begins on the event loop and ends on the writer's thread, while the next one gathers. The database decides which
part runs where (`sqlite_writing.py`, `postgres_writing.py`): everything that waits for a disk or a server belongs to
the thread; pure computation costs less on the loop, where it need not contend for the interpreter.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast

from kalathi.marketplace.kernel.storage.changes import ChangeSet, NewJob, News

T = TypeVar("T")

# Enough to take every caller that can wait at once; a bound only so that one transaction stays short.
_LARGEST_GROUP: Final = 512

# For each set: None if it was written, else the error.
Outcomes = list[Exception | None]
# The rest of a group, for the writer's thread.
Begun = Callable[[], Outcomes]


class _Waiting(NamedTuple):
    sets: Sequence[ChangeSet]
    answer: asyncio.Future[Outcomes]


class _Group(NamedTuple):
    callers: list[_Waiting]
    size: int
    started: float
    loop: asyncio.AbstractEventLoop


class GroupWriter:
    """Write the change sets of an event loop in groups, one after the other. Callers continue when their sets are on
    disk."""

    def __init__(
        self,
        begin: Callable[[Sequence[ChangeSet]], Begun],
        *,
        written: Callable[[News], None],
        answered: Callable[[int], None],
        measured: Callable[[int, float], None],
    ) -> None:
        """`begin` begins to write a group in one transaction and returns a function for the writer's thread; neither
        raises. Back on the event loop, `answered` is called with the number of callers, right before they continue,
        including cancelled ones; then `written` with the news of the group, and `measured` with its size and its
        duration in seconds."""
        self._begin = begin
        self._written = written
        self._answered = answered
        self._measured = measured
        self._waiting: deque[_Waiting] = deque()
        self._turns: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._begun: queue.SimpleQueue[tuple[_Group, Begun] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._finish_groups, name="kalathi-writer", daemon=True)
        self.closed = False
        self._thread.start()

    async def commit(self, sets: Sequence[ChangeSet]) -> Outcomes:
        """Write the sets, and return when each is on disk or refused. The result has None for a written set, else its
        ConditionFailedError or StorageError; nothing of a refused set was written."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outcomes] = loop.create_future()
        self._waiting.append(_Waiting(sets, answer))
        if self._is_idle.is_set():
            self._is_idle.clear()
            # Begin the group later, so that other callers that commit in this turn of the loop join it.
            loop.call_soon(self._next_group, loop)
        return await answer

    async def turn(self, work: Callable[[], T]) -> T:
        """Run a function on the event loop while no group is being written, and return or raise its outcome."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._turns.append((work, answer))
        if self._is_idle.is_set():
            self._is_idle.clear()
            loop.call_soon(self._next_group, loop)
        return cast(T, await answer)

    def waiting(self) -> int:
        """Return the number of waiting callers."""
        return len(self._waiting) + len(self._turns)

    async def close(self) -> None:
        """Write all waiting sets, then end the thread."""
        self.closed = True
        await self._is_idle.wait()
        self._begun.put(None)
        self._thread.join()

    def _next_group(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._turns:
            work, answer = self._turns.popleft()
            try:
                done = work()
            except Exception as error:  # noqa: BLE001  (the caller gets it)
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(done)
        callers: list[_Waiting] = []
        size = 0
        while self._waiting and size < _LARGEST_GROUP:
            callers.append(self._waiting.popleft())
            size += len(callers[-1].sets)
        if not callers:
            self._is_idle.set()
            return
        group = _Group(callers, size, time.perf_counter(), loop)
        self._begun.put((group, self._begin([changes for caller in callers for changes in caller.sets])))

    def _finish_groups(self) -> None:
        while (job := self._begun.get()) is not None:
            group, finish = job
            try:
                outcomes = finish()
            except Exception as error:  # noqa: BLE001  (unexpected; without its thread the writer would never answer again)
                outcomes = [error] * group.size
            # The loop has ended, so nothing waits for the answer.
            with contextlib.suppress(RuntimeError):
                group.loop.call_soon_threadsafe(self._end, group, outcomes)

    def _end(self, group: _Group, outcomes: Outcomes) -> None:
        self._answered(len(group.callers))
        tables: set[str] = set()
        jobs: list[NewJob] = []
        orders: list[tuple[str, str]] = []
        at = 0
        for caller in group.callers:
            own = outcomes[at : at + len(caller.sets)]
            at += len(caller.sets)
            for changes, outcome in zip(caller.sets, own, strict=True):
                if outcome is None:
                    changes.add_news(tables, jobs, orders)
            if not caller.answer.done():  # Else the caller was cancelled; its set is written all the same.
                caller.answer.set_result(own)
        # The next group begins after the answered callers have had their turn: they may commit again.
        group.loop.call_soon(self._next_group, group.loop)
        self._written(News(tables, jobs, orders))
        self._measured(group.size, time.perf_counter() - group.started)
