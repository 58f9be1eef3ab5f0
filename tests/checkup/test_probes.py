"""The probes, each against its own source."""

import sqlite3
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kalathi.checkup.database_probe import SqlProbe
from kalathi.checkup.evidence import ProbeAnswer
from kalathi.checkup.opening_probes import open_probe
from kalathi.checkup.probes import CommandProbe, Probe, ProbeError, UrlProbe
from kalathi.checkup.shop_probes import ConnectorProbe, WooCommerceProbe
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.reservations import Claim
from kalathi.merchant.inbox.subjects import Subject
from tests.e2e.processes import served
from tests.e2e.woocommerce_shop import Product, WooCommerce

pytestmark = pytest.mark.anyio

CODE = "261130-1234567"
WHOLE = ProbeAnswer(orders=1, state="accepted", total=20.8, stock={"A": 3}, customer="Ελένη", tracking_codes=("1", "2"))
JSON = (
    '{"orders": 1, "state": "accepted", "total": 20.8, "stock": {"A": 3}, "customer": "Ελένη",'
    ' "tracking_codes": ["1", "2"], "unknown": {}}'
)


async def _ask(probe: Probe, code: str = CODE, uids: tuple[str, ...] = ("A",)) -> ProbeAnswer:
    try:
        return await probe.ask(code, uids)
    finally:
        await probe.close()


async def test_a_url_gets_the_code_and_the_products_and_answers_with_json() -> None:
    asked: list[Mapping[str, list[str]]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append({name: request.query.getall(name) for name in request.query})
        return web.Response(text=JSON)

    async with served(handle) as url:
        assert await _ask(UrlProbe(f"{url}/probe?key=1"), uids=("A", "B+&")) == WHOLE
        assert await _ask(UrlProbe(f"{url}/probe"), code="") == WHOLE
    assert asked == [{"key": ["1"], "order": [CODE], "sku": ["A", "B+&"]}, {"sku": ["A"]}]


@pytest.mark.parametrize(
    ("status", "text", "sentence"),
    [
        (500, "", "answered with 500 instead of 200"),
        (200, "no json", "It answered: no json"),
        (200, '{"orders": "many"}', "must answer with JSON"),
        (200, "[]", "must answer with JSON"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_quoted(status: int, text: str, sentence: str) -> None:
    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    async with served(handle) as url:
        with pytest.raises(ProbeError, match=sentence):
            await _ask(UrlProbe(url))


async def test_a_command_gets_the_code_and_the_products_as_arguments(tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    script.write_text(f"import sys\nassert sys.argv[1:] == ['{CODE}', 'A']\nprint('''{JSON}''')\n", "utf-8")
    assert await _ask(CommandProbe(f"{sys.executable} {script}")) == WHOLE
    script.write_text("import sys\nsys.exit('the database is away')\n", "utf-8")
    with pytest.raises(ProbeError, match="ended with status 1: the database is away"):
        await _ask(CommandProbe(f"{sys.executable} {script}"))
    with pytest.raises(ProbeError, match="cannot be started"):
        await _ask(CommandProbe(str(tmp_path / "none")))
    with pytest.raises(ProbeError, match="names no command"):
        CommandProbe(" ")


async def test_a_database_answers_one_select_for_orders_and_one_for_stock(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE orders (code TEXT, state TEXT, total NUMERIC, parcels TEXT, name TEXT)")
        connection.execute("CREATE TABLE stock (sku TEXT, pieces INTEGER)")
        connection.execute("INSERT INTO orders VALUES (?, 'accepted', 20.8, '1, 2', 'Ελένη')", (CODE,))
        connection.execute("INSERT INTO stock VALUES ('A', 3)")
    connection.close()
    order = (
        "SELECT count(*) AS orders, max(state) AS state, max(total) AS total, max(parcels) AS tracking_codes,"
        " max(name) AS customer FROM orders WHERE code = :code"
    )
    stock = "SELECT pieces FROM stock WHERE sku = :sku"
    assert await _ask(SqlProbe(f"sqlite:///{file}", order, stock), uids=("A", "B")) == WHOLE
    plain = "SELECT state FROM orders WHERE code = :code"
    assert await _ask(SqlProbe(f"sqlite:///{file}", plain, "")) == ProbeAnswer(orders=1, state="accepted")
    assert await _ask(SqlProbe(f"sqlite:///{file}", plain, ""), code="none") == ProbeAnswer(orders=0)
    with pytest.raises(ProbeError, match="no such table: absent"):
        await _ask(SqlProbe(f"sqlite:///{file}", "SELECT 1 FROM absent", ""))
    with pytest.raises(ProbeError, match="cannot be opened"):
        SqlProbe("nodatabase://x", "SELECT 1", "")


async def test_woocommerce_is_read_by_its_rest_api() -> None:
    shop = WooCommerce([Product(1, "A", stock=3, price=Decimal("10.40"))])
    order: dict[str, Any] = {
        "status": "processing",
        "total": "20.80",
        "billing": {"first_name": "Ελένη", "last_name": "Παπαδοπούλου"},
        "meta_data": [{"key": "_smart_cart_code", "value": CODE}],
        "line_items": [],
    }
    shop.orders = {7: {"id": 7, **order}, 8: {"id": 8, **order}, 9: {"id": 9, **order, "meta_data": []}}
    async with served(shop.answer) as url:
        answer = await _ask(WooCommerceProbe(url, "ck_1:cs_1"))
        assert (answer.orders, answer.state, answer.total) == (2, "accepted", 20.8)
        assert answer.customer == "Ελένη Παπαδοπούλου"
        assert (await _ask(WooCommerceProbe(url, "ck_1:cs_1"), code="261130-0000000")).orders == 0
    with pytest.raises(ProbeError, match="does not answer"):
        await _ask(WooCommerceProbe(url, "ck_1:cs_1"))


async def test_the_connectors_inbox_has_states_and_reserved_pieces_and_its_files_the_rest(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "merchant/merchant.db")
    inbox.jobs.plan(Subject.ORDER, CODE)
    inbox.subjects.note_state(Subject.ORDER, CODE, "accepted", None)
    inbox.reservations.reserve(CODE, [Claim(("A",), 2)])
    inbox.close()
    orders = tmp_path / "orders"
    orders.mkdir()
    header = "total_price,first_name,last_name,tracking_codes\n"
    (orders / f"{CODE}.csv").write_text(f'{header}10.40,Ελένη,Παπά,"1,2"\n10.40,Ελένη,Παπά,"1,2"\n', "utf-8")
    probe = ConnectorProbe(f"{tmp_path / 'merchant'},{orders}")
    answer = await _ask(probe, uids=("A", "B"))
    assert answer == ProbeAnswer(
        orders=1,
        state="accepted",
        total=20.8,
        stock={"A": -2, "B": 0},
        customer="Ελένη Παπά",
        tracking_codes=("1", "2"),
    )
    assert await _ask(probe, code="none") == ProbeAnswer(orders=0, state="none", stock={"A": -2})


def test_an_option_opens_the_probe_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "merchant.db").touch()
    select = "SELECT 1 AS orders"
    assert isinstance(open_probe("https://shop.example/probe"), UrlProbe)
    assert isinstance(open_probe("command:./probe.sh --all"), CommandProbe)
    assert isinstance(open_probe(f"merchant:{tmp_path}"), ConnectorProbe)
    assert isinstance(open_probe("sqlite:///shop.db", order_query=select), SqlProbe)
