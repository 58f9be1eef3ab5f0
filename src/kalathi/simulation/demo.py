"""The demo: run a marketplace and two shops' connectors as processes, and both use cases of the Smart Cart."""

import asyncio
import contextlib
import csv
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from kalathi.operator_calls import OperatorError
from kalathi.simulation.catalogue import BOOKS, CUSTOMERS, ELECTRONICS, DemoShop
from kalathi.simulation.operator import OperatorClient
from kalathi.simulation.processes import KalathiProcess
from kalathi.simulation.story import Story

_STORY_SECONDS: Final = 20
_POLL_SECONDS: Final = 0.05
_AVAILABLE: Final = 1  # how many USB sticks the second shop really has


class Ending(NamedTuple):
    """The result of a use case: whether it is as expected, and the lines to print."""

    good: bool
    lines: list[str]


class _OpenShop(NamedTuple):
    shop_id: str
    shop: DemoShop
    prints: Path


class Demo:
    """One run of the demo in its own folder, which is not deleted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._story = Story()
        self._processes: list[KalathiProcess] = []
        self._shops: dict[str, _OpenShop] = {}
        self._cart_ids: set[str] = set()
        self._sign_in_link = ""

    async def run(self, *, once: bool, seed: int) -> bool:
        """Run both use cases and, without `once`, place more carts until cancelled. Return whether both use cases ended
        as expected."""
        story = self._story
        try:
            story.heading("Starting a marketplace and two shops")
            market = await self._start(
                "marketplace",
                "market",
                ["serve", "--port", "0", "--data", str(self._folder / "market")],
                self._hear_marketplace,
            )
            token = (self._folder / "market" / "operator-token").read_text("utf-8").strip()
            async with OperatorClient(market.address, token) as operator:
                books = await self._open_shop(operator, market.address, BOOKS, "books")
                electronics = await self._open_shop(operator, market.address, ELECTRONICS, "electronics")

                story.heading("Accept: everything is in stock")
                accepted = await self._accept(operator, books)
                story.heading("Reject: one line has limited stock")
                rejected = await self._reject(operator, electronics)
                self._report_endings(accepted, rejected)
                if not once:
                    await self._traffic(operator, seed)
        finally:
            await asyncio.gather(*(process.stop() for process in self._processes))
        return accepted.good and rejected.good

    async def _start(
        self, name: str, slug: str, arguments: list[str], heard: Callable[[str], None] | None = None
    ) -> KalathiProcess:
        log = self._folder / f"{slug}.log"
        process = await KalathiProcess.start(arguments, log, heard or (lambda _line: None))
        self._processes.append(process)
        self._story.step(name, "you", f"ready on {process.address}")
        return process

    async def _open_shop(self, operator: OperatorClient, url: str, shop: DemoShop, slug: str) -> _OpenShop:
        new = {"name": shop.name, "domain": shop.domain, "locations": [shop.location]}
        shop_id, token = await operator.add_shop(new)
        await operator.put_listings(shop_id, shop.listings)
        folder = self._folder / slug
        prints = folder / "printed"
        prints.mkdir(parents=True)
        stock = folder / "stock.csv"
        with stock.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("shop_uid", "quantity"), *shop.shelf.items()])
        arguments = ["merchant", "--port", "0", "--url", url, "--token-file", str(folder / "token")]
        (folder / "token").write_text(token, "utf-8")
        arguments += ["--stock", str(stock), "--print-to", str(prints), "--data", str(folder)]
        process = await self._start(shop.name, slug, arguments, self._story.hear)
        await operator.change_shop(shop_id, {"webhook_url": process.address})
        opened = _OpenShop(shop_id, shop, prints)
        self._shops[shop_id] = opened
        return opened

    async def _place(self, operator: OperatorClient, shop: _OpenShop, wanted: dict[str, int], customer: int) -> str:
        person = CUSTOMERS[customer]
        cart = {
            "customer": person,
            "items": [
                {"shop_id": shop.shop_id, "shop_uid": uid, "quantity": quantity} for uid, quantity in wanted.items()
            ],
            "payment_method": "card",
        }
        cart_id, orders = await operator.place_cart(cart)
        self._cart_ids.add(cart_id)
        code: str = orders[0]["code"]
        pieces = ", ".join(f"{quantity} × {uid}" for uid, quantity in wanted.items())
        self._story.step("customer", "marketplace", f"{person['first_name']} buys {pieces}", code)
        return code

    async def _until(
        self, operator: OperatorClient, shop: _OpenShop, code: str, reached: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Follow an order until it is as expected and its webhooks are delivered, at most 20 seconds."""
        detail: dict[str, Any] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STORY_SECONDS):
                while True:
                    detail = await operator.order(code)
                    self._story.follow(shop.shop.name, detail)
                    pending = any(delivery["state"] == "pending" for delivery in detail["deliveries"])
                    if reached(detail) and not pending and self._story.has_told(detail):
                        break
                    await asyncio.sleep(_POLL_SECONDS)
        return detail

    async def _accept(self, operator: OperatorClient, shop: _OpenShop) -> Ending:
        code = await self._place(operator, shop, {"BOOK-ODYSSEY": 1, "PEN-BLUE": 2}, customer=0)
        return await self._wait_for_label(operator, shop, code, "accept")

    async def _reject(self, operator: OperatorClient, shop: _OpenShop) -> Ending:
        code = await self._place(operator, shop, {"MEM-64": 3, "CABLE-C": 1}, customer=1)
        detail = await self._until(operator, shop, code, lambda seen: seen["order"]["state"] != "open")
        order = detail["order"]
        reasons = [line.get("rejection_reason", "in stock") for line in order["line_items"]]
        good = order["state"] == "rejected" and reasons == ["limited_stock", "in stock"]
        ended = Ending(good, [f"reject   order {code}: {order['state']} ({', '.join(reasons)})"])
        if not good:
            return ended
        successor = await self._successor(operator, detail["cart"]["id"], code)
        if successor is None:
            return Ending(False, [*ended.lines, "reject   no new order came for what is available"])
        self._story.step("marketplace", shop.shop.name, "a new order for the available pieces", successor)
        printed = await self._wait_for_label(operator, shop, successor, "reject")
        sticks = (await operator.order(successor))["order"]["line_items"][0]["quantity"]
        return Ending(printed.good and sticks == _AVAILABLE, [*ended.lines, *printed.lines])

    async def _successor(self, operator: OperatorClient, cart_id: str, code: str) -> str | None:
        for other in await operator.order_codes():
            if other != code and (await operator.order(other))["cart"]["id"] == cart_id:
                return other
        return None

    async def _wait_for_label(self, operator: OperatorClient, shop: _OpenShop, code: str, case: str) -> Ending:
        path = shop.prints / f"{code}.pdf"
        detail = await self._until(
            operator, shop, code, lambda seen: bool(seen["order"]["courier_voucher"]) and path.exists()
        )
        order = detail["order"]
        good = order["state"] == "accepted" and path.exists() and path.read_bytes().startswith(b"%PDF")
        lines = [f"{case:8} order {code}: {order['state']}"]
        if good:
            lines.append(f"{case:8} printed {path}")
        return Ending(good, lines)

    def _report_endings(self, *endings: Ending) -> None:
        self._story.heading("How it ended")
        for ending in endings:
            for line in ending.lines:
                self._story.line(line, good=ending.good)
        self._story.line(f"folder   {self._folder}", good=True)

    def _hear_marketplace(self, line: str) -> None:
        if "/sign-in/" in line:
            self._sign_in_link = line.rsplit(maxsplit=1)[-1]

    async def _traffic(self, operator: OperatorClient, seed: int) -> None:
        """Place more carts, one every few seconds, until cancelled."""
        self._story.heading(
            f"Traffic goes on (seed {seed}); Ctrl-C ends it. Watch it in a browser: {self._sign_in_link}"
        )
        chance = random.Random(seed)  # noqa: S311  (which product somebody buys is no secret)
        while True:
            shop = chance.choice(list(self._shops.values()))
            listing = chance.choice(shop.shop.listings)
            try:
                await self._place(operator, shop, {listing["shop_uid"]: chance.randint(1, 3)}, chance.randint(0, 1))
            except OperatorError as error:
                # The product is sold out after the reject case. The traffic continues.
                self._story.step("marketplace", "customer", str(error))
            for _ in range(40):
                for code in await operator.order_codes():
                    detail = await operator.order(code)
                    self._story.follow(self._shops[detail["shop_id"]].shop.name, detail)
                await asyncio.sleep(_POLL_SECONDS)


def fresh_folder() -> Path:
    """Create a folder for one run. It is in the current folder, or in the temporary folder if the current path contains
    a space, so that the printed paths are easy to copy."""
    here = Path.cwd()
    parent = tempfile.gettempdir() if any(character.isspace() for character in str(here)) else str(here)
    return Path(tempfile.mkdtemp(prefix="kalathi-demo-", dir=parent)).resolve()
