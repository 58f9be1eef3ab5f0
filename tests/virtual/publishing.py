"""A shop that publishes its stock to a marketplace of this process."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kalathi.merchant.client import AsyncClient, Retries, UnreachableError
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.context import Context
from kalathi.merchant.habits import Habits
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.reservations import Claim
from kalathi.merchant.metrics import ConnectorMetrics
from kalathi.merchant.policy import StockPolicy
from kalathi.merchant.promises import Promises
from kalathi.merchant.stock import Shelf
from kalathi.merchant.stock_publisher import StockPublisher
from kalathi.merchant.stock_reader import StockReader
from tests.market import NOON, Market, Shop


class FakeStock:
    """A source whose shelf a test sets."""

    sends_itself = True
    lags = False
    poll_seconds = 30.0

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    async def read(self) -> Shelf:
        return self.shelf

    async def refresh(self) -> Shelf:
        return self.shelf


class Publishing:
    """The publisher of one shop, its inbox and its clock, which is the marketplace's. `lost` answers are cut off."""

    def __init__(self, market: Market, shop: Shop, folder: Path, shelf: Shelf, policy: StockPolicy) -> None:
        self.market = market
        self.shop = shop
        self.folder = folder
        self.stock = FakeStock(shelf)
        self.policy = policy
        self.told: list[str] = []
        self.seconds = NOON.timestamp()
        self.batches: list[list[dict[str, Any]]] = []
        self.lost = 0
        self.inbox = Inbox(folder / "inbox.db")
        self.open()

    def open(self) -> None:
        """Start the publisher on the inbox, again after a kill."""
        self.inbox.close()
        self.inbox = Inbox(self.folder / "inbox.db")
        client = AsyncClient(
            "http://market",
            self.shop.token,
            products_token=self.shop.products_token,
            transport=self,  # type: ignore[arg-type]  # its close is that of the inbox
            retries=Retries(attempts=1),
        )
        self.context = Context(
            client=client,
            inbox=self.inbox,
            tell=self.told.append,
            habits=Habits(),
            metrics=ConnectorMetrics(self.clock),
            clock=self.clock,
        )
        self.promises = Promises(self.inbox.publications)
        self.publisher = StockPublisher(self.context, StockReader(self.context, self.stock), self.policy, self.promises)
        self.promises.await_orders([], self.clock())

    def clock(self) -> float:
        """Seconds since 1970."""
        return self.seconds

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        """The network of the client."""
        answer = await self.market.call(method, urlsplit(url).path, body, headers)
        if url.endswith("/batch") and answer.status == 200:
            self.batches.append(read_batch(body))
        if self.lost:
            self.lost -= 1
            raise UnreachableError("the answer was lost")
        date = format_datetime(datetime.fromtimestamp(self.seconds, UTC), usegmt=True)
        return HttpAnswer(answer.status, answer.body, {**answer.headers, "date": date})

    def close(self) -> None:
        """Close the inbox. The client itself is never closed."""
        self.inbox.close()

    async def advance(self, seconds: int) -> None:
        """Let time pass at both sides."""
        self.seconds += seconds
        await self.market.advance(seconds)

    async def publish(self, seconds: int = 10) -> None:
        """Look for differences, wait until they are due, and send them; then read the results."""
        await self.publisher.publish()
        await self.advance(seconds)
        await self.publisher.publish()
        await self.advance(seconds)
        await self.publisher.publish()

    def hold(self, **pieces: int) -> None:
        """Hold pieces for an order."""
        self.inbox.reservations.reserve(f"o{pieces}", [Claim((uid,), quantity) for uid, quantity in pieces.items()])

    def notices(self) -> str:
        """The open notices, in one text."""
        return "\n".join(notice.text for notice in self.inbox.notices.open())

    async def listings(self) -> dict[str, tuple[int, float, bool]]:
        """The quantity, the price and the availability of each listing."""
        answer = await self.market.operate("GET", f"/marketplace/shops/{self.shop.id}/listings")
        return {
            entry["shop_uid"]: (entry["quantity"], entry["unit_price"], entry["enabled"])
            for entry in answer["listings"]
        }


def read_batch(body: bytes | None) -> list[dict[str, Any]]:
    """The products of a batch."""
    found: list[dict[str, Any]] = json.loads(body or b"{}")["data"]
    return found
