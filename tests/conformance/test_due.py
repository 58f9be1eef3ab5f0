"""The claim protocol: leases with fencing tokens, order of a subject, busy shops."""

import asyncio
from collections import Counter

import pytest

from kalathi.marketplace.kernel import due
from kalathi.marketplace.kernel.due import LEASE_MILLIS, DueKind, DueRow
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, Insert
from kalathi.marketplace.kernel.storage.database import Database

pytestmark = pytest.mark.anyio


def _plan(shop: str, subject: str, sequence: int = 1, at: int = 100, kind: DueKind = DueKind.DELIVERY) -> Insert:
    return due.plan(kind, shop, subject, sequence, due_at=at, anchor_at=at)


async def _claimable(database: Database, *, now: int = 1000, real: int = 0, busy: tuple[str, ...] = ()) -> list[DueRow]:
    found = await database.read_point(
        lambda view: due.find_claimable(
            view,
            due.Wanted(
                DueKind.DELIVERY,
                now_millis=now,
                real_millis=real,
                limit=100,
                per_shop=100,
                busy=dict.fromkeys(busy, 100),
            ),
        )
    )
    return [row for row, _ in found]


async def _lease(database: Database, rows: list[DueRow], real: int = 0) -> list[DueRow]:
    changes, leased = due.claim(rows, real)
    await database.commit(changes)
    return leased


async def test_only_free_due_jobs_of_the_kind_are_claimable_oldest_first(database: Database) -> None:
    await database.commit(
        ChangeSet(
            _plan("s", "late", at=500),
            _plan("s", "early", at=100),
            _plan("s", "future", at=2000),
            _plan("busy", "x"),
            _plan("s", "other", kind=DueKind.VOUCHER),
        )
    )
    assert [row.subject for row in await _claimable(database, busy=("busy",))] == ["early", "late"]
    await _lease(database, (await _claimable(database, busy=("busy",)))[:1])
    assert [row.subject for row in await _claimable(database, busy=("busy",))] == ["late"]


async def test_one_of_two_overlapping_claims_fails_whole(database: Database) -> None:
    await database.commit(ChangeSet(_plan("s", "a"), _plan("s", "b")))
    rows = await _claimable(database)
    attempts = [due.claim(rows, 0), due.claim(rows[1:], 0)]
    outcomes = await asyncio.gather(*(database.commit(changes) for changes, _ in attempts), return_exceptions=True)
    assert sum(isinstance(outcome, ConditionFailedError) for outcome in outcomes) == 1


async def test_an_expired_lease_is_claimable_and_its_holder_cannot_record(database: Database) -> None:
    await database.commit(ChangeSet(_plan("s", "a")))
    [slow] = await _lease(database, await _claimable(database))
    assert await _claimable(database, real=LEASE_MILLIS - 1) == []
    [quick] = await _lease(database, await _claimable(database, real=LEASE_MILLIS), real=LEASE_MILLIS)
    for late in (due.complete(slow), due.repeat_at(slow, 5)):
        with pytest.raises(ConditionFailedError):
            await database.commit(ChangeSet(late))
    await database.commit(ChangeSet(due.complete(quick)))
    assert await database.read(due.find_next_due_millis) is None


async def test_a_retry_is_due_at_its_time_with_one_more_attempt(database: Database) -> None:
    await database.commit(ChangeSet(_plan("s", "a")))
    [row] = await _lease(database, await _claimable(database))
    await database.commit(ChangeSet(due.repeat_at(row, 5000)))
    assert await _claimable(database, now=4999) == []
    [again] = await _claimable(database, now=5000)
    assert (again.attempts, again.anchor_at, await database.read(due.find_next_due_millis)) == (1, 100, 5000)


async def test_an_event_waits_for_the_first_attempt_of_the_previous_event(
    database: Database,
) -> None:
    await database.commit(
        ChangeSet(_plan("s", "a", 2, at=50), _plan("s", "a", 1), _plan("s", "b", 7), _plan("t", "a", 3))
    )
    assert {(row.shop_id, row.subject, row.sequence) for row in await _claimable(database)} == {
        ("s", "a", 1),
        ("s", "b", 7),
        ("t", "a", 3),
    }
    [first] = await _lease(database, [row for row in await _claimable(database) if row.sequence == 1])
    assert ("a", 2) not in {(row.subject, row.sequence) for row in await _claimable(database)}
    await database.commit(ChangeSet(due.repeat_at(first, 9999)))
    assert ("a", 2) in {(row.subject, row.sequence) for row in await _claimable(database)}


async def test_a_start_releases_every_lease_of_a_dead_process(database: Database) -> None:
    await database.commit(ChangeSet(*(_plan("s", f"o{number}") for number in range(5))))
    await _lease(database, await _claimable(database))
    assert await _claimable(database) == []
    await database.commit(due.free_all())
    assert len(await _claimable(database)) == 5


async def test_a_shop_with_a_large_backlog_uses_only_its_own_slots(database: Database) -> None:
    await database.commit(ChangeSet(*(_plan("dead", f"o{number}", at=number) for number in range(3000))))
    await database.commit(ChangeSet(*(_plan(f"shop{number}", "o", at=5000 + number) for number in range(30))))

    async def claimed(limit: int, busy: dict[str, int]) -> list[str]:
        rows = await database.read_point(
            lambda view: due.find_claimable(
                view, due.Wanted(DueKind.DELIVERY, now_millis=9000, real_millis=0, limit=limit, per_shop=4, busy=busy)
            )
        )
        return [row.shop_id for row, _ in rows]

    assert await claimed(10, {}) == ["dead", *(f"shop{number}" for number in range(9))]
    assert await claimed(124, {}) == ["dead"] * 4 + [f"shop{number}" for number in range(30)]
    assert await claimed(10, {"dead": 3, "shop0": 4}) == ["dead", *(f"shop{number}" for number in range(1, 10))]
    assert await claimed(100, {"dead": 4}) == [f"shop{number}" for number in range(30)]


async def test_a_worker_finds_jobs_behind_those_leased_to_others(database: Database) -> None:
    """The jobs of the shops that have waited longest are leased to other workers."""
    await database.commit(ChangeSet(*(_plan(f"s{number:03}", "o", at=number) for number in range(300))))

    async def few(limit: int) -> list[DueRow]:
        found = await database.read_point(
            lambda view: due.find_claimable(
                view, due.Wanted(DueKind.DELIVERY, now_millis=1000, real_millis=0, limit=limit, per_shop=4, busy={})
            )
        )
        return [row for row, _ in found]

    held = await _lease(database, await few(250))
    assert [row.shop_id for row in held] == [f"s{number:03}" for number in range(250)]
    assert [row.shop_id for row in await few(10)] == [f"s{number:03}" for number in range(250, 260)]


async def test_a_shop_gets_no_more_jobs_than_it_has_slots(database: Database) -> None:
    await database.commit(ChangeSet(*(_plan(shop, f"o{number}") for shop in "abc" for number in range(5))))
    asked: list[str] = []

    def slots_of(shop_id: str) -> int:
        asked.append(shop_id)
        return {"a": 0, "b": 1, "c": 9}[shop_id]

    found = await database.read_point(
        lambda view: due.find_claimable(
            view,
            due.Wanted(
                DueKind.DELIVERY,
                now_millis=1000,
                real_millis=0,
                limit=100,
                per_shop=4,
                busy={"c": 1},
                slots_of=slots_of,
            ),
        )
    )
    assert Counter(row.shop_id for row, _ in found) == {"b": 1, "c": 3}
    assert sorted(asked) == ["a", "b", "c"], "once each"
