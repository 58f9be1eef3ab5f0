"""Search, filters and sorting of a shop's orders against a plain model, on every database."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kalathi.contract.words import OrderState
from kalathi.marketplace.app import Marketplace, open_marketplace
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import ChangeSet, ConditionFailedError, Delete, InsertMany
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.orders.model import Order
from kalathi.marketplace.orders.search import listing, store
from kalathi.marketplace.orders.search.indexing import index_earlier_orders
from kalathi.marketplace.orders.search.listing import Sort, Wanted, find_deadline, list_orders
from kalathi.marketplace.orders.search.store import Span
from kalathi.marketplace.orders.search.words import OrderKind, list_words, mark_courier, mark_kind, read_search
from tests.market import CUSTOMER, OPERATOR_TOKEN, FakeNetwork, FakeTime, Market, Shop

pytestmark = pytest.mark.anyio

_SEED = 20261201
_NAMES = ("Γιώργος", "ΓΙΩΡΓΟΣ", "Μαρία", "Άννα", "Nίκος", "Ζωή")
_SURNAMES = ("Παπαδόπουλος", "Παπαδάκη", "Νικολάου", "O'Brien")
_PRODUCTS = {"A": "Ακουστικά μαύρα", "B": "Ακουστικά λευκά", "SKU-9": "Θήκη κινητού"}
_TWICE = "Προϊόν προσφοράς αλουμινίου"
_SEARCHES = (
    "γιωργοσ",
    "παπαδ",
    "ακουστικα παπαδ",
    "sku 9",
    "ΘΗΚΗ",
    "ξ",
    "26",
    "",
    "",
    "μαρία μαύρ",
    "car",
    "courier",
    "kind",
    "=",
)


@asynccontextmanager
async def _open(database_url: str, folder: Path) -> AsyncIterator[tuple[Marketplace, Market]]:
    settings = Settings(data=folder, database=database_url, operator_token=OPERATOR_TOKEN)
    network, time = FakeNetwork(), FakeTime()
    marketplace = await open_marketplace(settings, "http://market", real=time, sender=network)
    marketplace.start()
    try:
        yield marketplace, Market(marketplace, network, time)
    finally:
        await marketplace.stop()


async def _fill(market: Market, chance: random.Random) -> Shop:
    """A shop with orders in several states, placed over some days."""
    shop = await market.shop(url=None, quantity=500)
    listings = [
        {"shop_uid": uid, "product_name": name, "unit_price": 10, "quantity": 500} for uid, name in _PRODUCTS.items()
    ]
    await market.operate("PUT", f"/marketplace/shops/{shop.id}/listings", listings)
    for _ in range(40):
        customer = {**CUSTOMER, "first_name": chance.choice(_NAMES), "last_name": chance.choice(_SURNAMES)}
        wanted = {uid: chance.randint(1, 9) for uid in chance.sample(list(_PRODUCTS), chance.randint(1, 3))}
        facts: dict[str, Any] = {"express": True} if chance.random() < 0.1 else {}
        code = await shop.place(wanted, customer=customer, **facts)
        if chance.random() < 0.6 and not facts:
            await shop.accept(code)
            if chance.random() < 0.4:
                await market.operate("POST", f"/marketplace/orders/{code}/change_courier", {"courier": "ACS"})
        elif chance.random() < 0.2:
            await market.operate("POST", f"/marketplace/orders/{code}/cancel")
        if chance.random() < 0.5:
            await market.advance(chance.choice([60, 3600, 20_000]))
    return shop


async def _read_all(database: Database, shop_id: str) -> dict[str, Order]:
    def query(view: View) -> dict[str, Order]:
        codes = [row[0] for row in view.all("SELECT code FROM orders WHERE shop_id = :shop_id", {"shop_id": shop_id})]
        return {code: found.order for code, found in store.load_orders(view, shop_id, codes).items()}

    return await database.read(query)


def _has(order: Order, wanted: Wanted, now: datetime) -> bool:
    words = {word for word in list_words(order) if not word.startswith("=")}
    marks = list_words(order) - words
    placed = to_millis(order.created_at)
    deadline = find_deadline(order.state, order.expires_at, order.dispatch_until, is_fbs=order.fulfilled_by_skroutz)
    return (
        all(any(word.startswith(beginning) for word in words) for beginning in wanted.beginnings)
        and set(wanted.marks) <= marks
        and (wanted.span is None or wanted.span.since_millis <= placed < wanted.span.until_millis)
        and not (wanted.is_overdue and (deadline is None or deadline > now))
    )


def _make_wanted(shop_id: str, orders: dict[str, Order], chance: random.Random) -> Wanted:
    some = chance.choice(list(orders.values()))
    marks = chance.choice([(), (), (mark_courier("ACS"),), (mark_kind(OrderKind.EXPRESS),)])
    begin = to_millis(some.created_at) - chance.choice([0, 3_600_000])
    span = Span(begin, begin + chance.choice([1, 3_600_000, 90_000_000])) if chance.random() < 0.3 else None
    search = chance.choice([*_SEARCHES, some.code, some.code[-7:]])
    states = chance.choice([(), (OrderState.OPEN,), (OrderState.ACCEPTED, OrderState.EXPIRED)])
    return Wanted(shop_id, read_search(search), marks, states, span, chance.random() < 0.2, chance.choice(list(Sort)))


async def test_every_list_has_the_orders_of_a_plain_model(database_url: str, tmp_path: Path) -> None:
    print(f"seed {_SEED}")
    chance = random.Random(_SEED)
    async with _open(database_url, tmp_path) as (marketplace, market):
        shop = await _fill(market, chance)
        other = await market.shop(url=None)
        await other.cart(A=1)
        orders = await _read_all(marketplace.database, shop.id)
        latest = max(order.created_at for order in orders.values())
        seen: Counter[bool] = Counter()
        for _ in range(300):
            wanted = _make_wanted(shop.id, orders, chance)
            now = latest + timedelta(days=chance.choice([0, 1, 30]))
            matching = {code: order for code, order in orders.items() if _has(order, wanted, now)}
            listed = {code for code, order in matching.items() if order.state in (wanted.states or list(OrderState))}
            found = await marketplace.database.read_list(
                partial(list_orders, wanted=wanted, now=now, limit=100, offset=0)
            )
            assert ({entry.order.code for entry in found.orders}, found.entries) == (listed, len(listed)), wanted
            counted = matching.values() if wanted.is_narrow else orders.values()
            assert found.counts == Counter(order.state for order in counted), wanted
            _check_sorting([entry.order for entry in found.orders], wanted.sort)
            seen[bool(listed)] += 1
        assert min(seen[True], seen[False]) > 20


def _check_sorting(orders: list[Order], sort: Sort) -> None:
    if sort is Sort.DATE:
        assert [order.created_at for order in orders] == sorted((order.created_at for order in orders), reverse=True)
    if sort is Sort.TOTAL:
        totals = [sum(line.total_price for line in order.lines()) for order in orders]
        assert totals == sorted(totals, reverse=True)
    if sort is Sort.DEADLINE:
        until = [
            find_deadline(order.state, order.expires_at, order.dispatch_until, is_fbs=order.fulfilled_by_skroutz)
            for order in orders
        ]
        known = [deadline for deadline in until if deadline is not None]
        assert until == [*sorted(known), *[None] * (len(until) - len(known))]


async def _read_index(database: Database, shop_id: str) -> dict[str, set[str]]:
    rows = await database.read(
        lambda view: view.all("SELECT code, word FROM order_words WHERE shop_id = :shop_id", {"shop_id": shop_id})
    )
    index: dict[str, set[str]] = {}
    for code, word in rows:
        index.setdefault(code, set()).add(word)
    return index


async def test_the_index_follows_every_transition_and_earlier_orders_are_indexed_later(
    database_url: str, tmp_path: Path
) -> None:
    chance = random.Random(_SEED)
    async with _open(database_url, tmp_path) as (marketplace, market):
        shop = await _fill(market, chance)
        database = marketplace.database

        async def read_expected() -> dict[str, set[str]]:
            return {code: list_words(order) for code, order in (await _read_all(database, shop.id)).items()}

        assert await _read_index(database, shop.id) == await read_expected()
        # As after an upgrade: no order is indexed.
        rows = [
            (shop.id, "?", to_millis(order.created_at), code)
            for code, order in (await _read_all(database, shop.id)).items()
        ]
        await database.commit(ChangeSet(Delete("order_words", {"shop_id": shop.id}, touches=None)))
        await database.commit(ChangeSet(InsertMany("order_words", ("shop_id", "word", "created_at", "code"), rows)))
        assert await database.read(lambda view: store.is_indexing(view, shop.id))
        # Transitions do not wait for the index.
        accepted = [code for code, order in (await _read_all(database, shop.id)).items() if order.state == "accepted"]
        for code in accepted[:5]:
            await market.operate("POST", f"/marketplace/orders/{code}/change_courier", {"courier": "Speedex"})
        await asyncio.gather(index_earlier_orders(database, asyncio.Event()), market.advance(10))
        await index_earlier_orders(database, asyncio.Event())
        assert not await database.read(lambda view: store.is_indexing(view, shop.id))
        assert await _read_index(database, shop.id) == await read_expected()


async def test_a_list_with_too_many_matches_says_so(database_url: str, tmp_path: Path) -> None:
    async with _open(database_url, tmp_path) as (marketplace, market):
        shop = await market.shop(url=None, quantity=50)
        # Each order has two words that begin with "προ".
        product = {"shop_uid": "A", "product_name": _TWICE, "unit_price": 10, "quantity": 50}
        await market.operate("PUT", f"/marketplace/shops/{shop.id}/listings", [product])
        codes = []
        for _ in range(6):
            codes.append(await shop.cart(A=1))
            await market.advance(60)
        now = datetime.now(UTC)

        async def listed(most: int, **limits: Any) -> listing.Found:
            wanted = Wanted(shop.id, **limits)
            return await marketplace.database.read(lambda view: list_orders(view, wanted, now, 50, 0, most))

        for limits in (
            {"beginnings": ("προ",)},
            {"beginnings": ("προ", "αλ")},
            {"span": Span(0, 1 << 60)},
            {"sort": Sort.DATE},
        ):
            for most in (2, 5, 6):
                found = await listed(most, **limits)
                assert [entry.order.code for entry in found.orders] == codes[::-1][:most], limits
                assert found.was_cut == (most < 6), limits
        # Of orders that wait, the oldest ones count.
        found = await listed(2, states=(OrderState.OPEN,), sort=Sort.DEADLINE)
        assert ([entry.order.code for entry in found.orders], found.was_cut) == (codes[:2], True)
        found = await listed(2, is_overdue=True)
        assert {entry.order.code for entry in found.orders} <= set(codes[:2])
        # A search finds every order of a state with few orders.
        await shop.accept(codes[0])
        found = await listed(2, beginnings=("προ",), states=(OrderState.ACCEPTED,))
        assert ([entry.order.code for entry in found.orders], found.was_cut) == ([codes[0]], False)


async def test_pages_of_a_search_follow_each_other(database_url: str, tmp_path: Path) -> None:
    async with _open(database_url, tmp_path) as (marketplace, market):
        shop = await market.shop(url=None, quantity=50)
        codes = []
        for _ in range(5):
            codes.append(await shop.cart(A=1))
            await market.advance(60)
        now = datetime.now(UTC)
        for wanted in (Wanted(shop.id), Wanted(shop.id, ("a",)), Wanted(shop.id, sort=Sort.DATE)):
            pages = [
                await marketplace.database.read(partial(list_orders, wanted=wanted, now=now, limit=2, offset=start))
                for start in (0, 2, 4, 6)
            ]
            assert [[entry.order.code for entry in page.orders] for page in pages] == [
                codes[:2:-1],
                codes[2:0:-1],
                codes[:1],
                [],
            ]
            assert {page.entries for page in pages} == {5}


async def test_a_transition_while_its_order_is_indexed_wins(database_url: str, tmp_path: Path) -> None:
    async with _open(database_url, tmp_path) as (marketplace, market):
        shop = await market.shop(url=None, quantity=50)
        code = await shop.accepted()
        database = marketplace.database
        [order] = (await _read_all(database, shop.id)).values()
        row = (shop.id, "?", to_millis(order.created_at), code)
        await database.commit(ChangeSet(Delete("order_words", {"shop_id": shop.id}, touches=None)))
        await database.commit(ChangeSet(InsertMany("order_words", ("shop_id", "word", "created_at", "code"), [row])))
        stale = await database.read(lambda view: store.index_earlier(view, shop.id, 10))
        await market.operate("POST", f"/marketplace/orders/{code}/change_courier", {"courier": "Speedex"})
        with pytest.raises(ConditionFailedError):
            await database.commit(stale)
        await index_earlier_orders(database, asyncio.Event())
        [order] = (await _read_all(database, shop.id)).values()
        assert await _read_index(database, shop.id) == {code: list_words(order)}
        assert mark_courier("Speedex") in list_words(order)
