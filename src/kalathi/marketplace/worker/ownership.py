"""Take shards, keep them, and hand them over (docs/decisions/0056): the side with I/O of kernel/shards.py."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Collection
from typing import Final

import structlog

from kalathi.marketplace.kernel.shards import (
    LEASE_MILLIS,
    RENEW_SECONDS,
    fence,
    give_up,
    leave,
    load_ownerships,
    plan_step,
    renew,
    shard_of,
    take,
)
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Holds, StorageError
from kalathi.marketplace.kernel.storage.database import Database

_log = structlog.get_logger("kalathi.worker")

# Every commit of another process may wake us, so a pause follows each step. It also limits how long a shard that was
# handed over waits for its new owner.
_SHORTEST_PAUSE_SECONDS: Final = 0.1
# A shard that we give up is free after its running jobs, and at the latest after this time.
_GIVE_UP_SECONDS: Final = 5.0


class Ownership:
    """The shards of one worker."""

    def __init__(
        self, database: Database, real: Callable[[], int], changed: Callable[[], None], name: str = ""
    ) -> None:
        """`real` returns real time in milliseconds since 1970. `changed` is called when we have other shards than
        before. `name` is unique among the workers of the database; by default it is random."""
        self._database = database
        self._real = real
        self._changed = changed
        self._name = name or secrets.token_hex(8)
        self._tokens: dict[int, int] = {}
        # The shards that we give up, and the event loop's time at which we do so at the latest.
        self._leaving: dict[int, float] = {}
        self._lease_ends_at = self._renew_at = 0
        self._news = asyncio.Event()
        self._is_ending = False
        # Returns the shards with jobs that run or whose results are not written; set by the worker.
        self.busy: Callable[[], Collection[int]] = set

    def owns(self, shop_id: str) -> bool:
        """Whether we may read and start jobs of a shop."""
        shard = shard_of(shop_id)
        return shard in self._tokens and shard not in self._leaving and self._real() < self._lease_ends_at

    def fence(self, shop_ids: Collection[str]) -> list[Holds]:
        """Return the conditions under which results for these shops may be written."""
        return fence(shop_ids, self._tokens)

    async def run(self) -> None:
        """Take and keep our share of the shards until `end` is called."""
        for table in ("shards", "workers"):
            self._database.subscribe(table, self._news.set)
        try:
            while not self._is_ending:
                self._news.clear()
                try:
                    await self._take_step()
                except StorageError as error:
                    _log.warning("ownership_not_renewed", error=str(error))
                await self._rest()
        finally:
            for table in ("shards", "workers"):
                self._database.unsubscribe(table, self._news.set)

    def end(self) -> None:
        """Take no more shards, so that `run` returns."""
        self._is_ending = True
        self._news.set()

    def jobs_ended(self) -> None:
        """Note that a shard which we give up may have no more running jobs."""
        if self._leaving:
            self._news.set()

    async def hand_over(self, *, only_idle: bool = False) -> None:
        """Make our shards free for other workers: all, or first those without running jobs. Call it after `run` has
        returned."""
        busy = set(self.busy()) if only_idle else set()
        freed = {shard: token for shard, token in self._tokens.items() if shard not in busy}
        parts = [give_up(shard, token) for shard, token in freed.items()]
        if not only_idle:
            parts.append(leave(self._name))
        for shard in freed:
            del self._tokens[shard]
        # Without the database, the lease ends by itself.
        with contextlib.suppress(StorageError):
            if parts:
                await self._database.commit(ChangeSet(*parts))
                self._database.announce("shards")

    async def _rest(self) -> None:
        await asyncio.sleep(_SHORTEST_PAUSE_SECONDS)
        seconds = RENEW_SECONDS
        if self._leaving:
            seconds = max(min(self._leaving.values()) - asyncio.get_running_loop().time(), 0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), min(seconds, RENEW_SECONDS))

    async def _take_step(self) -> None:
        now = self._real()
        state = await self._database.read(load_ownerships)
        before = set(self._tokens)
        # The tables decide: others may have taken shards over, because they saw our lease end.
        self._tokens = {shard: owner.token for shard, owner in state.owners.items() if owner.worker == self._name}
        step = plan_step(state, self._name, now)
        self._choose_leaving(step.gives_up)
        given_up = self._list_given_up()
        frees = ChangeSet(*(give_up(shard, self._tokens.pop(shard)) for shard in given_up))
        frees.add(*(leave(name) for name in step.forgets))
        renews = renew(state, self._name, now) if now >= self._renew_at else ChangeSet()
        takes = [(shard, *take(state, shard, self._name)) for shard in step.takes]
        sets = [changes for changes in (renews, frees) if not changes.is_empty]
        outcomes = await self._database.commit_each([*sets, *(changes for _, changes, _ in takes)])
        if not renews.is_empty and outcomes[0] is None:
            self._lease_ends_at = now + LEASE_MILLIS
            self._renew_at = now + int(RENEW_SECONDS * 1000)
        for (shard, _, token), refusal in zip(takes, outcomes[len(sets) :], strict=True):
            if refusal is None:
                self._tokens[shard] = token
        if given_up:
            self._database.announce("shards")
        if set(self._tokens) != before:
            _log.info("shards_owned", count=len(self._tokens))
            self._changed()

    def _choose_leaving(self, shards: Collection[int]) -> None:
        """Start to give up these shards, and keep those that we no longer need to give up."""
        gives_up_at = asyncio.get_running_loop().time() + _GIVE_UP_SECONDS
        self._leaving = {shard: self._leaving.get(shard, gives_up_at) for shard in shards if shard in self._tokens}
        if self._leaving:
            self._changed()  # Their waiting jobs must not start.

    def _list_given_up(self) -> list[int]:
        if not self._leaving:
            return []
        now, busy = asyncio.get_running_loop().time(), self.busy()
        given_up = [shard for shard, at in self._leaving.items() if shard not in busy or at <= now]
        for shard in given_up:
            del self._leaving[shard]
        return given_up
