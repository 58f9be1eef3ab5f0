"""A later event is announced while the opening event's delivery completes: in either order, it is not lost."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.due import DueKind, DueRow, Wanted, find_due
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Query, T, View
from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase
from kalathi.marketplace.shops.commands import add_shop
from kalathi.marketplace.shops.model import NewLocation, NewShop
from kalathi.marketplace.webhooks import store
from kalathi.marketplace.webhooks.openings import FOLLOWING, OPENING, Openings, announce_following
from tests.market import FakeTime

pytestmark = pytest.mark.anyio

URL = "http://shop/returns"


class InterruptedDatabase(SqliteDatabase):
    """Another process writes between the read and the write of a command."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def read(self, query: Query[T]) -> T:
        answer = await super().read(query)
        if self.meanwhile is not None:
            interrupt, self.meanwhile = self.meanwhile, None
            await interrupt()
        return answer


async def _find_released(database: SqliteDatabase, time: FakeTime) -> DueRow:
    """Return the row of a delivered opening event, as the worker finds it."""
    wanted = Wanted(DueKind.OPENED, now_millis=time.millis, real_millis=0, limit=1, most_of=lambda _shop_id: 1)
    [row] = (await database.read_ahead(lambda view: find_due(view, wanted))).rows
    return row


async def _follow(database: SqliteDatabase, time: FakeTime, sequence: int) -> None:
    def command(view: View) -> tuple[ChangeSet, None]:
        parts = announce_following(
            view, "s", "R-1", sequence, event_type=FOLLOWING, body=b"{}", at_millis=time.millis, url=URL
        )
        return ChangeSet(*parts), None

    await database.run(command)


async def _planned(database: SqliteDatabase) -> list[int]:
    rows = await database.read(
        lambda view: view.all(
            "SELECT sequence FROM due WHERE kind = :kind ORDER BY sequence", {"kind": DueKind.DELIVERY}
        )
    )
    return [row[0] for row in rows]


@pytest.mark.parametrize("first", ["the release", "the event"])
async def test_an_event_sent_during_the_opening_is_not_lost(tmp_path: Path, first: str) -> None:
    database, time = InterruptedDatabase(tmp_path / "kalathi.db"), FakeTime()
    new = NewShop(
        name="S",
        domain="s",
        returns_webhook_url=URL,
        returns_webhook_enabled=True,
        locations=(NewLocation(street_name="x"),),
    )
    changes, _ = add_shop(new, ["s", "l"], "token")
    await database.commit(changes)
    opening = store.announce("s", "R-1", 1, event_type=OPENING, body=b"{}", at_millis=time.millis, has_url=False)
    row = DueRow(DueKind.DELIVERY, "s", "R-1", 1, time.millis, time.millis, 0)
    await database.commit(ChangeSet(*opening, *store.record_opening(row, URL, time.millis)))
    openings = Openings(database, BusinessClock(0, time))
    await _follow(database, time, 2)
    found = await _find_released(database, time)
    if first == "the release":

        async def meanwhile() -> None:
            await _follow(database, time, 3)

        database.meanwhile = meanwhile
        await openings.release(found)
    else:

        async def released() -> None:
            await openings.release(found)

        database.meanwhile = released
        await _follow(database, time, 3)
    assert await _planned(database) == [2, 3]
    await _follow(database, time, 4)
    assert await _planned(database) == [2, 3, 4]
    await database.close()
