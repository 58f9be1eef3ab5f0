"""Deterministic simulation: hundreds of thousands of deliveries by the real engine, of which none is lost."""

import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from kalathi.marketplace.kernel.storage.database import View
from tests.virtual.simulated import Manner, World, run_in_virtual_time

DELIVERIES = int(os.environ.get("KALATHI_TEST_DELIVERIES", "10000"))
_MINUTE_MILLIS = 60_000
_PLANNED_MINUTES = (0, 1, 5, 19)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: no machine is switched off here, and a million commits need no disk."""
    shared = Path("/dev/shm")
    if not shared.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="kalathi-", dir=shared) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A line for each of a million attempts takes longer than the attempts."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield
    structlog.reset_defaults()


async def _traffic(world: World, events: int, rate: float) -> None:
    """Orders of all shops at this many events a second of virtual time."""
    shop_ids = list(world.manners)
    told = 0
    orders = set()
    while told < events:
        order = asyncio.create_task(world.tell(world.chance.choice(shop_ids)))
        orders.add(order)
        order.add_done_callback(orders.discard)
        told += 2
        await asyncio.sleep(world.chance.expovariate(rate / 2))
    await asyncio.gather(*orders)


async def _crashes(world: World, seconds: float) -> None:
    while True:
        await asyncio.sleep(world.chance.uniform(0, 2 * seconds))
        await world.crash_one()


async def _comings_and_goings(world: World, seconds: float) -> None:
    """Workers join and leave. The clocks of some are off by more than a lease, so that two workers believe they own the
    same shops."""
    while True:
        await asyncio.sleep(world.chance.uniform(0, 2 * seconds))
        if len(world.workers) > 2 and world.chance.random() < 0.5:
            await world.leave_one()
        else:
            world.start_worker(skew_millis=world.chance.choice((0, 0, -30_000, 30_000)))


async def _life(folder: Path, seed: int, events: int) -> tuple[Counter[str], int, str]:
    world = World(folder, seed, failures=0.002)
    await world.open_shops({manner: 30 if manner is Manner.HEALTHY else 4 for manner in Manner})
    for _ in range(3):
        world.start_worker()
    changing = [asyncio.create_task(_crashes(world, 8.0)), asyncio.create_task(_comings_and_goings(world, 8.0))]
    await _traffic(world, events, 100.0)
    for task in changing:
        task.cancel()
    await asyncio.gather(*changing, return_exceptions=True)
    world.start_worker()
    await world.settle()
    outcomes = await world.database.read_point(lambda view: _checked(view, world))
    fingerprint = f"{world.sends} sends, {world.crashes} crashes, {world.loop.time():.6f} s"
    await world.stop()
    return outcomes, world.sends, fingerprint


def _checked(view: View, world: World) -> Counter[str]:
    """Check that the records agree with the shops' requests, and with the contract's four attempts and minutes."""
    assert world.broken == []
    outcomes: Counter[str] = Counter()
    attempts: dict[tuple[str, str, int], list[tuple[int, int, str]]] = {}
    for shop_id, subject, sequence, number, at, outcome in view.all(
        "SELECT shop_id, subject, sequence, number, at, outcome FROM delivery_attempts ORDER BY number", {}
    ):
        attempts.setdefault((shop_id, subject, sequence), []).append((number, at, outcome))
    told = {
        (shop_id, subject, sequence): created_at
        for shop_id, subject, sequence, created_at in view.all(
            "SELECT shop_id, subject, sequence, created_at FROM webhook_events", {}
        )
    }
    assert set(told) == set(world.seen)
    for event, seen in world.seen.items():
        recorded = attempts[event]
        words = [outcome for _, _, outcome in recorded]
        assert [number for number, _, _ in recorded] == list(range(1, len(recorded) + 1))
        assert len(recorded) <= 4, event
        assert len(recorded) <= seen.ended, "what is recorded was sent"
        assert words[:-1] == ["retry"] * (len(words) - 1), event
        # Fewer than four only if the endpoint sent a Retry-After beyond the last attempt.
        asked_for_time = recorded[-1][1] >= told[event] + 20 * _MINUTE_MILLIS - 1
        assert words[-1] == "delivered" or (words[-1] == "exhausted" and (len(words) == 4 or asked_for_time)), event
        assert seen.is_answered or words[-1] == "exhausted", event
        for number, at, _ in recorded[1:]:
            assert at >= told[event] + _PLANNED_MINUTES[number - 1] * _MINUTE_MILLIS, "never before its time"
        outcomes[words[-1]] += 1
    return outcomes


def test_no_delivery_is_lost_despite_crashes_and_failing_writes(memory: Path) -> None:
    seed = int(os.environ.get("KALATHI_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}: repeat with KALATHI_TEST_SEED={seed}")
    outcomes, sends, fingerprint = run_in_virtual_time(_life(memory, seed, DELIVERIES))
    print(f"{fingerprint}, {dict(outcomes)}")
    assert sends >= DELIVERIES
    assert outcomes["delivered"] > outcomes["exhausted"] > 0


def test_a_seed_repeats_the_same_run(memory: Path) -> None:
    for name in ("one", "other"):
        (memory / name).mkdir()
    first = run_in_virtual_time(_life(memory / "one", 7, 500))
    assert run_in_virtual_time(_life(memory / "other", 7, 500)) == first


@pytest.mark.parametrize("shops", [100, 1000])
def test_dead_or_slow_shops_do_not_raise_the_p99_of_the_others(memory: Path, shops: int) -> None:
    async def p99(folder: Path, bad: int) -> float:
        world = World(folder, 11)
        manners = {Manner.HEALTHY: shops - bad, Manner.DEAD: bad // 2, Manner.SLOW: bad - bad // 2}
        await world.open_shops(manners)
        world.start_worker()
        await _traffic(world, 8_000, 100.0)
        await world.settle()
        healthy = sorted(world.latencies[Manner.HEALTHY])
        await world.stop()
        assert len(healthy) > 6_000
        return healthy[len(healthy) * 99 // 100]

    for name in ("all", "most"):
        (memory / name).mkdir()
    before = run_in_virtual_time(p99(memory / "all", 0))
    after = run_in_virtual_time(p99(memory / "most", shops // 10))
    print(f"p99 of healthy shops: {before * 1000:.1f} ms, with a tenth dead or slow {after * 1000:.1f} ms")
    assert after <= 1.5 * before
