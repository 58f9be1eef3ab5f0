"""Traffic of simulated customers, shops and couriers, over HTTP only. The decisions for the n-th order depend only on
the seed and n, not on the timing of the answers."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from kalathi.contract.requests import RejectedLine
from kalathi.merchant.client import AsyncClient, MarketplaceError, UnreachableError
from kalathi.operator_calls import OperatorError
from kalathi.simulation.catalogue import BOOKS, ELECTRONICS
from kalathi.simulation.operator import OperatorClient

_NAMES: Final = ("Ελένη", "Γιώργος", "Μαρία", "Νίκος", "Κατερίνα", "Δημήτρης", "Άννα", "Κώστας")
_SURNAMES: Final = ("Παπαδοπούλου", "Νικολάου", "Γεωργίου", "Ιωάννου", "Δήμου", "Οικονόμου")
_LISTED_PIECES: Final = 1_000_000
_LIMITED: Final = 0.1
_LAST_PIECES: Final = 4
_VOUCHER_LOOKS: Final = 20
_POLL_SECONDS: Final = 0.5


class TrafficShop(NamedTuple):
    """A shop of the traffic, and its access to the Orders API."""

    shop_id: str
    client: AsyncClient
    listings: list[dict[str, Any]]


class Traffic:
    """Place carts at a rate, and simulate the further events of each order."""

    def __init__(self, operator: OperatorClient, url: str, seed: int, told: Callable[[Counter[str]], None]) -> None:
        """`told` is called with the counts after each cart."""
        self._operator = operator
        self._url = url
        self._seed = seed
        self._told = told
        self.counts: Counter[str] = Counter()

    async def run(self, *, shops: int, rate: float, seconds: float) -> None:
        """Place `rate` carts a second for this time, then wait until every order has reached its end."""
        opened = [await self._open(number) for number in range(shops)]
        started = time.monotonic()
        fates: set[asyncio.Task[None]] = set()
        number = 0
        try:
            while (at := number / rate) < seconds:
                await asyncio.sleep(max(0.0, started + at - time.monotonic()))
                task = asyncio.create_task(self._fate(number, opened))
                fates.add(task)
                number += 1
                self._told(self.counts)
            await asyncio.gather(*fates)
        finally:
            for task in fates:
                task.cancel()
            for shop in opened:
                await shop.client.close()
        self._told(self.counts)

    async def _open(self, number: int) -> TrafficShop:
        kind = (BOOKS, ELECTRONICS)[number % 2]
        new = {"name": f"{kind.name} {number + 1}", "domain": kind.domain, "locations": [kind.location]}
        shop_id, token = await self._operator.add_shop(new)
        listings = [listing | {"quantity": _LISTED_PIECES} for listing in kind.listings]
        await self._operator.put_listings(shop_id, listings)
        return TrafficShop(shop_id, AsyncClient(self._url, token), listings)

    async def _fate(self, number: int, shops: list[TrafficShop]) -> None:
        chance = random.Random(f"{self._seed}:{number}")  # noqa: S311  (which product somebody buys is no secret)
        shop = chance.choice(shops)
        try:
            if chance.random() < _LIMITED:
                await self._sell_last_pieces(chance, shop, number)
            else:
                await self._answer_order(chance, shop, await self._place(chance, shop, shop.listings))
        except (OperatorError, MarketplaceError, UnreachableError):
            # A race was lost, or a fault rule applied: both are part of the traffic.
            self.counts["refused"] += 1

    async def _sell_last_pieces(self, chance: random.Random, shop: TrafficShop, number: int) -> None:
        """Sell the last pieces of a product, fewer than its listing says. The product is used for nothing else: the
        rejection sets its listing to the real number, and other carts must not depend on when that happens."""
        listing = shop.listings[0] | {"shop_uid": f"LAST-{number}", "quantity": _LAST_PIECES}
        await self._operator.put_listings(shop.shop_id, [listing])
        code = await self._place(chance, shop, [listing])
        line = (await shop.client.order(code)).line_items[0]
        lines = [RejectedLine(id=line.id, reason_id=4, available_quantity=line.quantity - 1)]
        await shop.client.reject_lines(code, lines)
        self.counts["rejected"] += 1

    async def _place(self, chance: random.Random, shop: TrafficShop, listings: list[dict[str, Any]]) -> str:
        customer = {
            "first_name": chance.choice(_NAMES),
            "last_name": chance.choice(_SURNAMES),
            "address": {"street_name": "Ερμού", "street_number": str(chance.randint(1, 99)), "city": "Αθήνα"}
            | {"zip": "10563", "region": "Αττική", "country_code": "GR", "floor": "1"},
        }
        wanted = chance.sample(listings, chance.randint(1, len(listings)))
        items = [
            {"shop_id": shop.shop_id, "shop_uid": entry["shop_uid"], "quantity": chance.randint(1, 4)}
            for entry in wanted
        ]
        payment = chance.choice(["card", "card", "cash_on_delivery", "iris"])
        _, orders = await self._operator.place_cart({"customer": customer, "items": items, "payment_method": payment})
        self.counts["placed"] += 1
        code: str = orders[0]["code"]
        return code

    async def _answer_order(self, chance: random.Random, shop: TrafficShop, code: str) -> None:
        order = await shop.client.order(code)
        kind = chance.random()
        if kind < 0.05:
            self.counts["left open"] += 1
        elif kind < 0.10:
            await shop.client.reject(code, "Κλειστά")
            self.counts["rejected"] += 1
        elif order.accept_options:
            options = order.accept_options
            window = chance.choice(options.pickup_window)
            await shop.client.accept(code, options.pickup_location[0].id, window.id, 1)
            self.counts["accepted"] += 1
            await self._carry(chance, code)

    async def _carry(self, chance: random.Random, code: str) -> None:
        if chance.random() < 0.05:
            await self._do(code, "cancel", "cancelled")
            return
        for _ in range(_VOUCHER_LOOKS):
            # The marketplace makes the voucher later; a courier has to poll for it.
            await asyncio.sleep(_POLL_SECONDS)
            if (await self._operator.order(code))["order"]["courier_voucher"]:
                break
        await self._do(code, "hand_over", "dispatched")
        end = chance.random()
        word = "cancel" if end < 0.03 else "fail_delivery" if end < 0.08 else "deliver"
        await self._do(code, word, "delivered" if word == "deliver" else "travelling back")

    async def _do(self, code: str, word: str, counted: str) -> None:
        await self._operator.operate(code, word)
        self.counts[counted] += 1


def show_counts(counts: Counter[str]) -> str:
    """`placed 12, accepted 9, ...`"""
    return ", ".join(f"{name} {count}" for name, count in counts.items())
