"""Published stock, and the orders that change it: a connector that answers orders and publishes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.connector import Connector
from kalathi.merchant.habits import Habits
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.policy import OrderPolicy, Policy, StockPolicy
from kalathi.merchant.printing import FolderPrinter
from kalathi.merchant.stock import Shelf
from tests.market import open_market
from tests.virtual.publishing import Publishing

pytestmark = pytest.mark.anyio


def _shelf(**pieces: int) -> Shelf:
    return Shelf(pieces=pieces, prices=dict.fromkeys(pieces, Decimal(10)))


class Selling(Publishing):
    """A shop whose connector answers orders and publishes. The Orders API fails while `is_down`."""

    is_down = False
    orders = OrderPolicy()

    def open(self) -> None:
        super().open()
        self.connector = Connector(
            self.context.client,
            self.inbox,
            self.stock,
            FolderPrinter(self.folder / "out"),
            self.told.append,
            policy=Policy(stock=self.policy, orders=self.orders),
            habits=Habits(reconcile_seconds=1.0, reconcile_again_seconds=1.0),
            publishes_stock=True,
            clock=self.clock,
        )
        assert self.connector.publisher is not None
        self.publisher = self.connector.publisher

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        if self.is_down and "/ecommerce/" in url:
            return HttpAnswer(503, b"")
        return await super().send(method, url, headers, body)

    async def work(self, seconds: int = 10) -> None:
        """Let the connector find orders, answer them and publish."""
        for _ in range(3):
            await self.advance(seconds)
            await self.connector.check()
            await self.connector.work()
            await self.publisher.publish()

    async def offered(self, uid: str = "A") -> int:
        """The number that customers see."""
        return (await self.listings())[uid][0]

    async def cancel(self, code: str) -> None:
        """The customer cancels."""
        await self.market.operate("POST", f"/marketplace/orders/{code}/cancel", {})


@asynccontextmanager
async def selling(tmp_path: Path, shelf: Shelf, **orders: Any) -> AsyncIterator[Selling]:
    """Such a shop; `orders` are members of its policy."""
    async with open_market(tmp_path / "market") as market:
        shop = await market.shop(url=None)
        await shop.products("POST", "/batch", {"data": []})
        kind = type("Told", (Selling,), {"orders": OrderPolicy(**orders)})
        with closing(kind(market, shop, tmp_path / "shop", shelf, StockPolicy())) as found:
            yield found


async def test_a_stale_number_is_corrected_after_a_rejection(tmp_path: Path) -> None:
    async with selling(tmp_path, _shelf(A=0)) as shop:
        await shop.work()
        assert await shop.offered() == 0
        # For example the XML feed has a number from before a sale over the counter.
        await shop.shop.count({"A": 1})
        code = await shop.shop.cart(A=1)
        await shop.work()
        assert (await shop.market.order(code))["order"]["state"] == "rejected"
        assert await shop.offered() == 0


@pytest.mark.parametrize("end", ["cancel", "reject"])
async def test_open_orders_count_and_their_end_corrects_the_number(tmp_path: Path, end: str) -> None:
    async with selling(tmp_path, _shelf(A=5), person_above=Decimal(1)) as shop:
        await shop.work()
        code = await shop.shop.cart(A=2)
        await shop.work()
        assert await shop.offered() == 3
        # A sale over the counter must not offer the promised pieces again.
        shop.stock.shelf = _shelf(A=4)
        await shop.work()
        assert await shop.offered() == 2
        if end == "cancel":
            await shop.cancel(code)
        else:
            lines = (await shop.shop.show(code))["line_items"]
            answers = [{"id": line["id"], "reason_id": 1, "available_quantity": 0} for line in lines]
            await shop.shop.call("POST", f"/orders/{code}/reject", {"line_items": answers})
        await shop.work()
        assert await shop.offered() == 4


async def test_a_number_that_was_clamped_at_zero_is_right_after_a_cancellation(tmp_path: Path) -> None:
    async with selling(tmp_path, _shelf(A=2)) as shop:
        await shop.work()
        code = await shop.shop.cart(A=2)
        await shop.work()
        # The two held pieces were sold over the counter.
        shop.stock.shelf = _shelf(A=0)
        await shop.work()
        assert await shop.offered() == 0
        await shop.cancel(code)
        await shop.work()
        assert await shop.offered() == 0


async def test_nothing_is_published_before_the_orders_are_known(tmp_path: Path) -> None:
    async with selling(tmp_path, _shelf(A=1)) as shop:
        await shop.shop.count({"A": 1})
        await shop.shop.accept(await shop.shop.cart(A=1))
        shop.is_down = True
        await shop.work(60)
        assert not shop.batches
        shop.is_down = False
        await shop.work(60)
        assert [batch[0]["quantity"] for batch in shop.batches] == [0]
        # The same after a restart, for an order of the time in between.
        shop.stock.shelf = _shelf(A=2)
        await shop.work()
        await shop.shop.accept(await shop.shop.cart(A=1))
        shop.open()
        shop.stock.shelf = _shelf(A=3)
        shop.is_down = True
        count = len(shop.batches)
        await shop.work(60)
        assert len(shop.batches) == count
        shop.is_down = False
        await shop.work(60)
        assert await shop.offered() == 1


async def test_pieces_that_another_process_releases_are_published(tmp_path: Path) -> None:
    async with selling(tmp_path, _shelf(A=5)) as shop:
        code = await shop.shop.cart(A=2)
        await shop.work()
        assert await shop.offered() == 3
        beside = Inbox(shop.folder / "inbox.db", beside=True)
        beside.reservations.release(code)
        beside.close()
        await shop.publish()
        assert await shop.offered() == 5


async def test_an_accepted_order_is_counted_once(tmp_path: Path) -> None:
    async with selling(tmp_path, _shelf(A=5)) as shop:
        await shop.work()
        await shop.shop.cart(A=2)
        await shop.work()
        assert await shop.offered() == 3
        assert [batch[0]["quantity"] for batch in shop.batches] == [5, 3]
