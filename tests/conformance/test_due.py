"""Due rows: which ones a worker finds, the order of a subject, the shares of the shops, and what two workers do to one
row."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import pytest

from kalathi.marketplace.kernel import due
from kalathi.marketplace.kernel.due import DueKind, DueRow, JobName
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, Insert
from kalathi.marketplace.kernel.storage.database import Database

pytestmark = pytest.mark.anyio


def _plan(shop: str, subject: str, sequence: int = 1, at: int = 100, kind: DueKind = DueKind.DELIVERY) -> Insert:
    return due.plan(kind, shop, subject, sequence, due_at=at, anchor_at=at)


async def _find(
    database: Database,
    *,
    kind: DueKind = DueKind.DELIVERY,
    now: int = 1000,
    limit: int = 100,
    most: Callable[[str], int] = lambda _shop_id: 100,
    held: Mapping[str, Collection[JobName]] = {},
    owns: Callable[[str], bool] = lambda _shop_id: True,
) -> list[DueRow]:
    wanted = due.Wanted(kind, now, 0, limit, most, held, owns)
    return (await database.read_ahead(lambda view: due.find_due(view, wanted))).rows


async def test_only_due_jobs_of_the_kind_are_found_oldest_first(database: Database) -> None:
    await database.commit(
        ChangeSet(
            _plan("s", "late", at=500),
            _plan("s", "early", at=100),
            _plan("s", "future", at=2000),
            _plan("busy", "x"),
            _plan("s", "other", kind=DueKind.VOUCHER),
        )
    )

    def most(shop_id: str) -> int:
        return 0 if shop_id == "busy" else 100

    assert [row.subject for row in await _find(database, most=most)] == ["early", "late"]
    held = {"s": {("early", 1)}}
    assert [row.subject for row in await _find(database, most=most, held=held)] == ["late"]


@pytest.mark.parametrize("kind", [DueKind.DELIVERY, DueKind.VOUCHER])
async def test_a_worker_finds_only_jobs_of_its_own_shops(database: Database, kind: DueKind) -> None:
    await database.commit(ChangeSet(*(_plan(f"s{number:03}", "o", at=number, kind=kind) for number in range(300))))
    # Another worker's jobs have waited longest, and fill more than one read.
    found = await _find(database, kind=kind, limit=10, owns=lambda shop_id: shop_id >= "s250")
    assert [row.shop_id for row in found] == [f"s{number}" for number in range(250, 260)]


@pytest.mark.parametrize("kind", [DueKind.DELIVERY, DueKind.VOUCHER])
async def test_held_jobs_do_not_hide_later_ones_of_the_same_shop(database: Database, kind: DueKind) -> None:
    await database.commit(ChangeSet(*(_plan("s", f"o{number:03}", at=number, kind=kind) for number in range(300))))
    held = {"s": {(f"o{number:03}", 1) for number in range(290)}}
    found = await _find(database, kind=kind, limit=5, held=held)
    assert [row.subject for row in found] == [f"o{number}" for number in range(290, 295)]


async def test_of_two_workers_that_ran_the_same_job_one_records_it(database: Database) -> None:
    await database.commit(ChangeSet(_plan("s", "a"), _plan("s", "b")))
    [a, b] = await _find(database)
    outcomes = await asyncio.gather(
        *(database.commit(ChangeSet(*parts)) for parts in ([due.complete(a)], [due.repeat_at(a, 5000)])),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes if outcome] == [ConditionFailedError]
    await database.commit(ChangeSet(due.repeat_at(b, 5000)))
    for late in (due.complete(b), due.repeat_at(b, 6000), due.complete_all([b])):
        with pytest.raises(ConditionFailedError):
            await database.commit(ChangeSet(late))


async def test_a_retry_is_due_at_its_time_with_one_more_attempt(database: Database) -> None:
    await database.commit(ChangeSet(_plan("s", "a")))
    [row] = await _find(database)
    await database.commit(ChangeSet(due.repeat_at(row, 5000)))
    assert await _find(database, now=4999) == []
    [again] = await _find(database, now=5000)
    assert (again.attempts, again.anchor_at, await database.read(due.find_next_due_millis)) == (1, 100, 5000)


async def test_a_job_that_is_brought_forward_while_it_runs_is_recorded_once(database: Database) -> None:
    await database.commit(ChangeSet(_plan("s", "a", at=100)))
    [row] = await _find(database)
    await database.commit(ChangeSet(due.repeat_at(row, 9000)))
    [waiting] = await _find(database, now=9000)
    await database.commit(due.bring_forward(waiting, 500))
    [brought] = await _find(database, now=500)
    await database.commit(due.bring_forward(waiting, 400))
    await database.commit(ChangeSet(due.complete(brought)))
    assert await database.read(due.find_next_due_millis) is None
    assert due.bring_forward(brought, 600).is_empty


async def test_an_event_waits_for_the_first_attempt_of_the_previous_event(database: Database) -> None:
    await database.commit(
        ChangeSet(_plan("s", "a", 2, at=50), _plan("s", "a", 1), _plan("s", "b", 7), _plan("t", "a", 3))
    )
    assert {(row.shop_id, row.subject, row.sequence) for row in await _find(database)} == {
        ("s", "a", 1),
        ("s", "b", 7),
        ("t", "a", 3),
    }
    [first] = [row for row in await _find(database) if row.sequence == 1]
    assert ("a", 2) not in {(row.subject, row.sequence) for row in await _find(database, held={"s": {("a", 1)}})}
    await database.commit(ChangeSet(due.repeat_at(first, 9999)))
    assert ("a", 2) in {(row.subject, row.sequence) for row in await _find(database)}


async def test_a_shop_with_a_large_backlog_takes_only_its_own_share(database: Database) -> None:
    await database.commit(ChangeSet(*(_plan("dead", f"o{number}", at=number) for number in range(3000))))
    await database.commit(ChangeSet(*(_plan(f"shop{number}", "o", at=5000 + number) for number in range(30))))

    async def found(limit: int, room: dict[str, int]) -> list[str]:
        rows = await _find(database, now=9000, limit=limit, most=lambda shop_id: room.get(shop_id, 4))
        return [row.shop_id for row in rows]

    assert await found(10, {}) == ["dead", *(f"shop{number}" for number in range(9))]
    assert await found(124, {}) == ["dead"] * 4 + [f"shop{number}" for number in range(30)]
    assert await found(10, {"dead": 1, "shop0": 0}) == ["dead", *(f"shop{number}" for number in range(1, 10))]
    assert await found(100, {"dead": 0}) == [f"shop{number}" for number in range(30)]


async def test_a_cut_takes_as_many_rows_of_the_last_shop_as_of_the_first(database: Database) -> None:
    await database.commit(ChangeSet(*(_plan(shop, f"o{number}") for shop in "abcd" for number in range(5))))
    rows = await _find(database, limit=10)
    assert sorted(Counter(row.shop_id for row in rows).values()) == [2, 2, 3, 3]


async def test_each_shop_gets_at_most_its_own_number_of_jobs(database: Database) -> None:
    await database.commit(ChangeSet(*(_plan(shop, f"o{number}") for shop in "abc" for number in range(5))))
    asked: list[str] = []

    def most(shop_id: str) -> int:
        asked.append(shop_id)
        return {"a": 0, "b": 1, "c": 3}[shop_id]

    assert Counter(row.shop_id for row in await _find(database, most=most)) == {"b": 1, "c": 3}
    assert sorted(asked) == ["a", "b", "c"], "once each"
