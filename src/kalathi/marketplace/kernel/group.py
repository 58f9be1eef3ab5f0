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


Outcomes = list[Exception | None]


class _Waiting(NamedTuple):
    sets: Sequence[ChangeSet]
    durable: bool
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Outcomes]


class GroupWriter:
    """Takes change sets from event loops, writes them in groups on its own thread, answers when they are on disk."""

    def __init__(
        self,
        write: Callable[[Sequence[ChangeSet], bool], Outcomes],
        *,
        written: Callable[[set[str]], None],
        answered: Callable[[int], None],
        measured: Callable[[int, float], None],
    ) -> None:
        """`write` writes a group in one transaction and tells of each set: None when it is on disk, else why not; when
        it is told False, it need not wait for the disk. It is called on the writer's thread, and so is `written` after
        each group, with the tables that got new rows. `answered` is called on the callers' event loop with the number
        of callers, right before they hear, also of those that have gone. `measured` hears of each group's size and
        seconds, on the writer's thread."""
        self._write = write
        self._written = written
        self._answered = answered
        self._measured = measured
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="kalathi-writer", daemon=True)
        self.closed = False
        self._thread.start()

    async def commit(self, sets: Sequence[ChangeSet], *, durable: bool = True) -> Outcomes:
        """Returns when all sets are on disk, or refused: for each None, or ConditionFailedError or StorageError, and
        then nothing of it was written. Sets that need not be durable may be lost in a crash, together or in part."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outcomes] = loop.create_future()
        self._waiting.put(_Waiting(sets, durable, loop, answer))
        return await answer

    def waiting(self) -> int:
        """How many callers wait for their turn."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Writes what still waits, then ends the thread."""
        self.closed = True
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group = [first]
            size = len(first.sets)
            ends = False
            with contextlib.suppress(queue.Empty):
                while size < _LARGEST_GROUP:
                    following = self._waiting.get_nowait()
                    if following is None:
                        ends = True
                        break
                    group.append(following)
                    size += len(following.sets)
            started = time.perf_counter()
            outcomes = self._write([changes for caller in group for changes in caller.sets], _is_durable(group))
            self._measured(size, time.perf_counter() - started)
            self._answer(group, outcomes)
            if ends:
                return

    def _answer(self, group: list[_Waiting], outcomes: Outcomes) -> None:
        tables: set[str] = set()
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Outcomes], Outcomes]]] = {}
        at = 0
        for caller in group:
            own = outcomes[at : at + len(caller.sets)]
            at += len(caller.sets)
            by_loop.setdefault(caller.loop, []).append((caller.answer, own))
            for changes, outcome in zip(caller.sets, own, strict=True):
                if outcome is None and changes.inserts:
                    tables |= changes.tables()
        for loop, answers in by_loop.items():
            # One wake-up a group: each costs a system call. A loop that has ended takes no more answers.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._resolve, answers)
        self._written(tables)

    def _resolve(self, answers: list[tuple[asyncio.Future[Outcomes], Outcomes]]) -> None:
        self._answered(len(answers))
        for answer, outcomes in answers:
            if not answer.done():  # Else the caller has gone; what it asked for is written all the same.
                answer.set_result(outcomes)


def _is_durable(group: list[_Waiting]) -> bool:
    return any(caller.durable for caller in group)
