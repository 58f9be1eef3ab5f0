"""Keep the rendered answers of `GET /orders/:code` in memory (docs/decisions/0057).

An answer depends on the order's version, the shop's version, and the hour, because pickup windows begin at whole hours.
So an answer is used again only after these were compared: with one small statement, which also finds a token that was
revoked. A process that has the database for itself sees every commit, and reads nothing while there was no change.
"""

import asyncio
from typing import Final, NamedTuple

from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.orders import store

# The most answers, of about 3 KB each.
_MOST: Final = 4096
# The longest time until a change by another program is noticed, such as a token deleted in SQLite's own shell.
_CHECKED_SECONDS: Final = 0.25
_MILLIS_PER_HOUR: Final = 3_600_000


class Rendered(NamedTuple):
    """A rendered answer, with the versions and the hour for which it was rendered."""

    shop_id: str
    version: int
    shop_version: int
    hour: int
    # When the versions were read: the number of changes of tokens and shops, and the event loop's time in seconds.
    changes: int
    checked_at: float
    body: bytes


class RenderedOrders:
    """The answers of one process, by token and code."""

    def __init__(self, database: Database) -> None:
        """Create it on a running event loop."""
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._rendered: dict[tuple[bytes, str], Rendered] = {}
        # The kept orders, by shop and code, that have not changed since their versions were read.
        self._unchanged: set[tuple[str, str]] = set()
        self.changes = 0
        database.subscribe_orders(self._unchanged.difference_update)
        for table in ("api_tokens", "shops"):
            database.subscribe(table, self._note_change)

    def find_unchanged(self, token_hash: bytes, code: str, now_millis: int) -> Rendered | None:
        """Return the answer if it is certainly the present one at this business time."""
        known = self._rendered.get((token_hash, code))
        if known is None or known.changes != self.changes or known.hour != now_millis // _MILLIS_PER_HOUR:
            return None
        is_checked = self._loop.time() - known.checked_at < _CHECKED_SECONDS and not self._database.is_shared
        return known if is_checked and (known.shop_id, code) in self._unchanged else None

    async def find(self, token_hash: bytes, code: str, now_millis: int) -> Rendered | None:
        """Return the answer if its versions are the present ones. None for a token that is not valid, and if the answer
        must be rendered."""
        known = self._rendered.get((token_hash, code))
        if known is None or known.hour != now_millis // _MILLIS_PER_HOUR:
            return None
        changes, now = self.changes, self._loop.time()
        self._unchanged.add((known.shop_id, code))
        versions = await self._database.read_point(lambda view: store.versions_for_token(view, token_hash, code))
        if versions != (known.shop_id, known.shop_version, known.version):
            return None
        self._rendered[token_hash, code] = known._replace(changes=changes, checked_at=now)
        return known

    def keep(
        self, token_hash: bytes, code: str, caller: store.Caller, now_millis: int, changes: int, body: bytes
    ) -> None:
        """Keep an answer, unless the order is not the shop's. `changes` is the value from before the caller was
        read."""
        found = caller.found
        if found is None:
            return
        if len(self._rendered) >= _MOST:
            self._rendered.clear()
            self._unchanged.clear()
        hour = now_millis // _MILLIS_PER_HOUR
        versions = (found.version, caller.shop_version)
        rendered = Rendered(caller.shop.id, *versions, hour, changes, self._loop.time(), body)
        self._rendered[token_hash, code] = rendered

    def _note_change(self) -> None:
        self.changes += 1
