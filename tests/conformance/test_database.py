"""Guarantees of the database: change sets, races, group commit, snapshots."""

import asyncio
from collections.abc import Callable

import pytest

from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.storage.changes import (
    Add,
    AtLeast,
    ChangeSet,
    ConditionFailedError,
    Delete,
    Insert,
    InsertMany,
    NewJob,
    StorageError,
    Update,
    Value,
)
from kalathi.marketplace.kernel.storage.database import Database, Row, View
from kalathi.marketplace.kernel.storage.opening import open_database
from kalathi.marketplace.kernel.storage.schema import METADATA

pytestmark = pytest.mark.anyio


def _counter(name: str, value: int) -> Insert:
    return Insert("counters", {"name": name, "value": value})


async def _values(database: Database) -> dict[str, int]:
    return dict(await database.read(lambda view: view.all("SELECT name, value FROM counters", {})))


async def test_a_change_set_is_written_whole_and_readable_at_once(database: Database) -> None:
    await database.commit(ChangeSet(_counter("a", 1), _counter("b", 2)))
    assert await _values(database) == {"a": 1, "b": 2}
    await database.commit(ChangeSet(Update("counters", {"name": "a"}, {"value": 5}), Delete("counters", {"name": "b"})))
    assert await _values(database) == {"a": 5}


@pytest.mark.parametrize(
    ("parts", "result"),
    [
        ((Update("counters", {"name": "a"}, {"value": 5}), Update("counters", {"name": "a"}, {"value": Add(2)})), 7),
        ((Update("counters", {"name": "a"}, {"value": Add(2)}), Update("counters", {"name": "a"}, {"value": 5})), 5),
        ((Update("counters", {"name": "a"}, {"value": 5}), Update("counters", {"name": "a"}, {"value": 6})), 6),
    ],
)
async def test_two_updates_of_one_row_are_applied_in_their_order(
    database: Database, parts: tuple[Update, ...], result: int
) -> None:
    await database.commit(ChangeSet(_counter("a", 1), _counter("b", 1)))
    # Another set of the group has updates of the same shape.
    other = ChangeSet(Update("counters", {"name": "b"}, {"value": 5}))
    assert await database.commit_each([ChangeSet(*parts), other]) == [None, None]
    assert await _values(database) == {"a": result, "b": 5}


@pytest.mark.parametrize(
    "failing",
    [
        pytest.param(Update("counters", {"name": "a"}, {"value": 9}, when={"value": 7}), id="another value"),
        pytest.param(Update("counters", {"name": "z"}, {"value": 9}), id="no such row"),
        pytest.param(Update("counters", {"name": "a"}, {"value": Add(-2)}, when={"value": AtLeast(2)}), id="too few"),
        pytest.param(Delete("counters", {"name": "a"}, when={"value": 7}), id="delete of another value"),
        pytest.param(_counter("a", 3), id="key taken"),
    ],
)
async def test_a_change_set_with_a_failed_condition_writes_nothing(
    database: Database, failing: Insert | Update | Delete
) -> None:
    await database.commit(ChangeSet(_counter("a", 1), _counter("b", 1)))
    good = Update("counters", {"name": "b"}, {"value": Add(1)})
    for parts in ((failing, good, _counter("c", 1)), (good, failing, _counter("c", 1))):
        with pytest.raises(ConditionFailedError):
            await database.commit(ChangeSet(*parts))
        assert await _values(database) == {"a": 1, "b": 1}


async def test_change_sets_of_one_group_succeed_or_fail_independently(database: Database) -> None:
    await database.commit(ChangeSet(_counter("a", 0), _counter("stock", 5)))
    bump = Update("counters", {"name": "a"}, {"value": Add(1)})
    late_failure = Update("counters", {"name": "z"}, {"value": 1})
    sets = []
    for number in range(40):
        if number % 4 == 1:
            sets.append(ChangeSet(bump, late_failure, _counter(f"n{number}", 1)))
        elif number % 4 == 3:
            sets.append(ChangeSet(_counter(f"n{number - 1}", 1)))  # a key that the previous change set inserts
        else:
            sets.append(ChangeSet(bump, _counter(f"n{number}", 1)))
    outcomes = await asyncio.gather(*(database.commit(changes) for changes in sets), return_exceptions=True)
    failed = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, ConditionFailedError)]
    assert failed == [number for number in range(40) if number % 4 in {1, 3}]
    values = await _values(database)
    assert values["a"] == 20
    assert sum(name.startswith("n") for name in values) == 20


