"""Create a database with many open orders, with the marketplace's own commands."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from kalathi.contract.orders import Address, Customer
from kalathi.contract.words import PaymentMethod
from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.idempotency import IdempotencyKeys
from kalathi.marketplace.kernel.ids import opaque_id
from kalathi.marketplace.kernel.keys import KeyReserve
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.opening import open_database
from kalathi.marketplace.orders import placing
from kalathi.marketplace.orders.model import NewCart, NewCartItem
from kalathi.marketplace.orders.running import CommandRunner
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.shops import commands as shop_commands
from kalathi.marketplace.shops.model import NewListing, NewLocation, NewShop

TOKEN = "benchmark-token"


class Prepared(NamedTuple):
    """A shop with open orders of two lines each."""

    shop_id: str
    location_id: str
    codes: list[str]
    window_id: int


def prepare(where: Path | str, count: int, token: str = TOKEN) -> Prepared:
    """Fill a database (a file or a PostgreSQL URL) with `count` open orders of one new shop that has a webhook URL."""
    return asyncio.run(_prepare(where, count, token))


async def _prepare(where: Path | str, count: int, token: str) -> Prepared:
    database = await open_database(where if isinstance(where, str) else f"sqlite:///{where}")
    terms = Terms(Settings(), "http://127.0.0.1")
    clock = BusinessClock()
    commands = CommandRunner(database, clock, KeyReserve(database), terms, IdempotencyKeys(database))
    new_shop = NewShop(
        name="Benchmark",
        domain="shop.example",
        webhook_url="http://127.0.0.1:1/smart_cart_orders",
        locations=(NewLocation(street_name="Σταδίου", street_number="1", zip="10562", city="Αθήνα", region="Αττική"),),
    )
    changes, shop = shop_commands.add_shop(new_shop, [opaque_id(), opaque_id()], token)
    await database.commit(changes)
    listings = [
        NewListing(
            shop_uid=uid,
            product_name=name,
            unit_price=Decimal(price),
            commission_rate=Decimal("8.34"),
            quantity=1_000_000,
            ean="1234567890123",
        )
        for uid, name, price in (("100", "L'Oreal Professionel Salon Steam Pod", "10.40"), ("10", "Σαμπουάν", "25.00"))
    ]
    await database.run(lambda view: shop_commands.put_listings(view, shop.id, listings, datetime.now(UTC)))
    address = Address(
        street_name="Ερμού",
        street_number="12",
        floor="2",
        zip="10563",
        city="Αθήνα",
        region="Αττική",
        country_code="GR",
    )
    cart = NewCart(
        customer=Customer(first_name="Ελένη", last_name="Παπαδοπούλου", address=address),
        items=(
            NewCartItem(shop_id=shop.id, shop_uid="100", quantity=2),
            NewCartItem(shop_id=shop.id, shop_uid="10", quantity=1),
        ),
        payment_method=PaymentMethod.CARD,
        comments="Παράδοση στο γραφείο",
    )

    async def place() -> str:
        placed = await commands.run(lambda facts: placing.place(cart, facts), codes=1)
        return placed[0].code

    codes: list[str] = []
    while len(codes) < count:
        codes += await asyncio.gather(*(place() for _ in range(min(256, count - len(codes)))))
    window = terms.offer(shop).schedule.offer_windows(clock.now())[-1]
    await database.close()
    return Prepared(shop.id, shop.locations[0].id, codes, window.id)
