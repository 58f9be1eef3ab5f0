"""Write the results of jobs together: those that arrive during a write are written by the next one
(docs/decisions/0041)."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, NamedTuple

import structlog

from kalathi.marketplace.kernel.due import DueRow
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, Holds, StorageError
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.worker.job_queue import JobQueue

_log = structlog.get_logger("kalathi.worker")

# The pauses between attempts to write results. The last one is repeated for as long as the database cannot write.
_PAUSES_SECONDS: Final = (0.1, 0.5, 1.0, 2.0)

Fence = Callable[[Collection[str]], list[Holds]]


class Result(NamedTuple):
    """The result of a job, which is not written yet."""

    queue: JobQueue
    row: DueRow
    result: Any


class Callbacks(NamedTuple):
    """The worker's side of a recorder. `fence` returns the conditions under which results for these shops may be
    written. `settled` is called for each result that was written; `outdated` for each that was refused because the row
    or its shard has changed; `put_off` for a result that the database will never accept; `resumed` when a place can be
    written again."""

    fence: Fence
    settled: Callable[[Result], None]
    outdated: Callable[[Result], None]
    put_off: Callable[[Result], Awaitable[None]]
    resumed: Callable[[], None]


class Recorder:
    """Writes results in the background, those of each place of the database by themselves
    (`Database.place_of`)."""

    def __init__(self, database: Database, callbacks: Callbacks) -> None:
        self._database = database
        self._callbacks = callbacks
        self._places: dict[str, _PlaceRecorder] = {}

    def add(self, result: Result) -> None:
        """Queue a result."""
        place = self._database.place_of(result.row.shop_id)
        recorder = self._places.get(place)
        if recorder is None:
            recorder = self._places[place] = _PlaceRecorder(self._database, self._callbacks)
        recorder.add(result)

    def is_stuck(self, shop_id: str) -> bool:
        """Whether the last write of results at the shop's place has failed, so that results are piling up."""
        recorder = self._places.get(self._database.place_of(shop_id))
        return recorder is not None and recorder.is_stuck

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The running writes."""
        return {recorder.task for recorder in self._places.values() if recorder.task is not None}

    @property
    def unwritten(self) -> int:
        """The number of results that wait for a place that is not stuck. A stuck place gets no further ones."""
        return sum(recorder.unwritten for recorder in self._places.values() if not recorder.is_stuck)


class _PlaceRecorder:
    """The results of one place. A result that the database cannot write now is kept, so that no job is run again only
    because the disk is full."""

    def __init__(self, database: Database, callbacks: Callbacks) -> None:
        self._database = database
        self._callbacks = callbacks
        self._results: list[Result] = []
        self._being_written: list[Result] = []
        self._writing: asyncio.Task[None] | None = None
        self.is_stuck = False

    def add(self, result: Result) -> None:
        """Queue a result."""
        self._results.append(result)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The running write; None if every result is written."""
        return self._writing

    @property
    def unwritten(self) -> int:
        """The number of results that are not written yet."""
        return len(self._being_written) + len(self._results)

    async def _write_all(self) -> None:
        try:
            while self._results:
                self._being_written, self._results = self._results, []
                failures = 0
                while self._being_written:
                    await self._write_once()
                    if self._being_written:
                        self.is_stuck = True
                        await asyncio.sleep(_PAUSES_SECONDS[min(failures, len(_PAUSES_SECONDS) - 1)])
                        failures += 1
                if self.is_stuck:
                    self.is_stuck = False
                    self._callbacks.resumed()
        finally:
            self._writing = None

    async def _write_once(self) -> None:
        """Write the results in one change set; if the database refuses it, write each result on its own. Keep those
        that it cannot write now."""
        results = self._being_written
        refusals = await self._try_to_write([results])
        if refusals == [None]:
            refusals = [None] * len(results)
        else:
            refusals = await self._try_to_write([[result] for result in results])
        kept = []
        for result, refusal in zip(results, refusals, strict=True):
            if isinstance(refusal, StorageError):
                kept.append(result)
            elif refusal is None:
                self._callbacks.settled(result)
            elif isinstance(refusal, ConditionFailedError):
                log_outdated(result.row)
                self._callbacks.outdated(result)
            else:
                # Repeated at once, the job would be repeated for ever.
                _log.error("outcome_refused", kind=result.row.kind, subject=result.row.subject, error=str(refusal))
                await self._callbacks.put_off(result)
        if kept and not self.is_stuck:
            _log.error("outcomes_not_written", count=len(kept), error=str(next(filter(None, refusals))))
        self._being_written = kept

    async def _try_to_write(self, groups: list[list[Result]]) -> list[Exception | None]:
        try:
            return await self._database.commit_each([self._changes(group) for group in groups])
        except StorageError as error:
            return [error] * len(groups)

    def _changes(self, results: list[Result]) -> ChangeSet:
        """Return one change set: the conditions of ownership, and the records of ended jobs by kind."""
        changes = ChangeSet(*self._callbacks.fence({result.row.shop_id for result in results}))
        for queue in {id(result.queue): result.queue for result in results}.values():
            record = queue.job_kind.record
            if record is not None:
                changes.extend([record([result.result for result in results if result.queue is queue])])
        return changes


def log_outdated(row: DueRow) -> None:
    """Log that a job's outcome was not written, because its row or the owner of its shard has changed. The refused
    write does not say which of the two."""
    _log.warning("outcome_outdated", kind=row.kind, shop_id=row.shop_id, subject=row.subject)
