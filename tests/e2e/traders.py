"""Shops that place and accept orders without a pause, and count the answers."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.e2e.processes import Caller, Endpoint

# Of a shop: below the limit of the machine, so that a rate falls only if calls fail or wait.
_PAUSE_SECONDS = 0.15


class Trader:
    """A shop that places and accepts orders, one after the other, and counts the answers."""

    def __init__(self, caller: Caller, shop_id: str, token: str) -> None:
        self.caller = caller
        self.shop_id = shop_id
        self.token = token
        self.statuses: Counter[int] = Counter()
        self.accepted: list[str] = []

    async def trade(self) -> None:
        """Go on until cancelled."""
        while True:
            began = time.monotonic()
            status, answer = await self.caller.try_to_operate("POST", "/marketplace/carts", Caller.one(self.shop_id))
            self.statuses[status] += 1
            if status == 201:
                await self._accept(answer["orders"][0]["code"])
            await asyncio.sleep(max(_PAUSE_SECONDS - (time.monotonic() - began), 0))

    async def _accept(self, code: str) -> None:
        status, shown = await self.caller.merchant(self.token, "GET", code)
        self.statuses[status] += 1
        if status == 200:
            options = shown["order"]["accept_options"]
            body = {name: options[name][0]["id"] for name in ("pickup_location", "pickup_window")}
            status, _ = await self.caller.merchant(self.token, "POST", f"{code}/accept", body)
            self.statuses[status] += 1
            if status == 200:
                self.accepted.append(code)


@asynccontextmanager
async def trading(traders: list[Trader]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(trader.trade()) for trader in traders]
    yield
    for task in tasks:
        assert not task.done(), task.exception()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def list_undelivered(shop_side: Endpoint, traders: list[Trader]) -> list[str]:
    """Wait up to a minute for the events of each accepted order. Return the orders whose events are missing."""
    codes = [code for trader in traders for code in trader.accepted]
    missing = codes
    for _ in range(120):
        missing = [code for code in codes if ("order_updated", "accepted") not in shop_side.by_order[code]]
        if not missing:
            break
        await asyncio.sleep(0.5)
    return missing
