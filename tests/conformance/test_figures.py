"""Figures of days and numbers by state against a plain count of the orders, on every database."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from kalathi.contract.codec import encode
from kalathi.contract.words import OrderState
from kalathi.marketplace.app import open_marketplace
from kalathi.marketplace.figures import store
from kalathi.marketplace.figures.folding import MINUTE_MILLIS, DeliveryMinute, fold, read_minutes
from kalathi.marketplace.figures.model import MARKETPLACE, Figure, day_of
from kalathi.marketplace.kernel.clock import from_millis
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.panel.minute_rows import find_quantile, list_minutes
from tests.market import OPERATOR_TOKEN, FakeNetwork, FakeTime, Market, Shop

pytestmark = pytest.mark.anyio

_SEED = 20261130
_SINCE = "2020-01-01"


@asynccontextmanager
async def _open(database_url: str, folder: Path) -> AsyncIterator[Market]:
    """A marketplace that counts only when a test says so: its worker is not started."""
    settings = Settings(data=folder, database=database_url, operator_token=OPERATOR_TOKEN)
    network, time = FakeNetwork(), FakeTime()
    marketplace = await open_marketplace(settings, "http://market", real=time, sender=network)
    try:
        yield Market(marketplace, network, time)
    finally:
        await marketplace.stop()


async def _count_all(market: Market) -> None:
    await market.marketplace.folding.count_moves(asyncio.Event())


async def _play(market: Market, shop: Shop, rng: random.Random, orders: int) -> Counter[str]:
    """Random answers, days apart; returns the expected figures of the shop."""
    expected: Counter[str] = Counter()
    for _ in range(orders):
        pieces = rng.randint(1, 3)
        code = await shop.cart(A=pieces)
        expected["placed"] += 1
        late = rng.choice((0, 30, 120))
        market.time.millis += late * 60_000
        match rng.choice(("accept", "reject", "cancel", "leave")):
            case "accept":
                await shop.accept(code)
                expected += Counter({"accepted": 1, "product=A": pieces, "within_day": 1, "within_hour": late < 60})
            case "reject":
                line = (await shop.show(code))["line_items"][0]["id"]
                body = {"line_items": [{"id": line, "reason_id": 1}]}
                assert (await shop.call("POST", f"/orders/{code}/reject", body)).status == 200
                expected += Counter({"rejected": 1, "reason": 1, "within_day": 1, "within_hour": late < 60})
            case "cancel":
                await market.operate("POST", f"/marketplace/orders/{code}/cancel")
                expected["cancelled"] += 1
            case _:
                pass
        if rng.random() < 0.2:
            market.time.millis += 86_400_000 // 2
        if rng.random() < 0.3:
            await _count_all(market)
    return +expected


def _sums(view: View, shop_id: str) -> Counter[str]:
    rows = view.all("SELECT name, sum(value) FROM day_figures WHERE shop_id = :id GROUP BY name", {"id": shop_id})
    sums: Counter[str] = Counter()
    for name, value in rows:
        if name not in {Figure.PLACED_VALUE} and not name.startswith(Figure.REASON_COST):
            sums["reason" if name.startswith(Figure.REASON) else name] += int(value)
    return sums


def _count_states(view: View) -> dict[str, int]:
    return dict(view.all("SELECT state, count(*) FROM orders GROUP BY state", {}))


async def test_figures_are_those_of_a_plain_count(database_url: str, tmp_path: Path) -> None:
    rng = random.Random(_SEED)
    async with _open(database_url, tmp_path) as market:
        shops = [await market.shop(quantity=10_000) for _ in range(2)]
        expected = [await _play(market, shop, rng, 40) for shop in shops]
        database = market.marketplace.database
        # Numbers by state count the transitions of the last seconds too.
        assert await database.read(store.load_state_counts) == await database.read(_count_states), _SEED
        await _count_all(market)
        for shop, figures in zip(shops, expected, strict=True):
            assert await database.read(partial(_sums, shop_id=shop.id)) == figures, _SEED
        assert await database.read(store.load_state_counts) == await database.read(_count_states)
        assert await database.read(lambda view: store.load_moves(view, 10)) == []
        of_all = await database.read(lambda view: store.load_figures(view, MARKETPLACE, [Figure.PLACED], _SINCE))
        assert sum(figure.value for figure in of_all) == sum(figures["placed"] for figures in expected)


async def test_figures_stand_on_the_day_in_athens(database_url: str, tmp_path: Path) -> None:
    async with _open(database_url, tmp_path) as market:
        shop = await market.shop()
        # 22:30 in UTC is half an hour after midnight in Athens.
        now = from_millis(market.time.millis)
        midnight = (now + timedelta(days=1)).replace(hour=22, minute=30)
        market.time.millis += int((midnight - now) / timedelta(milliseconds=1))
        await shop.cart(A=1)
        await _count_all(market)
        [figure] = await market.marketplace.database.read(
            lambda view: store.load_figures(view, shop.id, [Figure.PLACED], _SINCE)
        )
        assert (figure.day, figure.value) == (day_of(midnight), 1)
        assert figure.day == (midnight + timedelta(days=1)).date().isoformat()


async def test_two_processes_that_count_at_once_count_each_transition_once(database_url: str, tmp_path: Path) -> None:
    async with _open(database_url, tmp_path) as market:
        shop = await market.shop(quantity=1000)
        for _ in range(30):
            await shop.cart(A=1)
        database = market.marketplace.database
        await asyncio.gather(*(database.run(fold) for _ in range(4)))
        [figure] = await database.read(lambda view: store.load_figures(view, shop.id, [Figure.PLACED], _SINCE))
        assert figure.value == 30
        assert (await database.read(store.load_state_counts))[OrderState.OPEN] == 30


async def test_a_counted_order_that_is_deleted_meanwhile_counts_for_nothing(database: Database) -> None:
    def count(view: View) -> int:
        changes, number = fold(view)
        assert not changes.inserts
        return number

    assert await database.read(count) == 0


async def test_deliveries_of_a_minute_have_outcomes_durations_and_the_oldest(database_url: str, tmp_path: Path) -> None:
    async with _open(database_url, tmp_path) as market:
        metrics = market.marketplace.database.metrics
        for seconds in (0.004, 0.004, 0.004, 0.3):
            metrics.note_attempt("s1", "delivered", seconds, delivered=True)
        metrics.note_attempt("s2", "exhausted", 9.0, delivered=False)
        await market.marketplace.folding.write_minute()
        minute = market.time.millis // MINUTE_MILLIS
        database = market.marketplace.database
        found = read_minutes(await database.read(lambda view: store.load_minutes(view, minute)))
        [row] = list_minutes(found, minute, 1)
        assert (row.delivered, row.failed, row.half_millis, row.most_millis) == (4, 1, 5, 5000)
        assert await database.read(lambda view: store.sum_figures(view, MARKETPLACE, Figure.FAILED, _SINCE)) == {
            "s2": 1
        }
        # A window is written once.
        market.time.millis += MINUTE_MILLIS
        await market.marketplace.folding.write_minute()
        assert await database.read(lambda view: store.load_minutes(view, minute + 1)) == []


def test_minutes_of_several_processes_are_added() -> None:
    one = DeliveryMinute(delivered=1, failed=0, buckets=[1, 0], oldest_seconds=3)
    other = DeliveryMinute(delivered=2, failed=1, buckets=[1, 2], oldest_seconds=2)
    rows = [(7, encode(one)), (7, encode(other))]
    assert read_minutes(rows) == {7: DeliveryMinute(delivered=3, failed=1, buckets=[2, 2], oldest_seconds=3)}
    assert find_quantile([0] * 14, 0.5) == 0
