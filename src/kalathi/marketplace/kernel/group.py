"""The group commit (DESIGN, decision 4): one thread writes, all sets that wait share one transaction.

No caller is answered before COMMIT has returned, and that means: on disk. How a group is written is the database's own
affair, `sqlite_writing.py` and `postgres_writing.py`.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kalathi.marketplace.kernel.changes import ChangeSet

# Enough to take every caller that can wait at once; a bound only so that one transaction stays short.
_LARGEST_GROUP = 512


class _Waiting(NamedTuple):
    changes: ChangeSet
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[None]


class GroupWriter:
    """Takes change sets from event loops, writes them in groups on its own thread, answers when they are on disk."""

    def __init__(
        self,
        write: Callable[[Sequence[ChangeSet]], list[Exception | None]],
        *,
        written: Callable[[set[str]], None],
        answered: Callable[[int], None],
        measured: Callable[[int, float], None],
    ) -> None:
        """`write` writes a group in one transaction and tells of each set: None when it is on disk, else why not. It is
        called on the writer's thread, and so is `written` after each group, with the tables that got new rows.
        `answered` is called on the callers' event loop with the number of sets, right before they hear, also of callers
        that have gone. `measured` hears of each group's size and seconds, on the writer's thread."""
        self._write = write
        self._written = written
        self._answered = answered
        self._measured = measured
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="kalathi-writer", daemon=True)
        self.closed = False
        self._thread.start()

    async def commit(self, changes: ChangeSet) -> None:
        """Returns when the set is on disk. Raises ConditionFailedError or StorageError; then nothing was written."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        self._waiting.put(_Waiting(changes, loop, answer))
        await answer

    def waiting(self) -> int:
        """How many sets wait for their turn."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Writes what still waits, then ends the thread."""
        self.closed = True
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group = [first]
            ends = False
            with contextlib.suppress(queue.Empty):
                while len(group) < _LARGEST_GROUP:
                    following = self._waiting.get_nowait()
                    if following is None:
                        ends = True
                        break
                    group.append(following)
            started = time.perf_counter()
            outcomes = self._write([waiting.changes for waiting in group])
            self._measured(len(group), time.perf_counter() - started)
            self._answer(group, outcomes)
            if ends:
                return

    def _answer(self, group: list[_Waiting], outcomes: list[Exception | None]) -> None:
        tables: set[str] = set()
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], Exception | None]]] = {}
        for waiting, outcome in zip(group, outcomes, strict=True):
            by_loop.setdefault(waiting.loop, []).append((waiting.answer, outcome))
            if outcome is None:
                tables |= waiting.changes.tables()
        for loop, answers in by_loop.items():
            # One wake-up a group: each costs a system call. A loop that has ended takes no more answers.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._resolve, answers)
        self._written(tables)

    def _resolve(self, answers: list[tuple[asyncio.Future[None], Exception | None]]) -> None:
        self._answered(len(answers))
        for answer, outcome in answers:
            if answer.done():
                continue  # The caller has gone; what it asked for is written all the same.
            if outcome is None:
                answer.set_result(None)
            else:
                answer.set_exception(outcome)
