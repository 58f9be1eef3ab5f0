"""The decisions about the owners of shops: fair shares, free shards, dead workers."""

import random
from collections import Counter

import pytest

from kalathi.marketplace.kernel.shards import (
    LEASE_MILLIS,
    RENEW_SECONDS,
    SHARDS,
    Owner,
    Ownerships,
    fence,
    plan_step,
    shard_of,
)

NOW = 1_000_000
LATER = NOW + LEASE_MILLIS


def _spread(*workers: str, state: Ownerships | None = None) -> Ownerships:
    """The tables after every worker has taken its steps, one after the other."""
    leases = {**(state.leases if state else {}), **dict.fromkeys(workers, LATER)}
    owners = dict(state.owners) if state else {}
    for _ in range(3):
        for worker in workers:
            step = plan_step(Ownerships(leases, owners), worker, NOW)
            for shard in step.gives_up:
                del owners[shard]
            for shard in step.takes:
                owners[shard] = Owner(worker, 1)
            for name in step.forgets:
                del leases[name]
    return Ownerships(leases, owners)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 64, 70])
def test_workers_get_equal_shares_of_all_shards(count: int) -> None:
    spread = _spread(*(f"w{number}" for number in range(count)))
    shares = Counter(owner.worker for owner in spread.owners.values())
    assert len(spread.owners) == SHARDS
    assert max(shares.values()) - min(shares.values() if count <= SHARDS else [0]) <= 1


def test_a_worker_that_joins_gets_its_share_and_the_others_keep_the_rest() -> None:
    before = _spread("a", "b")
    after = _spread("a", "b", "c", state=before)
    moved = [shard for shard in range(SHARDS) if after.owners[shard].worker != before.owners[shard].worker]
    assert {after.owners[shard].worker for shard in moved} == {"c"}
    assert len(moved) == Counter(owner.worker for owner in after.owners.values())["c"]


def test_the_shards_of_a_worker_whose_lease_has_ended_are_taken_over() -> None:
    before = _spread("a", "b")
    dead = Ownerships({"a": NOW, "b": LATER}, before.owners)
    after = _spread("b", state=dead)
    assert {owner.worker for owner in after.owners.values()} == {"b"}
    assert set(after.leases) == {"b"}, "the dead worker is forgotten"


def test_a_live_worker_loses_no_shard_that_it_does_not_give_up() -> None:
    before = _spread("a")
    step = plan_step(Ownerships({**before.leases, "b": LATER}, before.owners), "b", NOW)
    assert (step.takes, step.forgets) == ([], [])


def test_workers_that_start_together_begin_at_different_shards() -> None:
    state = Ownerships({"a": LATER, "b": LATER}, {})
    assert not set(plan_step(state, "a", NOW).takes) & set(plan_step(state, "b", NOW).takes)


def test_a_crashed_worker_is_replaced_within_25_seconds() -> None:
    assert LEASE_MILLIS / 1000 + 2 * RENEW_SECONDS <= 25


def test_shops_spread_evenly_over_the_shards_and_stay_where_they_are() -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    shops = Counter(shard_of(f"{chance.getrandbits(60):x}") for _ in range(64_000))
    assert set(shops) == set(range(SHARDS))
    assert max(shops.values()) < 1.25 * min(shops.values())
    # The number is part of the data: another version must find the same.
    assert [shard_of(name) for name in ("shop", "1uTTblHiIO", "Κατάστημα")] == [34, 31, 44]


def test_results_of_a_shard_that_was_lost_name_a_token_that_no_shard_has() -> None:
    shop = "s"
    assert [part.when for part in fence({shop}, {})] == [{"token": 0}]
    assert [(part.key, part.when) for part in fence({shop, shop}, {shard_of(shop): 5})] == [
        ({"shard": shard_of(shop)}, {"token": 5})
    ]
