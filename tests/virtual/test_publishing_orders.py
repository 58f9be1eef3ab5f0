"""Published stock, and the orders that change it: a connector that answers orders and publishes."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.connector import Connector
from kalathi.merchant.habits import Habits
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.reservations import Claim
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
    reconcile_seconds = 1.0
    orders = OrderPolicy()

    def open(self) -> None:
        super().open()
        # The answers to the fetches of some orders; with `hidden`, no list shows orders.
        self.broken: dict[str, HttpAnswer] = {}
        self.hidden = False
        self.connect()

    def connect(self, recipient: Any = None, *, told_orders_are_counted: bool = False) -> None:
        """Start the connector anew on the same inbox."""
        self.connector = Connector(
            self.context.client,
            self.inbox,
            self.stock,
            FolderPrinter(self.folder / "out"),
            self.told.append,
            policy=Policy(stock=self.policy, orders=self.orders),
            recipient=recipient,
            habits=Habits(
                reconcile_seconds=self.reconcile_seconds,
                reconcile_again_seconds=1.0,
                told_orders_are_counted=told_orders_are_counted,
            ),
            publishes_stock=True,
            clock=self.clock,
        )
        assert self.connector.publisher is not None
        self.publisher = self.connector.publisher

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        if self.is_down and "/ecommerce/" in url:
            return HttpAnswer(503, b"")
        path = urlsplit(url).path
        if self.hidden and path.endswith("/orders"):
            return HttpAnswer(200, json.dumps({"orders": [], "meta": {}}).encode())
        if method == "GET" and path.rpartition("/")[2] in self.broken:
            return self.broken[path.rpartition("/")[2]]
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


@pytest.mark.parametrize("status", [503, 429])
async def test_nothing_is_published_while_an_order_cannot_be_fetched(tmp_path: Path, status: int) -> None:
    async with selling(tmp_path, _shelf(A=1)) as shop:
        await shop.shop.count({"A": 1})
        code = await shop.shop.cart(A=1)
        await shop.shop.accept(code)
        shop.broken = {code: HttpAnswer(status, b"", {"retry-after": "120"})}
        await shop.work()
        assert not shop.batches
        shop.broken = {}
        await shop.work(120)
        assert [batch[0]["quantity"] for batch in shop.batches] == [0]


async def test_an_order_that_can_never_be_fetched_delays_publishing_by_ten_minutes(tmp_path: Path) -> None:
    async with selling(tmp_path, _shelf(A=3)) as shop:
        shop.broken = {await shop.shop.cart(A=1): HttpAnswer(503, b"")}
        await shop.work(60)
        assert not shop.batches
        await shop.work(300)
        assert shop.batches


async def test_a_hand_over_that_hangs_does_not_delay_publishing(tmp_path: Path) -> None:
    class Hanging:
        async def receive(self, code: str, body: bytes) -> None:
            await asyncio.Event().wait()

    async with selling(tmp_path, _shelf(A=3)) as shop:
        shop.connect(recipient=Hanging())
        await shop.shop.cart(A=1)
        await shop.advance(10)
        await shop.connector.check()
        working = asyncio.create_task(shop.connector.work())
        async with asyncio.timeout(10):
            while not shop.batches:
                await shop.advance(5)
                await shop.publisher.publish()
                await asyncio.sleep(0.01)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert shop.batches[0][0]["quantity"] == 2


async def test_an_open_order_with_an_unreadable_member_counts(tmp_path: Path) -> None:
    async with selling(tmp_path, _shelf(A=5)) as shop:
        await shop.work()
        code = await shop.shop.cart(A=2)
        order = await shop.shop.show(code)
        shop.broken = {code: HttpAnswer(200, json.dumps({"order": order | {"express": "perhaps"}}).encode())}
        await shop.work()
        assert shop.connector.publisher is not None
        shop.stock.shelf = _shelf(A=4)
        await shop.work()
        assert await shop.offered() == 2


async def test_an_order_that_the_shops_system_counts_is_counted_once(tmp_path: Path) -> None:
    async with selling(tmp_path, _shelf(A=5), person_above=Decimal(1)) as shop:
        received: list[object] = []

        class Receiving:
            async def receive(self, code: str, body: bytes) -> None:
                received.append(body)

        shop.stock.lags = True
        shop.connect(recipient=Receiving(), told_orders_are_counted=True)
        await shop.work()
        await shop.shop.cart(A=2)
        await shop.work()
        assert received
        assert await shop.offered() == 3
        # The shop's system has lowered its file.
        shop.stock.shelf = _shelf(A=3)
        for _ in range(3):
            await shop.work()
        assert await shop.offered() == 3


async def test_an_order_that_is_reserved_and_waits_for_a_person_is_counted_once(tmp_path: Path) -> None:
    async with selling(tmp_path, _shelf(A=5)) as shop:
        code = await shop.shop.cart(A=2)
        shop.inbox.reservations.reserve(code, [Claim(("A",), 2)])
        shop.orders = OrderPolicy(person_above=Decimal(1))
        shop.connect()
        await shop.work()
        assert await shop.offered() == 3


async def test_an_order_that_the_marketplace_no_longer_has_is_forgotten(tmp_path: Path) -> None:
    async with selling(tmp_path, _shelf(A=5), person_above=Decimal(1)) as shop:
        await shop.work()
        code = await shop.shop.cart(A=2)
        await shop.work()
        assert await shop.offered() == 3
        shop.reconcile_seconds = 300.0
        shop.connect()
        await shop.work()
        assert await shop.offered() == 3
        shop.hidden = True
        missing = {"errors": [{"code": "order_not_found", "messages": ["Order not found."]}]}
        shop.broken = {code: HttpAnswer(404, json.dumps(missing).encode())}
        await shop.advance(300)
        for _ in range(3):
            await shop.work()
        assert await shop.offered() == 5
