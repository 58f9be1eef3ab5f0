"""Measure the deliveries a second of one worker with durable records, and of bare loops: aiohttp, and our sender."""

import asyncio
import sys
import time
from pathlib import Path

import aiohttp
import uvloop

from kalathi.marketplace.app import open_marketplace
from kalathi.marketplace.kernel.due import DueKind, find_earliest_by_kind
from kalathi.marketplace.kernel.ids import opaque_id
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.shops import commands
from kalathi.marketplace.shops.model import NewLocation, NewShop
from kalathi.marketplace.webhooks.sending import WebhookSender, webhook_headers
from kalathi.marketplace.webhooks.store import announce
from kalathi.serving import spare_the_collector, start_logging

SHOPS = 100
BODY = b'{"event_type":"new_order","order":"' + b"x" * 2700 + b'"}'
USER_AGENT = "Skroutz OrderNotifier v1"


async def _ours(folder: Path, database: str, endpoint: str, count: int) -> float:
    settings = Settings(data=folder, database=database, operator_token="t")
    marketplace = await open_marketplace(settings, "http://127.0.0.1")
    kept = marketplace._context.database
    try:
        await _plan(marketplace, endpoint, count)
        started = time.perf_counter()
        marketplace.start()
        while DueKind.DELIVERY in await kept.read_point(find_earliest_by_kind):
            await asyncio.sleep(0.05)
        return count / (time.perf_counter() - started)
    finally:
        await marketplace.stop()


async def _plan(marketplace: object, endpoint: str, count: int) -> None:
    context = marketplace._context  # type: ignore[attr-defined]  # the benchmark puts rows where orders would
    now = context.clock.now_millis()
    shops = []
    for _ in range(SHOPS):
        new = NewShop(name="S", domain="s", webhook_url=endpoint + "/hook", locations=(NewLocation(street_name="a"),))
        changes, shop = commands.add_shop(new, [opaque_id(), opaque_id()], opaque_id())
        await context.database.commit(changes)
        shops.append(shop.id)
    for first in range(0, count, 500):
        rows = ChangeSet()
        for number in range(first, min(first + 500, count)):
            shop_id = shops[number % SHOPS]
            rows.add(
                *announce(shop_id, f"o{opaque_id()}", 1, event_type="new_order", body=BODY, at_millis=now, has_url=True)
            )
        await context.database.commit(rows)


async def _only_plan(count: int, database: str, endpoint: str) -> None:
    settings = Settings(data=Path(), database=database, operator_token="t")
    marketplace = await open_marketplace(settings, "http://127.0.0.1")
    await _plan(marketplace, endpoint, count)
    await marketplace.stop()


async def _bare_sender(endpoint: str, count: int) -> float:
    sender = WebhookSender(user_agent=USER_AGENT, timeout_seconds=10, connections=50)
    left = iter(range(count))

    async def send() -> None:
        for _ in left:
            answer = await sender.post(endpoint + "/hook", BODY)
            assert answer.delivered

    started = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(50)))
    seconds = time.perf_counter() - started
    await sender.close()
    return count / seconds


async def _bare(endpoint: str, count: int) -> float:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=50)) as session:
        left = iter(range(count))

        async def send() -> None:
            for _ in left:
                async with session.post(endpoint + "/hook", data=BODY, headers=webhook_headers(USER_AGENT)) as response:
                    await response.read()

        started = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(50)))
        return count / (time.perf_counter() - started)


if __name__ == "__main__":
    # This runs as a separate process, like a worker. Arguments: KIND ENDPOINT COUNT [FOLDER DATABASE], or
    # plan COUNT DATABASE [ENDPOINT].
    spare_the_collector()
    start_logging()
    kind, endpoint, count, *where = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if kind == "plan":
            runner.run(_only_plan(int(endpoint), count, where[0] if where else "http://127.0.0.1:1"))
        elif kind == "aiohttp":
            print(runner.run(_bare(endpoint, int(count))))
        elif kind == "sender":
            print(runner.run(_bare_sender(endpoint, int(count))))
        else:
            print(runner.run(_ours(Path(where[0]), where[1] if len(where) > 1 else "", endpoint, int(count))))
