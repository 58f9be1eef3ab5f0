"""The parts of a spread database that need no cluster: lanes, second forms of statements, and keys by place."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from psycopg import Connection

from kalathi.marketplace.kernel.due import (
    DueKind,
    DueRow,
    Wanted,
    find_due,
    find_earliest_by_kind,
    find_next_due_millis,
)
from kalathi.marketplace.kernel.keys import DrawnKeys, KeyReserve
from kalathi.marketplace.kernel.storage.changes import (
    ChangeSet,
    Delete,
    DeleteMany,
    Holds,
    Insert,
    InsertMany,
    Update,
    UpdateMany,
)
from kalathi.marketplace.kernel.storage.database import Row
from kalathi.marketplace.kernel.storage.spread.hashing import hash_text
from kalathi.marketplace.kernel.storage.spread.nodes import NodeDownError, Nodes
from kalathi.marketplace.kernel.storage.spread.shard_map import Node, ShardMap
from kalathi.marketplace.kernel.storage.spread.statements import (
    SpreadForms,
    find_list,
    find_place,
    for_keys,
    on_copies,
    on_shards,
    split_lookup,
    with_list,
)
from kalathi.marketplace.kernel.storage.spread.tables import BY_COLUMN
from kalathi.marketplace.kernel.storage.spread.view import SpreadView
from kalathi.marketplace.kernel.storage.spread.writing import COORDINATOR, SEVERAL, Fenced, choose_lane
from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase
from kalathi.marketplace.webhooks.store import find_events

NOON = datetime(2026, 11, 30, 10, tzinfo=UTC)
NODES = [Node(group, "db", 5432 + group) for group in (1, 2)]
_LOWEST = [-(2**31), -(2**30), 0, 2**30]
MAP = ShardMap(
    [
        (table, 1000 + 10 * place + number, lowest, NODES[place % 2])
        for place, lowest in enumerate(_LOWEST)
        for number, table in enumerate(sorted(BY_COLUMN))
    ],
    Node(0, "db", 5432),
    {"api_tokens": 77},
)


def _shop_on(node: Node, number: int = 0) -> str:
    found = [name for name in (f"shop{at}" for at in range(200)) if MAP.node_of(name) == node]
    return found[number]


def test_hashes_are_spread_evenly_over_shards() -> None:
    counts = [0] * len(_LOWEST)
    for number in range(4000):
        counts[MAP.shard_of(f"shop-{number}")] += 1
    assert min(counts) > 850


def test_a_hash_is_a_signed_number_of_32_bits() -> None:
    assert {hash_text(f"{number}") < 0 for number in range(20)} == {True, False}
    assert all(-(2**31) <= hash_text("α" * length) < 2**31 for length in range(40))


FIRST, SECOND = _shop_on(NODES[0]), _shop_on(NODES[1])
_ORDER = {"shop_id": FIRST, "code": "c"}


@pytest.mark.parametrize(
    ("changes", "lane"),
    [
        (ChangeSet(Update("orders", _ORDER, {"version": 2})), NODES[0]),
        (ChangeSet(Insert("shops", {"shop_id": SECOND, "version": 1, "document": b""})), NODES[1]),
        (ChangeSet(InsertMany("due", ("kind", "shop_id"), [("a", FIRST), ("b", FIRST)])), NODES[0]),
        (ChangeSet(DeleteMany("due", ("shop_id", "kind"), ("attempts",), [(SECOND, "a", 1)])), NODES[1]),
        (ChangeSet(UpdateMany("listings", ("quantity",), ("shop_id", "shop_uid"), (), [(1, SECOND, "a")])), NODES[1]),
        (ChangeSet(Insert("sessions", {"session_hash": b""})), COORDINATOR),
        # A condition on the coordinator, as of the owner of a shard, makes no second node.
        (ChangeSet(Holds("shards", {"shard": 1}, {"token": 1}), Delete("due", {"shop_id": FIRST})), Fenced(NODES[0])),
        (ChangeSet(Holds("shards", {"shard": 1}, {"token": 1})), COORDINATOR),
        (ChangeSet(Update("orders", _ORDER, {}), Insert("directory", {"code": SECOND, "shop_id": FIRST})), SEVERAL),
        (ChangeSet(Delete("due", {"shop_id": FIRST}), Delete("due", {"shop_id": SECOND})), SEVERAL),
        (ChangeSet(Delete("due", {"shop_id": FIRST}), Delete("sessions", {"place": FIRST})), SEVERAL),
        (ChangeSet(Insert("api_tokens", {"token_hash": b"", "shop_id": FIRST})), SEVERAL),
        (ChangeSet(Delete("directory", {"shop_id": FIRST})), SEVERAL),
    ],
)
def test_a_change_set_goes_to_the_lane_of_its_node(changes: ChangeSet, lane: object) -> None:
    assert choose_lane(changes, MAP.node_of) == lane


def test_a_statement_that_looks_its_shop_up_becomes_two() -> None:
    lookup = "(SELECT shop_id FROM api_tokens WHERE token_hash = :token_hash)"
    split = split_lookup(f"SELECT document FROM shops s WHERE s.shop_id = {lookup}")
    assert split is not None
    assert split.first == lookup[1:-1]
    assert split.second == "SELECT document FROM shops s WHERE s.shop_id = :looked_up_shop_id"
    assert find_place(split.second) == "looked_up_shop_id"
    assert on_copies(split.first, MAP) == "SELECT shop_id FROM api_tokens_77 WHERE token_hash = :token_hash"
    assert split_lookup("SELECT document FROM shops WHERE shop_id = :shop_id") is None


@pytest.mark.parametrize(
    ("sql", "place"),
    [
        ("SELECT 1 FROM orders o JOIN shops s ON s.shop_id = o.shop_id WHERE o.shop_id = :shop_id", "shop_id"),
        ("SELECT shop_id FROM directory WHERE code = :code", "code"),
        ("SELECT answer FROM idempotency_keys WHERE owner = :owner AND key = :key", "owner"),
        ("SELECT 1 FROM sessions WHERE session_hash = :hash", None),
        ("SELECT document FROM shops ORDER BY shop_id", None),
        ("SELECT 1 FROM due WHERE shop_id = :first OR shop_id = :second", None),
    ],
)
def test_the_parameter_that_names_the_node_is_found(sql: str, place: str | None) -> None:
    assert find_place(sql) == place


def test_a_list_of_shops_is_replaced_by_the_shops_of_one_node() -> None:
    sql = "SELECT document FROM shops WHERE shop_id IN (:id0, :id1, :id2)"
    assert find_list(sql) == ("id0", "id1", "id2")
    assert with_list(sql, ("id1",)) == "SELECT document FROM shops WHERE shop_id IN (:id1)"
    assert find_list("SELECT 1 FROM orders WHERE shop_id = :shop_id AND code IN (:code0)") == ()


def test_a_search_runs_once_for_each_shard_of_a_node() -> None:
    shards = tuple(MAP.shards_on(NODES[0]))
    text, names = on_shards("SELECT 1 FROM due d JOIN orders o ON o.code = d.subject WHERE d.kind = :kind", shards, MAP)
    parts = text.decode().split(" UNION ALL ")
    assert len(parts) == len(shards) == 2
    for part, shard in zip(parts, shards, strict=True):
        assert f"FROM due_{MAP.id_of('due', shard)} d JOIN orders_{MAP.id_of('orders', shard)} o" in part
    assert names == ("kind", "kind")


def test_keys_are_read_in_the_tables_of_their_own_shards() -> None:
    shards = {MAP.shard_of(FIRST): [(FIRST, 1), (FIRST, 2)], MAP.shard_of(SECOND): [(SECOND, 3)]}
    sql = "SELECT body FROM webhook_events w WHERE w.shop_id = :shop_id AND w.sequence = :sequence AND w.at < :now"
    text, values = for_keys(("shop_id", "sequence"), shards, sql, {"now": 9}, MAP)
    assert text.count(b"unnest(%b::text[], %b::bigint[]) k(shop_id, sequence)") == 2
    assert b"w.shop_id = k.shop_id AND w.sequence = k.sequence AND w.at < %s" in text
    assert values == [[FIRST, FIRST], [1, 2], 9, [SECOND], [3], 9]


def test_rows_are_inserted_as_values_in_chunks_of_powers_of_two() -> None:
    rows = [(f"s{number}", "k", "x", number, 0, 0, 0) for number in range(7)]
    names = ("shop_id", "kind", "subject", "sequence", "due_at", "anchor_at", "attempts")
    statements = list(SpreadForms().write_inserts("due", names, rows))
    assert [text.count(b"(%b::text") for text, _ in statements] == [4, 2, 1]
    assert [value for _, values in statements for value in values] == [value for row in rows for value in row]
    assert all(b"SELECT" not in text for text, _ in statements)


def test_updates_of_several_shops_ask_only_their_shards() -> None:
    shape = ("Update", "orders", ("version",), ("shop_id", "code"), ("version",))
    rows = [[0, 2, FIRST, "a", 1], [1, 2, SECOND, "b", 1], [2, 2, FIRST, "c", 1]]
    [(text, values)] = SpreadForms().write_parts(shape, rows)
    assert text.endswith(b"AND t.shop_id = ANY(%b::text[]) RETURNING v.place")
    assert sorted(values[-1]) == sorted({FIRST, SECOND})
    assert values[0] == [0, 1, 2]


def test_one_row_and_conditions_are_plain_statements() -> None:
    [(text, values)] = SpreadForms().write_parts(("Delete", "due", (), ("shop_id",), ("attempts",)), [[5, FIRST, 1]])
    assert text == b"DELETE FROM due WHERE shop_id = %b::text AND attempts = %b::bigint RETURNING %b::bigint"
    assert values == [FIRST, 1, 5]
    held = list(SpreadForms().write_parts(("Holds", "orders", (), ("shop_id",), ("version",)), [[5, FIRST, 1]] * 2))
    assert [text for text, _ in held] == [
        b"SELECT %b::bigint FROM orders WHERE shop_id = %b::text AND version = %b::bigint FOR SHARE"
    ] * 2
    assert held[0][1] == [5, FIRST, 1]


def _place_of(key: str) -> str:
    return str(hash_text(key) % 4)


def test_codes_and_carts_are_at_the_place_of_their_shop() -> None:
    keys = DrawnKeys(list(range(400)), b"key", _place_of)
    for number in range(20):
        shop_id = f"shop{number}"
        assert _place_of(keys.order_code(NOON, shop_id)) == _place_of(shop_id)
        assert _place_of(keys.return_code(NOON, shop_id)) == _place_of(shop_id)
        assert _place_of(keys.cart_id(shop_id)) == _place_of(shop_id)


class PlacedDatabase(SqliteDatabase):
    """A file that says that its rows are at four places."""

    def place_of(self, key: str) -> str:
        return _place_of(key)

    def count_places(self) -> int:
        return 4


@pytest.mark.anyio
async def test_a_reserve_has_codes_for_every_place_although_one_place_uses_none(tmp_path: Path) -> None:
    """As while a node is down: the others go on, and its numbers stay."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    database = PlacedDatabase(tmp_path / "kalathi.db")
    reserve = KeyReserve(database)
    shops = [name for name in (f"shop{at}" for at in range(60)) if _place_of(name) != "3"]
    codes: list[str] = []
    for _ in range(3000):
        shop_id = chosen.choice(shops)
        keys = await reserve.draw(5)
        code = keys.order_code(NOON, shop_id)
        reserve.give_back(keys)
        codes.append(code)
        assert _place_of(code) == _place_of(shop_id)
    assert len(set(codes)) == len(codes)
    row = await database.read(lambda view: view.one("SELECT value FROM counters", {}))
    # Three of four numbers are used, so little more than four thousand are reserved.
    assert row is not None and row[0] <= 6000
    await database.close()


class NodesAway:
    """The nodes of a cluster, of which none answers."""

    map = MAP

    def read_each(self, statements: Mapping[Node, object], *, is_complete: bool) -> list[Row]:
        if is_complete:
            raise NodeDownError(next(iter(statements)))
        return []


def test_the_events_of_a_node_that_is_away_are_not_taken_for_deleted_ones() -> None:
    """A due delivery whose event is deleted ends without an attempt."""
    view = SpreadView(cast(Connection[Any], None), cast(Nodes, NodesAway()), snapshot=False)
    row = DueRow(DueKind.DELIVERY, FIRST, "o", 1, 0, 0, 0)
    with pytest.raises(NodeDownError):
        find_events(view, [row])
    with pytest.raises(NodeDownError):
        find_next_due_millis(view)
    # The jobs of other nodes are found all the same.
    wanted = Wanted(DueKind.DELIVERY, 1, 1, 10, lambda _: 4, shops=[FIRST])
    assert find_due(view, wanted).rows == []
    assert find_earliest_by_kind(view) == {}
