"""The steps of a scenario on a shop's products: a stale number of the feed, and a scan of the feed."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Annotated, Any

from msgspec import Meta

from kalathi.marketplace.kernel.clock import BusinessClock, athens
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.sandbox.scenario import read_as
from kalathi.marketplace.shops import commands, store
from kalathi.marketplace.shops.model import LARGEST_QUANTITY, ShopChanges

_Pieces = Annotated[int, Meta(ge=0, le=LARGEST_QUANTITY)]
_Seconds = Annotated[int, Meta(ge=1, le=86_400)]
_SCAN_SECONDS = 600


class StockSteps:
    """Plays single steps for one shop."""

    def __init__(self, database: Database, clock: BusinessClock) -> None:
        self._database = database
        self._clock = clock

    async def set_stock(self, shop_id: str, shop_uids: Collection[str], step: Mapping[str, Any]) -> str:
        """Set the pieces of the products, as a feed with old numbers does. Return a note."""
        pieces = read_as(step.get("quantity", 0), _Pieces, "quantity")
        changes = ChangeSet(*(store.set_stock(shop_id, shop_uid, pieces) for shop_uid in shop_uids))
        await self._database.commit(changes)
        return f"{', '.join(shop_uids)}: {pieces}"

    async def scan(self, shop_id: str, step: Mapping[str, Any]) -> str:
        """Begin a scan of the shop's feed, by default of ten minutes. Return its end."""
        seconds = read_as(step.get("seconds", _SCAN_SECONDS), _Seconds, "seconds")
        until = athens(self._clock.now() + timedelta(seconds=seconds))
        await self._change(shop_id, ShopChanges(feed_scan_until=until))
        return until.isoformat()

    async def end_scan(self, shop_id: str) -> None:
        """End the scan of the shop's feed."""
        await self._change(shop_id, ShopChanges(feed_scan_until=None))

    async def _change(self, shop_id: str, changes: ShopChanges) -> None:
        def command(view: View) -> tuple[ChangeSet, None]:
            return commands.change_shop(view, shop_id, changes)[0], None

        await self._database.run(command)
