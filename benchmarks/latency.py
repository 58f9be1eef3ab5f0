"""Measure the time from an event to the first byte at the shop's endpoint, with one worker, at a constant rate.

Arguments: ENDPOINT EVENTS RATE SLOW_SHOPS FOLDER [DATABASE]. Prints the p50 and p99 of the healthy shops in
milliseconds: since the commit was on disk, and since it was begun. Slow shops get one event in ten, and answer after
eight seconds.
"""

import asyncio
import json
import sys
import time
import urllib.request
from pathlib import Path

import uvloop

from kalathi.marketplace.app import open_marketplace
from kalathi.marketplace.kernel.ids import opaque_id
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.shops import commands
from kalathi.marketplace.shops.model import NewLocation, NewShop
from kalathi.marketplace.webhooks.store import announce
from kalathi.serving import spare_the_collector, start_logging

SHOPS = 100
FILLING = "x" * 2700
# The first events open connections and fill caches.
WARM_SHARE = 0.2


async def measure(endpoint: str, count: int, rate: float, slow: int, settings: Settings) -> dict[str, float]:
    """Commit events at the rate, and return the percentiles."""
    marketplace = await open_marketplace(settings, "http://127.0.0.1")
    context = marketplace._context
    shops = []
    for number in range(SHOPS + slow):
        url = f"{endpoint}/{'hook' if number < SHOPS else 'slow'}"
        new = NewShop(name="S", domain="s", webhook_url=url, locations=(NewLocation(street_name="a"),))
        changes, shop = commands.add_shop(new, [opaque_id(), opaque_id()], opaque_id())
        await context.database.commit(changes)
        shops.append(shop.id)
    marketplace.start()
    begun: dict[str, float] = {}
    done: dict[str, float] = {}

    async def commit(number: int) -> None:
        is_slow = slow and number % 10 == 0
        shop_id = shops[SHOPS + number // 10 % slow] if is_slow else shops[number % SHOPS]
        name = f"{'s' if is_slow else 'o'}{number:07}"
        body = f'{{"order":"{name}","filling":"{FILLING}"}}'.encode()
        now = context.clock.now_millis()
        rows = announce(shop_id, name, 1, event_type="new_order", body=body, at_millis=now, has_url=True)
        begun[name] = time.monotonic()
        await context.database.commit(ChangeSet(*rows))
        done[name] = time.monotonic()

    tasks = []
    started = time.monotonic()
    for number in range(count):
        wait = started + number / rate - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(commit(number)))
    await asyncio.gather(*tasks)
    await asyncio.sleep(2)
    arrived = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(endpoint).read()))
    await marketplace.stop()
    names = [f"o{number:07}" for number in range(int(count * WARM_SHARE), count) if f"o{number:07}" in done]
    assert all(name in arrived for name in names), "an event of a healthy shop did not arrive within two seconds"
    figures: dict[str, float] = {}
    for kind, since in (("commit", done), ("call", begun)):
        millis = sorted((arrived[name] - since[name]) * 1000 for name in names)
        figures |= {f"{kind}_p50": millis[len(millis) // 2], f"{kind}_p99": millis[len(millis) * 99 // 100]}
    return figures


if __name__ == "__main__":
    spare_the_collector()
    start_logging()
    endpoint, count, rate, slow, folder, *database = sys.argv[1:]
    settings = Settings(data=Path(folder), database=database[0] if database else "", operator_token="t")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measure(endpoint, int(count), float(rate), int(slow), settings))))
