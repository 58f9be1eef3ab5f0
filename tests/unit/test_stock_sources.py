"""Stock sources other than files: databases, URLs, functions."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kalathi.merchant.client import AsyncClient
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.stock import (
    FunctionStock,
    HttpStock,
    Shelf,
    SqlStock,
    StockError,
    StockSetupError,
    WarehouseStock,
)
from kalathi.merchant.stock.live_sources import shelf_of_json

pytestmark = pytest.mark.anyio

ONE_A = '{"shop_uid": "A", "quantity": 1}'
ONE_B = '{"shop_uid": "B", "quantity": 1}'


class Address:
    """Returns configured answers and counts requests. `waits` delays an answer."""

    def __init__(self, *answers: HttpAnswer) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.waits: asyncio.Event | None = None

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        self.asked += 1
        answer = self.answers.pop(0)
        if self.waits is not None:
            await self.waits.wait()
        return answer

    async def close(self) -> None:
        pass


def _address(content: bytes, status: int = 200) -> HttpStock:
    return HttpStock(Address(HttpAnswer(status, content)), "http://shop/stock")


def _database(path: Path, *statements: str) -> str:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()
    return f"sqlite:///{path}"


# Databases


async def test_a_database_is_read_by_the_shops_own_query(tmp_path: Path) -> None:
    url = _database(
        tmp_path / "shop.db",
        "CREATE TABLE goods (sku TEXT, left INTEGER, price TEXT)",
        "INSERT INTO goods VALUES ('A', 5, '10.40'), ('B', 0, NULL)",
    )
    seconds = [0.0]
    stock = SqlStock(url, "SELECT sku, left, price FROM goods", clock=lambda: seconds[0])
    first = await stock.read()
    assert first == Shelf({"A": 5, "B": 0}, {"A": Decimal("10.40")})
    seconds[0] = 5.0
    assert await stock.read() is first, "the same content is the same shelf"
    _database(tmp_path / "shop.db", "UPDATE goods SET left = 7 WHERE sku = 'A'")
    seconds[0] = 9.0
    assert (await stock.read()).pieces == {"A": 5, "B": 0}
    seconds[0] = 10.0
    assert (await stock.read()).pieces == {"A": 7, "B": 0}


async def test_query_values_are_converted_stripped_and_found_by_column_name(tmp_path: Path) -> None:
    url = _database(tmp_path / "shop.db")
    for query, pieces in (
        ("SELECT 'A         ', ' 5 '", {"A": 5}),
        ("SELECT '\u00a0A ', 5.0", {"A": 5}),
        ("SELECT 4711, 5", {"4711": 5}),
        ("SELECT 5 AS quantity, 'x' AS name, 'A' AS SHOP_UID", {"A": 5}),
        ("SELECT 'A', -3 UNION SELECT 'B', 2", {"A": 0, "B": 2}),
        ("SELECT x'41', 5", {"A": 5}),
    ):
        assert (await SqlStock(url, query).read()).pieces == pieces, query
    shelf = await SqlStock(url, "SELECT 'A', NULL UNION ALL SELECT 'B ', 1 UNION ALL SELECT 'B', 1").read()
    assert shelf.pieces == {}
    assert shelf.unreadable["A"] == "the query of the stock, row 1: there is no quantity"
    assert shelf.unreadable["B"] == "the query of the stock: it stands on rows 2, 3"


async def test_a_query_is_sent_as_it_is_written_with_colons_and_percent_signs(tmp_path: Path) -> None:
    url = _database(
        tmp_path / "shop.db", "CREATE TABLE goods (sku TEXT, at TEXT)", "INSERT INTO goods VALUES ('A%', '12:30')"
    )
    query = "SELECT sku, 5 FROM goods WHERE at = '12:30' AND sku LIKE '%\\%' ESCAPE '\\' AND ':x' <> ':y' -- :z %s"
    assert (await SqlStock(url, query).read()).pieces == {"A%": 5}


@pytest.mark.parametrize(
    "form",
    [
        "sqlite:///{path}",
        "sqlite:///{path}?mode=rwc",
        "sqlite:///file:{path}?mode=rwc&uri=true",
        "sqlite+pysqlite:///{path}",
    ],
)
async def test_a_missing_sqlite_file_is_not_created_and_is_read_later(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a folder" / "shop.db"
    path.parent.mkdir()
    stock = SqlStock(form.format(path=path), "SELECT sku, left FROM goods")
    with pytest.raises(StockError, match=r"there is no file .*shop\.db"):
        await stock.read()
    assert list(path.parent.iterdir()) == []
    _database(path, "CREATE TABLE goods (sku TEXT, left INTEGER)", "INSERT INTO goods VALUES ('A', 5)")
    assert (await stock.read()).pieces == {"A": 5}
    with pytest.raises(StockError, match="readonly"):
        await SqlStock(form.format(path=path), "DELETE FROM goods RETURNING sku, left").read()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true", "sqlite://shop.db"]
)
async def test_a_url_of_sqlite_without_a_file_is_refused_at_once(url: str) -> None:
    with pytest.raises(StockSetupError, match="the URL names no file"):
        SqlStock(url, "SELECT 1, 2")


async def test_a_database_in_wal_mode_is_read_while_another_process_writes(tmp_path: Path) -> None:
    writer = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE goods (sku TEXT, left INTEGER)")
    stock = SqlStock(f"sqlite:///{tmp_path / 'shop.db'}", "SELECT sku, left FROM goods")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO goods VALUES ('A', 5)")
    assert (await stock.read()).pieces == {}
    writer.execute("COMMIT")
    writer.close()
    assert (await stock.refresh()).pieces == {"A": 5}


@pytest.mark.parametrize(
    ("query", "error", "told"),
    [
        ("SELECT sku FROM goods", StockSetupError, "it gives sku"),
        ("SELECT 1, 2, 3, 4", StockSetupError, "it must give shop_uid, quantity"),
        ("SELECT sku, 12.0 AS price, 0 AS qty FROM goods", StockSetupError, "it gives sku, price, qty. Name them"),
        (
            "SELECT sku AS shop_uid, 12 AS Price, 0 AS left FROM goods",
            StockSetupError,
            "it gives shop_uid, price, left",
        ),
        ("SELECT 12 AS price, 0 AS quantity, sku FROM goods", StockSetupError, "it gives price, quantity, sku"),
        ("SELECT 0 AS qty, sku FROM goods", StockSetupError, "it gives qty, sku"),
        ("SELECT shop_uidd, 1 FROM goods", StockSetupError, "no such column: shop_uidd"),
        ("CREATE TEMP TABLE kept (sku TEXT)", StockSetupError, "gives no rows: is it a SELECT?"),
        ("SELECT sku, 1 FROM nowhere", StockSetupError, "OperationalError: no such table: nowhere"),
        ("SELEKT 1, 2", StockSetupError, "syntax error"),
    ],
)
async def test_a_failed_query_is_reported_with_the_drivers_message(
    tmp_path: Path, query: str, error: type[StockError], told: str
) -> None:
    url = _database(tmp_path / "shop.db", "CREATE TABLE goods (sku TEXT)")
    with pytest.raises(StockError) as refused:
        await SqlStock(url, query).read()
    assert isinstance(refused.value, error)
    assert told in str(refused.value)


async def test_no_message_contains_a_password() -> None:
    # The port is closed; the driver's sentence names host and port, and so the password that is among them.
    for url, secret in (
        ("postgresql+psycopg://shop:5999@127.0.0.1:5999/goods", "5999"),
        ("postgresql+psycopg://shop:se%40cret@127.0.0.1:1/goods?application_name=se%2540cret", "se@cret"),
        ("postgresql+psycopg://shop@127.0.0.1:1/goods?password=127.0.0.1", "127.0.0.1"),
        ("postgresql+psycopg://shop:on@127.0.0.1:1/goods", "on"),
    ):
        with pytest.raises(StockError) as refused:
            await SqlStock(url, "SELECT 1, 2").read()
        said = str(refused.value)
        assert "OperationalError" in said
        assert secret not in said.replace("the database of the stock", "").replace("OperationalError", ""), said
        assert refused.value.__cause__ is None
    with pytest.raises(StockError, match=r"connection to server at|connection failed") as refused:
        await SqlStock("postgresql+psycopg://shop:long-secret@127.0.0.1:1/goods", "SELECT 1, 2").read()


@pytest.mark.parametrize(
    "url",
    [
        "nonsense://user:secret@x",
        "postgresql://user:secret@host:secret/db",
        "://secret",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(StockSetupError) as refused:
        SqlStock(url, "SELECT 1, 2")
    assert "sec" not in str(refused.value)


# Addresses and functions


@pytest.mark.parametrize(
    ("content", "shelf"),
    [
        ({"A": 5, "B": "2"}, Shelf({"A": 5, "B": 2})),
        (
            [{"shop_uid": "A ", "quantity": 5}, {"shop_uid": 7, "quantity": 2.0, "price": "3,50"}],
            Shelf({"A": 5, "7": 2}, {"7": Decimal("3.50")}),
        ),
        ({"A": 5000.0, "B": -3}, Shelf({"A": 5000, "B": 0})),
        ({}, Shelf()),
        ([], Shelf()),
    ],
)
async def test_a_url_and_a_function_give_the_same_stock(content: Any, shelf: Shelf) -> None:
    address = Address(HttpAnswer(200, msgspec.json.encode(content)))
    stock = HttpStock(address, "http://shop/stock", clock=lambda: 0.0)
    assert await stock.read() == shelf
    assert await stock.read() == shelf
    assert address.asked == 1

    async def later() -> Any:
        await asyncio.sleep(0)  # Let the other task begin.
        return content

    functions: list[Callable[[], Any]] = [lambda: content, later]
    for function in functions:
        assert await FunctionStock(function).read() == shelf


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
async def test_json_is_read_with_a_byte_order_mark_and_without(encoding: str) -> None:
    assert (await _address('{"Α": 5}'.encode(encoding)).read()).pieces == {"Α": 5}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"A": "many", "B": 1}', 'entry 1: the quantity "many" is not a number'),
        ('{"A": 1.5, "B": 1}', "not a whole number"),
        ('{"A": null, "B": 1}', "there is no quantity"),
        ('{"A": true, "B": 1}', '"True" is not a number'),
        ('{"A": 99999999999, "B": 1}', "more than 999999999 pieces"),
        ('{"A": "1e9", "B": 1}', "not a number"),
        ('{"A": NaN, "B": 1}', "not a number"),
        ('{"A": -Infinity, "B": 1}', "not a number"),
        ('{"A": "5.000", "B": 1}', "--stock-decimal"),
        ('{"A": {"quantity": 5}, "B": 1}', "not a number"),
        ('{"A": 1, "B": 1, "A": 2}', "it stands on entries 1, 3"),
        ('{"A": 1, "B": 1, " A": 1, "A": 1}', "it stands on entries 1, 3, 4"),
        (f"[{ONE_A}, {ONE_B}, {ONE_A}]", "it stands on rows 1, 3"),
        (f'[{{"shop_uid": "A", "quantity": 1, "quantity": 2}}, {ONE_B}]', "a member of it comes twice"),
        ('[{"shop_uid": "A"}, {"shop_uid": "B", "quantity": 1}, {"quantity": 4}]', "there is no quantity"),
    ],
)  # fmt: skip
async def test_an_unreadable_entry_makes_only_its_product_unreadable(text: str, reason: str) -> None:
    shelf = await _address(text.encode()).read()
    assert shelf.pieces == {"B": 1}
    assert list(shelf.unreadable) == ["A"]
    assert reason in shelf.unreadable["A"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'[{"sku": "A", "qty": 5}]', "its objects name no shop_uid; they name sku, qty"),
        (b'[{"shop_uid": "A", "qty": 5}]', "its objects name no quantity"),
        (b"[{}]", "they name nothing"),
        (b'{"data": [{"shop_uid": "A", "quantity": 5}], "total": 3, "page": 1}', r"members that .* \(data\)"),
        (b'{"inventory": [{"shop_uid": "A", "quantity": 5}], "next_page": 2}', r"members that .* \(inventory\)"),
        (b'{"result": {"A": 5}, "page": 1}', r"members that are not quantities \(result\)"),
        (b'{"products": [{"shop_uid": "A", "quantity": 5}]}', r"members that are not quantities \(products\)"),
        (b"[1]", "neither an object of quantities nor a list of objects"),
        (b"7", "neither an object"),
        (b"null", "neither an object"),
    ],
)
async def test_json_of_another_form_raises_stock_setup_error(content: bytes, told: str) -> None:
    with pytest.raises(StockSetupError, match=told):
        await _address(content).read()


@pytest.mark.parametrize(
    "content", [b"not json", b"", b"<html>", b'{"A": 1', b"\xff\xff\xff", b"[" * 100_000, b"1" * 5000]
)
async def test_invalid_json_raises_a_short_stock_error(content: bytes) -> None:
    with pytest.raises(StockError) as refused:
        await _address(content).read()
    assert len(str(refused.value)) < 300


async def test_an_error_status_or_a_failing_function_raises_stock_error() -> None:
    with pytest.raises(StockError, match="503"):
        await _address(b"{}", 503).read()

    def broken() -> None:
        raise KeyError("A")

    with pytest.raises(StockError, match="KeyError"):
        await FunctionStock(broken).read()


async def test_refresh_returns_stock_requested_after_the_call() -> None:
    address = Address(*(HttpAnswer(200, b'{"A": %d}' % number) for number in (3, 2, 1)))
    stock = HttpStock(address, "http://shop/", clock=lambda: 0.0)
    assert (await stock.read()).pieces == {"A": 3}
    assert (await stock.read()).pieces == {"A": 3}
    address.waits = asyncio.Event()
    first = asyncio.create_task(stock.refresh())
    await asyncio.sleep(0)  # Let the other task begin.
    second = asyncio.create_task(stock.refresh())
    await asyncio.sleep(0)  # Let the other task begin.
    address.waits.set()
    assert (await first).pieces == {"A": 2}
    assert (await second).pieces == {"A": 1}, "the question that was under way is older than this call"


async def test_concurrent_reads_share_one_request_and_a_failure_is_retried() -> None:
    address = Address(HttpAnswer(500, b""), HttpAnswer(200, b'{"A": 1}'))
    stock = HttpStock(address, "http://shop/", clock=lambda: 0.0)
    failed = await asyncio.gather(*(stock.read() for _ in range(9)), return_exceptions=True)
    assert all(isinstance(error, StockError) for error in failed)
    assert {
        number for shelf in await asyncio.gather(*(stock.read() for _ in range(9))) for number in shelf.pieces.values()
    } == {1}
    assert address.asked == 2


@pytest.mark.anyio
@pytest.mark.parametrize("quantity", [b"null", b'"x"', b'"1.000"', b"{}"])
async def test_an_unreadable_quantity_of_the_warehouse_is_not_zero(quantity: bytes) -> None:
    class Warehouse:
        async def send(self, method: str, url: str, headers: object, body: bytes | None) -> HttpAnswer:
            products = b'{"id": 1, "shop_uid": "A", "quantity": %b}, {"id": 2, "shop_uid": "B", "quantity": "3"}'
            meta = b'{"pagination": {"page": 1, "per": 100, "total_pages": 1, "total_results": 2}}'
            return HttpAnswer(200, b'{"products": [%b], "meta": %b}' % (products % quantity, meta))

        async def close(self) -> None:
            """Nothing to close."""

    async with AsyncClient("http://market", "secret", transport=Warehouse()) as client:
        shelf = await WarehouseStock(client).read()
    assert shelf.pieces == {"B": 3}
    assert set(shelf.unreadable) == {"A"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"error": "invalid api key"}', r"it reports an error instead of stock \(error: invalid api key\)"),
        ('{"code": 401, "message": "x"}', r"reports an error instead of stock \(code: 401\)"),
        ('{"A": 5, "Success": false}', r"reports an error instead of stock \(Success: False\)"),
        ('{"A": "many", "B": null}', r"names no quantity \(A, B\)"),
    ],
)
async def test_an_error_answer_is_not_empty_stock(text: str, told: str) -> None:
    with pytest.raises(StockError, match=told) as refused:
        await _address(text.encode()).read()
    # It may pass, so that a connector starts with it.
    assert type(refused.value) is StockError


def test_an_unreadable_variation_of_a_live_source_still_belongs_to_its_product() -> None:
    rows = b'[{"shop_uid": "P-M", "product_uid": "P", "quantity": 1, "quantity": 2}]'
    shelf = shelf_of_json(rows, "stock")
    assert (shelf.products, list(shelf.unreadable)) == ({"P-M": "P"}, ["P-M"])
