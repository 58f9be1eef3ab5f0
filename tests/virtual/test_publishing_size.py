"""A shop with many products: a changed file is published in few calls, fast, and with steady memory."""

import gc
import json
import os
import random
import time
import tracemalloc
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from kalathi.merchant.client import AsyncClient, Retries
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.context import Context
from kalathi.merchant.habits import Habits
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.metrics import ConnectorMetrics
from kalathi.merchant.policy import StockPolicy
from kalathi.merchant.promises import Promises
from kalathi.merchant.stock import CsvStock
from kalathi.merchant.stock_publisher import StockPublisher
from kalathi.merchant.stock_reader import StockReader
from tests.unit.orders import NOW

pytestmark = pytest.mark.anyio

# `make chaos` asks for a hundred thousand.
PRODUCTS: Final = int(os.environ.get("KALATHI_TEST_PUBLISHING_PRODUCTS", "5000"))
SECONDS_FOR_100_000: Final = 30.0
GROWTH_BYTES: Final = 1_000_000


class Acceptance:
    """A marketplace that takes each batch, and completes it before its status is read."""

    def __init__(self) -> None:
        self.batches: dict[str, list[str]] = {}
        self.calls = 0

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        if method == "POST":
            self.calls += 1
            batch_id = f"{self.calls:024x}"
            self.batches[batch_id] = [entry["product_id"] for entry in json.loads(body or b"")["data"]]
            return HttpAnswer(200, json.dumps({"success": True, "id": batch_id}).encode())
        batch_id = url.split("/")[-2]
        results: list[dict[str, object]] = [
            {"product_id": product_id, "status": "success", "message": None, "executed_at": None, "variations": []}
            for product_id in self.batches.pop(batch_id)
        ]
        status = {"id": batch_id, "status": "completed", "created_at": NOW.isoformat(), "results": results}
        return HttpAnswer(200, json.dumps(status).encode())

    async def close(self) -> None:
        pass


def _write(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rows = "".join(f"SKU-{n:06},{chance.randrange(10**6)},{chance.randint(100, 999)}.00\n" for n in range(PRODUCTS))
    path.write_text(f"shop_uid,quantity,price\n{rows}", "utf-8")
    os.utime(path, (NOW.timestamp() + seed, NOW.timestamp() + seed))


async def test_a_changed_file_is_published_in_few_calls_fast_and_with_steady_memory(tmp_path: Path) -> None:
    market = Acceptance()
    path = tmp_path / "stock.csv"
    now = [NOW.timestamp()]
    client = AsyncClient("http://market", "t", products_token="p", transport=market, retries=Retries(attempts=1))
    inbox = Inbox(tmp_path / "inbox.db")
    context = Context(
        client=client,
        inbox=inbox,
        tell=lambda _line: None,
        habits=Habits(),
        metrics=ConnectorMetrics(),
        clock=lambda: now[0],
    )
    promises = Promises(inbox.publications)
    reader = StockReader(context, CsvStock(path, clock=lambda: now[0]))
    publisher = StockPublisher(context, reader, StockPolicy(largest_price_fall=Decimal(1)), promises)
    promises.await_orders([], now[0])

    async def publish(seed: int) -> float:
        """Publish a new file up to its results; return the seconds of processor time."""
        _write(path, seed)
        before = time.process_time()
        for seconds in (5, 5, 10):
            now[0] += seconds
            await publisher.publish()
        return time.process_time() - before

    await publish(1)
    market.calls = 0
    seconds = await publish(2)
    print(f"{PRODUCTS} products in {market.calls} calls: {seconds:.1f} s of processor time")
    assert market.calls == -(-PRODUCTS // 500)
    assert not market.batches
    assert inbox.publications.counts() == (PRODUCTS, 0)
    # The bound is the promise of docs/publish-stock.md: about three times the need of a busy machine.
    assert seconds * 100_000 / PRODUCTS < SECONDS_FOR_100_000
    tracemalloc.start()
    try:
        await publish(3)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        await publish(4)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - held < GROWTH_BYTES
    finally:
        tracemalloc.stop()
        inbox.close()
