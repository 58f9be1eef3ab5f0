"""Weeks of random days in seconds, over both changes of the clock in Athens: thousands of orders, and after each step
one state an order, the stock that the model says, and webhooks that tell each difference once."""

import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.market import FakeTime, open_market
from tests.virtual.actors import ACTORS
from tests.virtual.life import FINAL, Life
from tests.virtual.life_returns import ACTIONS

pytestmark = pytest.mark.anyio

ORDERS = int(os.environ.get("KALATHI_TEST_ORDERS", "600"))
# With fewer orders the rarest steps may not come.
IS_LONG: Final = ORDERS >= 1000
EVERYTHING: Final = set(ACTORS) | {"ask_return", "return_expire", *(f"return_{action}" for action in ACTIONS)}


@pytest.mark.parametrize(
    "start", [datetime(2026, 10, 20, 6, tzinfo=UTC), datetime(2027, 3, 22, 6, tzinfo=UTC)], ids=["autumn", "spring"]
)
async def test_days_of_random_orders_send_each_event_exactly_once(tmp_path: Path, start: datetime) -> None:
    seed = int(os.environ.get("KALATHI_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}: repeat with KALATHI_TEST_SEED={seed}")
    async with open_market(tmp_path, time=FakeTime(start)) as market:
        life = Life(market, random.Random(seed))
        await life.open_shops(start.date() + timedelta(days=150))
        while len(life.orders) < ORDERS:
            await life.step()
        # The rarest step, the inspection of a return, may still be to come.
        while IS_LONG and EVERYTHING - set(life.done) and len(life.orders) < 3 * ORDERS:
            await life.step()
        await life.finish()
        print(f"{len(life.orders)} orders, {life.told} webhooks, {life.refused} refusals, {dict(life.done)}")
        if IS_LONG:
            assert set(life.done) == EVERYTHING, "everything that can be done was done"
            # Each parcel of a failed delivery may be back at its shop by now.
            assert {known.shown["state"] for known in life.orders.values()} | {"for_return"} == FINAL
