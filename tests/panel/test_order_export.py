"""The list of orders as CSV and XLSX."""

import csv
import io
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest

from tests.market import CUSTOMER
from tests.panel.visitor import open_place

pytestmark = pytest.mark.anyio

_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def _read_csv(content: bytes) -> list[list[str]]:
    assert content.startswith(b"\xef\xbb\xbf"), "Excel reads UTF-8 only with a byte order mark"
    return list(csv.reader(io.StringIO(content[3:].decode(), newline=""), delimiter=";"))


def _read_xlsx(content: bytes) -> list[list[str]]:
    """The cells of the first sheet, as they are stored: texts, or numbers."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        sheet = ET.fromstring(archive.read("xl/worksheets/sheet1.xml"))
        texts = ET.fromstring(archive.read("xl/sharedStrings.xml"))
    shared = ["".join(part.text or "" for part in entry.iter(f"{_SHEET}t")) for entry in texts]
    rows = []
    for row in sheet.iter(f"{_SHEET}row"):
        cells = [(cell.get("t"), cell.findtext(f"{_SHEET}v") or "", cell.find(f"{_SHEET}f")) for cell in row]
        assert all(formula is None for _, _, formula in cells)
        rows.append([shared[int(value)] if kind == "s" else value for kind, value, _ in cells])
    return rows


async def test_the_files_have_the_orders_of_the_filter_in_the_readers_language(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        open_order = await place.shop.cart(A=2, B=1)
        accepted = await place.shop.accepted({"A": 1})
        tracking = (await place.shop.show(accepted))["courier_tracking_codes"]
        for ending, read in (("csv", _read_csv), ("xlsx", _read_xlsx)):
            answer = (await place.merchant.get(f"/shop/orders.{ending}?language=en")).answer
            assert f'filename="orders.{ending}"' in answer.headers["content-disposition"]
            head, *rows = read(answer.body)
            assert head[:4] == ["Code", "State", "Placed", "Customer"]
            assert {row[0] for row in rows} == {open_order, accepted}
            answer = (await place.merchant.get(f"/shop/orders.{ending}?state=accepted&language=el")).answer
            head, row = read(answer.body)
            assert head[:2] == ["Κωδικός", "Κατάσταση"]
            assert row[:2] == [accepted, "Αποδεκτή"]
            assert row[3] == f"{CUSTOMER['first_name']} {CUSTOMER['last_name']}"
            assert row[4] == "1 × Προϊόν A (A)"
            assert row[7:9] == ["Skroutz Last Mile", ", ".join(tracking)]
            # Excel with Greek settings reads a decimal comma; a workbook has numbers.
            assert row[5:7] == (["1", "10,40"] if ending == "csv" else ["1", "10.40"])
        assert (await place.merchant.get("/shop/orders.csv?state=nonsense")).status == 422


async def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        names = ("=HYPERLINK(1)", "+30", "-1", "@SUM(A1)", "＝1", "\tx")
        for name in names:
            await place.shop.place({"A": 1}, customer=CUSTOMER | {"first_name": name, "last_name": ""})
        _, *rows = _read_csv((await place.merchant.get("/shop/orders.csv")).answer.body)
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "＝"))], rows
        assert all(row[3].startswith("'") for row in rows if row[3] != "x"), rows
        _, *rows = _read_xlsx((await place.merchant.get("/shop/orders.xlsx")).answer.body)
        assert {row[3] for row in rows} >= {"=HYPERLINK(1)", "@SUM(A1)"}


async def test_a_long_order_fits_a_cell(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        listings = [
            {"shop_uid": f"L{number}", "product_name": "Μ" * 200, "unit_price": 1, "quantity": 5}
            for number in range(180)
        ]
        await place.market.operate("PUT", f"/marketplace/shops/{place.shop.id}/listings", listings)
        await place.shop.place({f"L{number}": 1 for number in range(180)})
        [_, row] = _read_xlsx((await place.merchant.get("/shop/orders.xlsx")).answer.body)
        assert len(row[4]) == 32_767


async def test_the_total_has_the_shipping_cost(tmp_path: Path) -> None:
    async with open_place(tmp_path, fulfillment_mode="fbm") as place:
        await place.shop.place({"A": 1}, shipping_cost=3.5)
        [_, row] = _read_csv((await place.merchant.get("/shop/orders.csv")).answer.body)
        assert row[6] == "13,90"
