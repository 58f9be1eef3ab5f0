"""The owners of shops (docs/decisions/0056): each shop belongs to one of a fixed number of shards, each shard to one
worker.

A worker has a row in `workers` with the end of its lease, in real time. Each of its shards has a row in `shards` with a
fencing token, which changes with the owner. The results of a shard's jobs are written only while its token is the same.
A shard without a row, or of a worker whose lease has ended, is free.

These are decisions and change sets without I/O. `worker/ownership.py` carries them out.
"""

import secrets
import zlib
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Holds, Insert, Update
from kalathi.marketplace.kernel.storage.database import View

# Enough to spread evenly over a dozen workers. The number is a part of the data: processes of one database must agree.
SHARDS: Final = 64
# A crashed worker's shards are free after 15 s, and the others look for free shards every 3 s, so its webhooks wait for
# at most 20 s.
LEASE_MILLIS: Final = 15_000
RENEW_SECONDS: Final = 3.0


@lru_cache(maxsize=100_000)
def shard_of(shop_id: str) -> int:
    """Return the shard of a shop."""
    return zlib.crc32(shop_id.encode()) % SHARDS


class Owner(NamedTuple):
    """The worker of a shard, and the token under which it has the shard."""

    worker: str
    token: int


class Ownerships(NamedTuple):
    """The contents of both tables: the end of each worker's lease (milliseconds since 1970), and the owner of each
    shard."""

    leases: Mapping[str, int]
    owners: Mapping[int, Owner]


def load_ownerships(view: View) -> Ownerships:
    """Read both tables."""
    leases = view.all("SELECT worker, expires_at FROM workers", {})
    owners = view.all("SELECT shard, worker, token FROM shards", {})
    return Ownerships(dict(leases), {shard: Owner(worker, token) for shard, worker, token in owners})


class Step(NamedTuple):
    """What a worker does next: the free shards that it takes, the surplus shards that it gives up, and the dead workers
    whose rows it deletes."""

    takes: list[int]
    gives_up: list[int]
    forgets: list[str]


def plan_step(state: Ownerships, worker: str, now_millis: int) -> Step:
    """Return the next step of a worker. Every worker gets an equal share of the shards; if the shards do not divide
    evenly, the first workers by name get one more."""
    live = sorted({worker, *(name for name, until in state.leases.items() if until > now_millis)})
    share, rest = divmod(SHARDS, len(live))
    place = live.index(worker)
    fair = share + (place < rest)
    own = [shard for shard, owner in sorted(state.owners.items()) if owner.worker == worker]
    # Workers that start together begin at different places, so that they seldom take the same shard.
    in_turn = [(place * share + number) % SHARDS for number in range(SHARDS)]
    free = [shard for shard in in_turn if shard not in state.owners or state.owners[shard].worker not in live]
    remaining = {owner.worker for owner in state.owners.values()}
    dead = [name for name in state.leases if name not in live and name not in remaining]
    return Step(free[: max(fair - len(own), 0)], own[fair:], dead)


def renew(state: Ownerships, worker: str, now_millis: int) -> ChangeSet:
    """Return the change set that makes or renews a worker's lease."""
    until = now_millis + LEASE_MILLIS
    if worker in state.leases:
        return ChangeSet(Update("workers", {"worker": worker}, {"expires_at": until}))
    return ChangeSet(Insert("workers", {"worker": worker, "expires_at": until}))


def take(state: Ownerships, shard: int, worker: str) -> tuple[ChangeSet, int]:
    """Return the change set that takes a free shard, and the new token. The set fails if another worker was faster, or
    if the owner before has renewed its lease."""
    token = secrets.randbits(62) + 1
    before = state.owners.get(shard)
    if before is None:
        return ChangeSet(Insert("shards", {"shard": shard, "worker": worker, "token": token})), token
    changes = ChangeSet(
        Update("shards", {"shard": shard}, {"worker": worker, "token": token}, when={"token": before.token})
    )
    if before.worker in state.leases:
        lease = {"expires_at": state.leases[before.worker]}
        changes.add(Holds("workers", {"worker": before.worker}, lease))
    return changes, token


def give_up(shard: int, token: int) -> Delete:
    """Return the deletion that makes a shard free, if we still have it."""
    return Delete("shards", {"shard": shard, "token": token}, touches=None)


def leave(worker: str) -> Delete:
    """Return the deletion of a worker's lease. Its shards are then free."""
    return Delete("workers", {"worker": worker}, touches=None)


def fence(shop_ids: Iterable[str], tokens: Mapping[int, int]) -> list[Holds]:
    """Return the conditions under which results for these shops may be written: that we still have their shards. A
    shard that we have no token for fails the change set."""
    shards: Collection[int] = {shard_of(shop_id) for shop_id in shop_ids}
    return [Holds("shards", {"shard": shard}, {"token": tokens.get(shard, 0)}) for shard in sorted(shards)]