async def test_guarded_arithmetic_never_goes_below_its_bound(database: Database) -> None:
    await database.commit(ChangeSet(_counter("stock", 10)))
    take = Update("counters", {"name": "stock"}, {"value": Add(-3)}, when={"value": AtLeast(3)})
    outcomes = await asyncio.gather(*(database.commit(ChangeSet(take)) for _ in range(8)), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 3
    assert await _values(database) == {"stock": 1}


async def test_an_invalid_change_set_fails_alone(database: Database) -> None:
    sets = [
        ChangeSet(_counter("a", 1)),
        ChangeSet(_counter("big", 2**70)),
        ChangeSet(Insert("counters", {"name": None, "value": 1})),
        ChangeSet(Insert("no_such_table", {"x": 1})),
        ChangeSet(_counter("b", 1)),
    ]
    outcomes = await asyncio.gather(*(database.commit(changes) for changes in sets), return_exceptions=True)
    assert [outcome is None for outcome in outcomes] == [True, False, False, False, True]
    assert await _values(database) == {"a": 1, "b": 1}


async def test_a_command_that_loses_a_race_runs_again_on_fresh_data(database: Database) -> None:
    await database.commit(ChangeSet(_counter("a", 0)))

    def increment(view: View) -> tuple[ChangeSet, int]:
        [(value,)] = view.all("SELECT value FROM counters WHERE name = :name", {"name": "a"})
        return ChangeSet(Update("counters", {"name": "a"}, {"value": value + 1}, when={"value": value})), value + 1

    answers = await asyncio.gather(*(database.run(increment) for _ in range(3)))
    assert sorted(answers) == [1, 2, 3]
    assert await _values(database) == {"a": 3}


async def test_a_command_that_loses_every_race_ends_with_a_conflict(database: Database) -> None:
    def hopeless(view: View) -> tuple[ChangeSet, None]:
        return ChangeSet(Update("counters", {"name": "none"}, {"value": 1})), None

    with pytest.raises(DomainError) as refused:
        await database.run(hopeless)
    assert refused.value.code is ErrorCode.CONFLICT


async def test_a_query_sees_one_snapshot_while_others_write(database: Database) -> None:
    await database.commit(ChangeSet(_counter("a", 1)))
    writing = asyncio.create_task(database.commit(ChangeSet(Update("counters", {"name": "a"}, {"value": 2}))))
    await asyncio.sleep(0)

    def twice(view: View) -> bool:
        first = view.all("SELECT value FROM counters", {})
        return view.all("SELECT value FROM counters", {}) == first

    assert await database.read(twice)
    await writing
    assert await _values(database) == {"a": 2}


async def test_a_reader_cannot_write(database: Database) -> None:
    for reading in (database.read, database.read_list):
        with pytest.raises(StorageError):
            await reading(lambda view: view.all("DELETE FROM counters", {}))


async def test_committed_rows_survive_reopening(database_url: str) -> None:
    opened = await open_database(database_url)
    await asyncio.gather(*(opened.commit(ChangeSet(_counter(f"n{number}", number))) for number in range(50)))
    await opened.close()
    with pytest.raises(StorageError):
        await opened.commit(ChangeSet(_counter("late", 1)))
    opened = await open_database(database_url)
    assert len(await _values(opened)) == 50
    await opened.close()


async def test_a_subscriber_is_notified_of_new_rows(database: Database) -> None:
    heard = asyncio.Event()
    database.subscribe("counters", heard.set)
    await database.commit(ChangeSet(_counter("a", 1)))
    async with asyncio.timeout(10):
        await heard.wait()


def test_primary_keys_start_with_the_shop_except_in_listed_tables() -> None:
    exceptions = {"counters", "api_tokens", "carts", "directory", "idempotency_keys", "sandbox_faults", "sessions"}
    exceptions |= {"products_tokens", "commit_marks", "node_marks", "secrets", "used_links", "workers", "shards"}
    exceptions |= {"invitations", "extra_tokens", "token_uses", "delivery_minutes"}
    for name, table in METADATA.tables.items():
        first = next(iter(table.primary_key.columns)).name
        assert first == "shop_id" or name in exceptions, name


async def test_point_reads_of_one_turn_fail_and_answer_each_on_its_own(database: Database) -> None:
    await database.commit(ChangeSet(*(_counter(f"c{number:02}", number) for number in range(40))))

    def query_of(number: int) -> Callable[[View], int]:
        def query(view: View) -> int:
            if number % 7 == 3:
                raise ValueError(f"bug {number}")
            row = view.one("SELECT value FROM counters WHERE name = :name", {"name": f"c{number:02}"})
            assert row is not None
            return int(row[0])

        return query

    tasks = [asyncio.create_task(database.read_point(query_of(number))) for number in range(40)]
    tasks[5].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for number, outcome in enumerate(outcomes):
        if number == 5:
            assert isinstance(outcome, asyncio.CancelledError)
        elif number % 7 == 3:
            assert str(outcome) == f"bug {number}"
        else:
            assert outcome == number


async def test_a_prepared_command_that_reads_all_the_same_is_decided_on_a_view(database: Database) -> None:
    await database.commit(ChangeSet(_counter("a", 1)))

    def command(view: View) -> tuple[ChangeSet, int]:
        row = view.one("SELECT value FROM counters WHERE name = :name", {"name": "a"})
        assert row is not None
        return ChangeSet(Update("counters", {"name": "a"}, {"value": Add(1)})), row[0]

    assert await database.run(command, is_prepared=True) == 1
    assert await database.run(command, is_prepared=True) == 2


async def test_a_statement_for_each_key_returns_the_rows_of_every_key(database: Database) -> None:
    await database.commit(ChangeSet(*(_counter(name, number) for number, name in enumerate("abcd"))))
    sql = "SELECT name, value FROM counters WHERE name = :name AND value >= :least AND value < :below"

    def query(view: View) -> list[Row]:
        return view.for_each(("name", "least"), [("a", 0), ("b", 5), ("d", 3), ("x", 0)], sql, {"below": 9})

    assert await database.read_ahead(query) == [("a", 0), ("d", 3)]
    assert await database.read_ahead(query, is_small=True) == [("a", 0), ("d", 3)]


async def test_new_due_rows_and_changed_orders_are_announced(database: Database) -> None:
    jobs: list[NewJob] = []
    orders: list[tuple[str, str]] = []
    database.subscribe_jobs(lambda new: jobs.extend(new or ()))
    database.subscribe_orders(orders.extend)
    row: dict[str, Value] = {
        "shop_id": "s",
        "kind": "expiry",
        "subject": "o",
        "sequence": 1,
        "due_at": 7,
        "anchor_at": 7,
        "attempts": 0,
    }
    many = [("s", "delivery", f"o{number}", 1, number, 0, 0) for number in range(2)]
    order: dict[str, Value] = {
        "shop_id": "s",
        "code": "c",
        "state": "open",
        "version": 1,
        "created_at": 1,
        "updated_at": 1,
    }
    await database.commit(
        ChangeSet(
            Insert("due", row), InsertMany("due", tuple(row), many), Insert("orders", {**order, "document": b"{}"})
        )
    )
    refused = Update("orders", {"shop_id": "s", "code": "c"}, {"version": 9}, when={"version": 8})
    changed = Update("orders", {"shop_id": "s", "code": "c"}, {"version": 2}, when={"version": 1})
    assert [type(outcome) for outcome in await database.commit_each([ChangeSet(refused), ChangeSet(changed)])] == [
        ConditionFailedError,
        type(None),
    ]
    assert sorted(jobs) == [("delivery", "s", 0), ("delivery", "s", 1), ("expiry", "s", 7)]
    assert orders == [("s", "c")]
