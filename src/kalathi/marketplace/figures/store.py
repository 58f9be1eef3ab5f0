"""Figures in the database: reads, and the rows of their change sets."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from kalathi.marketplace.figures.model import Figure, Move
from kalathi.marketplace.kernel.clock import from_millis
from kalathi.marketplace.kernel.storage.changes import Add, ChangeSet, Delete, DeleteMany, Insert, Update, Value
from kalathi.marketplace.kernel.storage.database import View


class DayFigure(NamedTuple):
    """A figure of one day."""

    name: str
    day: str
    value: int


def load_moves(view: View, limit: int) -> list[Move]:
    """Return up to `limit` transitions that are not counted yet, those of one shop together."""
    rows = view.all(
        "SELECT shop_id, code, version, at, event, before, after FROM moves"
        " ORDER BY shop_id, code, version LIMIT :limit",
        {"limit": limit},
    )
    return [Move(row[0], row[1], row[2], from_millis(row[3]), row[4], row[5], row[6]) for row in rows]


def drop_moves(moves: Iterable[Move]) -> ChangeSet:
    """Return the deletion of counted transitions. It fails if another process has counted one of them."""
    rows = [(move.shop_id, move.code, move.version) for move in moves]
    return ChangeSet(DeleteMany("moves", ("shop_id", "code", "version"), (), rows)) if rows else ChangeSet()


def add_figures(view: View, added: Mapping[tuple[str, str, str], int]) -> ChangeSet:
    """Add to figures, by shop, name and day. It fails if another process writes the first value of one of them."""
    select = "SELECT shop_id, name, day FROM day_figures WHERE shop_id = :shop_id AND name = :name AND day = :day"
    return _add(view, "day_figures", ("shop_id", "name", "day"), select, added)


def add_states(view: View, added: Mapping[tuple[str, str], int]) -> ChangeSet:
    """Add to the numbers of orders, by shop and state."""
    select = "SELECT shop_id, state FROM state_counts WHERE shop_id = :shop_id AND state = :state"
    return _add(view, "state_counts", ("shop_id", "state"), select, added)


def load_state_counts(view: View) -> dict[str, int]:
    """Return the number of orders of the marketplace by state: the counted ones, and those of the last seconds."""
    rows = view.all(
        "SELECT x.state, sum(x.value) FROM (SELECT state, value FROM state_counts UNION ALL"
        " SELECT after, 1 FROM moves WHERE before <> after UNION ALL"
        " SELECT before, -1 FROM moves WHERE before <> after) x GROUP BY x.state",
        {},
    )
    return {state: int(value) for state, value in rows if state and value}


def load_figures(view: View, shop_id: str, names: Collection[Figure], first_day: str) -> list[DayFigure]:
    """Return these figures of a shop, or of the marketplace, since a day."""
    rows = view.for_each(
        ("name",),
        [(name.value,) for name in names],
        "SELECT name, day, value FROM day_figures WHERE shop_id = :shop_id AND name = :name AND day >= :first_day",
        {"shop_id": shop_id, "first_day": first_day},
    )
    return [DayFigure(*row) for row in rows]


def sum_figures(view: View, shop_id: str, beginning: Figure, first_day: str) -> dict[str, int]:
    """Return the sums of the figures whose names have this beginning, of a shop or of the marketplace, since a day. The
    returned names are without it."""
    rows = view.all(
        "SELECT name, sum(value) FROM day_figures WHERE shop_id = :shop_id AND name >= :first AND name < :last"
        " AND day >= :first_day GROUP BY name",
        {"shop_id": shop_id, "first": beginning.value, "last": f"{beginning[:-1]}>", "first_day": first_day},
    )
    return {name.removeprefix(beginning): int(value) for name, value in rows}


def replace_minute(minute: int, writer: str, document: bytes) -> ChangeSet:
    """Return the row of a process's deliveries of a minute. It replaces an earlier one of the same minute."""
    key: dict[str, Value] = {"minute": minute, "writer": writer}
    return ChangeSet(
        Delete("delivery_minutes", key, touches=None), Insert("delivery_minutes", key | {"document": document})
    )


def load_minutes(view: View, first_minute: int) -> list[tuple[int, bytes]]:
    """Return the deliveries of each minute and process since a minute."""
    rows = view.all(
        "SELECT minute, document FROM delivery_minutes WHERE minute >= :first ORDER BY minute", {"first": first_minute}
    )
    return [(minute, document) for minute, document in rows]


def forget_minutes(view: View, before: int) -> ChangeSet:
    """Return the deletion of the deliveries before a minute, up to 500 rows."""
    rows = view.all("SELECT minute, writer FROM delivery_minutes WHERE minute < :before LIMIT 500", {"before": before})
    return ChangeSet(
        *(Delete("delivery_minutes", {"minute": minute, "writer": writer}, touches=None) for minute, writer in rows)
    )


def _add(view: View, table: str, columns: tuple[str, ...], select: str, added: Mapping[Any, int]) -> ChangeSet:
    keys = sorted(key for key, value in added.items() if value)
    present = {tuple(row) for row in view.for_each(columns, keys, select, {})} if keys else set()
    changes = ChangeSet()
    for values in keys:
        key: dict[str, Value] = dict(zip(columns, values, strict=True))
        if values in present:
            changes.add(Update(table, key, {"value": Add(added[values])}))
        else:
            changes.add(Insert(table, key | {"value": added[values]}))
    return changes
