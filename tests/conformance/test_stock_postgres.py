"""A shop's stock in PostgreSQL, by a query as the shop has written it."""

from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest

from kalathi.merchant.stock import Shelf, SqlStock, StockError
from tests.databases import drop_postgres, empty_postgres

pytestmark = pytest.mark.anyio


@pytest.fixture
def url() -> Iterator[str]:
    made = empty_postgres()
    with psycopg.connect(made, autocommit=True) as connection:
        connection.execute("CREATE TABLE goods (sku CHAR(10), pieces NUMERIC(10, 3), price NUMERIC(10, 4), at TEXT)")
        connection.execute("INSERT INTO goods VALUES ('A', 1.000, 10.4, '12:30'), ('B%', 1000, NULL, '12:30')")
    yield made
    drop_postgres(made)


async def test_colons_percent_signs_padding_and_typed_numbers_are_read(url: str) -> None:
    address = url.replace("postgresql://", "postgresql+psycopg://")
    query = "SELECT sku, pieces, price::numeric FROM goods WHERE at = '12:30' AND sku LIKE '%' AND ':a' <> '%s'"
    shelf = await SqlStock(address, query).read()
    assert shelf == Shelf({"A": 1, "B%": 1000}, {"A": Decimal("10.4")})
    with pytest.raises(StockError, match=r'UndefinedTable: relation "nowhere" does not exist'):
        await SqlStock(address, "SELECT a, b FROM nowhere").read()
