"""Where the number of free pieces comes from: files, databases, addresses, functions."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.stock import CsvStock, FunctionStock, HttpStock, SqlStock, Stock, StockError

pytestmark = pytest.mark.anyio


class Address:
    """Answers what it was told to, and counts."""

    def __init__(self, *answers: HttpAnswer) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        self.asked += 1
        return self.answers.pop(0)

    async def close(self) -> None:
        pass


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path / "inbox.db")
    yield opened
    opened.close()


async def _says(stock: Stock) -> tuple[dict[str, int], Mapping[str, Decimal]]:
    return await stock.available(), await stock.prices()


async def test_a_csv_may_have_prices(tmp_path: Path, inbox: Inbox) -> None:
    path = tmp_path / "stock.csv"
    path.write_text("shop_uid,quantity,price\nA,5,10.40\nB,2,\n", "utf-8")
    assert await _says(CsvStock(path, inbox)) == ({"A": 5, "B": 2}, {"A": Decimal("10.40")})
    path.write_text("shop_uid,quantity,price\nA,5,cheap\nB,2,NaN\n", "utf-8")
    assert await _says(CsvStock(path, inbox)) == ({"A": 5, "B": 2}, {})


async def test_a_database_is_asked_by_a_query_of_the_shops_own(tmp_path: Path, inbox: Inbox) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE goods (sku TEXT, left INTEGER, price TEXT)")
        database.executemany("INSERT INTO goods VALUES (?, ?, ?)", [("A", 5, "10.40"), ("B", 0, None)])
    database.close()
    seconds = [0.0]
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    stock = SqlStock(url, "SELECT sku, left, price FROM goods", inbox, clock=lambda: seconds[0])
    assert await _says(stock) == ({"A": 5, "B": 0}, {"A": Decimal("10.40")})
    inbox.reserve("o1", {"A": 2})
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("UPDATE goods SET left = 7 WHERE sku = 'A'")
    database.close()
    assert await stock.available() == {"A": 3, "B": 0}
    seconds[0] = 5.0
    assert await stock.available() == {"A": 5, "B": 0}
    for query, told in (("SELECT sku FROM goods", "each row has"), ("SELECT nothing FROM nowhere", "OperationalError")):
        with pytest.raises(StockError, match=told):
            await SqlStock(url, query, inbox).available()
    with pytest.raises(StockError) as refused:
        SqlStock("nonsense://user:secret@x", "", inbox)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "pieces"),
    [
        ({"A": 5, "B": "2"}, {"A": 5, "B": 2}),
        ([{"shop_uid": "A", "quantity": 5}, {"shop_uid": "B", "quantity": 2.0, "price": "3,50"}], {"A": 5, "B": 2}),
        ({}, {}),
    ],
)
async def test_an_address_and_a_function_give_the_same(inbox: Inbox, content: Any, pieces: dict[str, int]) -> None:
    address = Address(HttpAnswer(200, msgspec.json.encode(content)))
    stock = HttpStock(address, "http://shop/stock", inbox, clock=lambda: 0.0)
    assert await stock.available() == pieces
    assert await stock.available() == pieces
    assert address.asked == 1

    async def later() -> Any:
        await asyncio.sleep(0)
        return content

    functions: list[Callable[[], Any]] = [lambda: content, later]
    for function in functions:
        assert await FunctionStock(function, inbox).available() == pieces


@pytest.mark.parametrize(
    ("row", "pieces"),
    [
        ('{"A": "many", "B": 1}', {"B": 1}),
        ('{"A": 1.5, "B": 1}', {"B": 1}),
        ('{"A": null, "B": 1}', {"B": 1}),
        ('{"A": true, "B": 1}', {"B": 1}),
        ('{"A": 99999999999, "B": 1}', {"B": 1}),
        ('{"A": "1e999999", "B": 1}', {"B": 1}),
        ('{"A": "NaN", "B": 1}', {"B": 1}),
        ('[{"shop_uid": "A", "quantity": 1}, {"shop_uid": "A", "quantity": 1}]', {}),
        ('{"A": -3, "B": "5.000"}', {"A": 0, "B": 5}),
    ],
)
async def test_a_row_that_cannot_be_read_leaves_its_own_product_unknown_and_the_others_as_they_are(
    inbox: Inbox, row: str, pieces: dict[str, int]
) -> None:
    address = Address(HttpAnswer(200, row.encode()))
    assert await HttpStock(address, "http://shop/", inbox).available() == pieces


async def test_what_has_left_is_not_counted_by_an_answer_that_is_older(inbox: Inbox) -> None:
    address = Address(HttpAnswer(200, b'{"A": 1}'), HttpAnswer(200, b'{"A": 0}'))
    stock = HttpStock(address, "http://shop/", inbox, clock=lambda: 0.0)
    assert await stock.available() == {"A": 1}
    assert await stock.available() == {"A": 1}
    assert await stock.renewed() is None
    assert await stock.available() == {"A": 0}


@pytest.mark.parametrize(
    "content",
    [b"[1]", b"7", b"not json", ],
)  # fmt: skip
async def test_what_is_no_stock_is_told_and_never_believed(inbox: Inbox, content: bytes) -> None:
    with pytest.raises(StockError):
        await HttpStock(Address(HttpAnswer(200, content)), "http://shop/", inbox).available()
    with pytest.raises(StockError, match="503"):
        await HttpStock(Address(HttpAnswer(503, b"{}")), "http://shop/", inbox).available()

    def broken() -> None:
        raise KeyError("A")

    with pytest.raises(StockError, match="KeyError"):
        await FunctionStock(broken, inbox).available()
