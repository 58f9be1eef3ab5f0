"""The index of words for orders of an earlier version of the software, made while the marketplace runs."""

import asyncio
import contextlib
from typing import Final

from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.orders.search.store import index_earlier
from kalathi.marketplace.shops import store as shops

_ORDERS_AT_ONCE: Final = 50


async def index_earlier_orders(database: Database, ending: asyncio.Event) -> None:
    """Index every order that is not in the index yet, in small sets. Stop when the process ends. Raises
    StorageError."""
    for shop in await database.read_list(shops.shops):
        shop_id = shop.id

        def command(view: View, shop_id: str = shop_id) -> tuple[ChangeSet, bool]:
            changes = index_earlier(view, shop_id, _ORDERS_AT_ONCE)
            return changes, not changes.is_empty

        # With CONFLICT, another process is indexing the same orders.
        with contextlib.suppress(DomainError):
            while not ending.is_set() and await database.run(command):
                pass
