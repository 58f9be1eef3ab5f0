"""Codes are scrambled with a random key of the installation, and stay unique when a key takes the place of none."""

from pathlib import Path

import pytest

from kalathi.marketplace.kernel.ids import order_code
from kalathi.marketplace.kernel.keys import KeyReserve
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Delete, Insert
from kalathi.marketplace.kernel.storage.migrating import migrate_sqlite
from kalathi.marketplace.kernel.storage.sqlite import SqliteDatabase
from tests.market import NOON, Market, open_market

pytestmark = pytest.mark.anyio


async def _code_key(market: Market) -> bytes:
    row = await market.marketplace.database.read(lambda view: view.one("SELECT value FROM secrets", {}))
    assert row is not None
    key: bytes = row[0]
    return key


async def test_every_installation_has_a_key_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "other"):
        for _ in range(2):
            async with open_market(tmp_path / name) as market:
                shop = await market.shop()
                await shop.cart(A=1)
                keys.append(await _code_key(market))
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert len(keys[0]) == 32


async def test_orders_from_before_the_key_stay_and_new_ones_get_codes_of_the_new_key(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        old = await shop.cart(A=1)
        await market.marketplace.database.commit(ChangeSet(Delete("secrets", {"name": "order_codes"})))
        shop_token = shop.token
    async with open_market(tmp_path) as market:
        shop.market = market
        assert shop.token == shop_token
        new = await shop.cart(A=1)
        assert (await shop.show(old))["code"] == old
        assert new != old
        assert (await shop.accept(old)).json == (await shop.accept(new)).json == {"success": True}


async def test_a_code_given_under_an_earlier_key_is_skipped(tmp_path: Path) -> None:
    async with open_market(tmp_path) as market:
        shop = await market.shop()
        await shop.cart(A=1)
        key = await _code_key(market)
        # Three orders of before have the codes that come next.
        numbers = range(1000)
        taken = [order_code(NOON.date(), number, key) for number in numbers]
        known = {row[0] for row in await market.marketplace.database.read(lambda view: view.all(_CODES, {}))}
        rows = [Insert("directory", {"code": code, "shop_id": shop.id}) for code in taken[:8] if code not in known]
        await market.marketplace.database.commit(ChangeSet(*rows[:3]))
        codes = [await shop.cart(A=1) for _ in range(10)]
        assert len(set(codes)) == 10
        assert not {*codes} & {*(row.row["code"] for row in rows[:3])}


_CODES = "SELECT code FROM directory"


async def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    migrate_sqlite(tmp_path / "kalathi.db")
    database = SqliteDatabase(tmp_path / "kalathi.db")
    try:
        first, second = KeyReserve(database), KeyReserve(database)
        drawn = [await reserve.draw(1) for reserve in (first, second)]
        codes = {keys.order_code(NOON, "any shop") for keys in drawn}
        assert len(codes) == 2
        keys = await database.read(lambda view: view.all("SELECT value FROM secrets", {}))
        assert len(keys) == 1
        assert codes <= {order_code(NOON.date(), number, keys[0][0]) for number in range(2000)}
    finally:
        await database.close()
