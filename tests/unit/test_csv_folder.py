"""The CSV files for a shop's own system."""

import csv
import io
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest

from kalathi.cli.merchant import merchant
from kalathi.cli.merchant_parts import recipient_of
from kalathi.merchant.client.transport import HttpAnswer
from kalathi.merchant.csv_folder import (
    ORDER_COLUMNS,
    RETURN_COLUMNS,
    CsvFolder,
    CsvStyle,
    file_name,
    render_csv,
)
from kalathi.merchant.handing_over import HandoverError

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests/data/examples"


class NoNetwork:
    """A folder needs none."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpAnswer:
        raise AssertionError(url)

    async def close(self) -> None:
        pass


def _recorded(name: str) -> dict[str, Any]:
    text = (EXAMPLES / f"api/orders/{name}.json").read_bytes()
    order: dict[str, Any] = json.loads(text, parse_float=Decimal)["order"]
    return order


def _rows(told: dict[str, Any], style: CsvStyle = CsvStyle.PLAIN) -> list[dict[str, str]]:
    """The rows as a program reads them."""
    delimiter = ";" if style is CsvStyle.EXCEL_EL else ","
    return list(csv.DictReader(io.StringIO(render_csv(told, style), newline=""), delimiter=delimiter))


def _as_excel(cell: str) -> str | Decimal:
    """What Greek Excel has in a cell after a double click, as far as these files go: the text of a formula that is
    only a text, a number, or the text itself; an error for what it would take for a date or run as a formula."""
    if found := re.fullmatch(r'="((?:[^"]|"")*)"', cell):
        assert len(found[1]) <= 255, "Excel refuses a longer text in a formula"
        return found[1].replace('""', '"')
    if re.fullmatch(r"-?\d{1,15}(,\d+)?", cell):
        return Decimal(cell.replace(",", "."))
    assert not re.fullmatch(r"TRUE|FALSE|[A-Z]{3}\d+", cell), f"Excel takes {cell} for a truth value or a date"
    assert not cell or cell[0].isalpha() or cell[0] == "'" or re.fullmatch(r"\d\d/\d\d/\d{4} [\d:]{8}", cell), cell
    return cell


def _order(**changes: Any) -> dict[str, Any]:
    line = {"id": 7, "shop_uid": "A", "product_name": "x, y", "quantity": 2, "unit_price": Decimal("10.4")}
    return {"kind": "order", "order": {"code": "261128-1", "state": "accepted", "line_items": [line]} | changes}


async def test_each_order_has_one_file_and_each_line_one_row(tmp_path: Path) -> None:
    folder = CsvFolder(tmp_path / "orders")
    for state in ("accepted", "dispatched"):
        await folder.receive("261128-1", json.dumps(_order(state=state), default=float).encode())
    [path] = (tmp_path / "orders").iterdir()
    assert path.name == "261128-1.csv"
    text = path.read_bytes().decode("utf-8")
    assert text.startswith("code,state,shop_uid,product_name,quantity,unit_price,")
    assert text.splitlines()[1].startswith('261128-1,dispatched,A,"x, y",2,10.40,')


async def test_returns_have_files_of_their_own(tmp_path: Path) -> None:
    folder = CsvFolder(tmp_path)
    recorded = json.loads((EXAMPLES / "api/returns/DEMO-RETURN.json").read_bytes())["return"]
    told = {"kind": "return", "return": recorded | {"return_code": "R-261128-1"}}
    await folder.receive("R-261128-1", json.dumps(told).encode())
    [path] = tmp_path.iterdir()
    assert path.name == "R-261128-1.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert len(rows) == len(recorded["return_line_items"])
    for row, line in zip(rows, recorded["return_line_items"], strict=True):
        assert row["return_code"] == "R-261128-1"
        assert row["order_code"] == recorded["order_code"]
        assert row["state"] == recorded["state"]
        assert row["line_id"] == line["id"]
        assert row["returning_quantity"] == str(line["returning_quantity"])
        assert row["return_reason"] == line.get("return_reason", "")


def test_size_customer_and_invoice_have_columns() -> None:
    [row, *others] = _rows({"kind": "order", "order": _recorded("DEMO-INVOICE39A")})
    assert len(others) == 2
    expected = {
        "line_id": "Y5jVmgKmeX",
        "shop_uid": "405753",
        "shop_variation_uid": "40575312-14",
        "size_label": "Ηλικία",
        "size": "14 χρονών",
        "size_shop_value": "12-14",
        "size_ean": "1234567890321",
        "ean": "1234567890123",
        "unit_price": "17.99",
        "total_price": "35.98",
        "price_includes_vat": "yes",
        "created_at": "2021-06-24T13:12:29+03:00",
        "first_name": "John",
        "last_name": "Doe",
        "phone": "2109999999",
        "mobile": "(+30) 6999999999",
        "street_name": "Πανεπιστημίου",
        "street_number": "4",
        "zip": "12345",
        "courier": "CourierCenter",
        "comments": "Παράδοση στο γραφείο",
        "invoice": "yes",
        "invoice_document": "invoice_39a",
        "company": "ACME",
        "profession": "Internet Services",
        "vat_number": "111119191",
        "doy": "ΙΒ Αθηνών",
        "invoice_city": "Αθήνα",
        "vat_exclusion_requested": "yes",
        "representative_id_type": "ΑΤ Αστυνομική Ταυτότητα",
        "representative_id_number": "12345",
        "representative_otp": "123456",
    }
    assert {name: row[name] for name in expected} == expected
    assert others[0]["price_includes_vat"] == "no"


def test_a_list_is_one_cell_and_a_missing_value_an_empty_one() -> None:
    order = _order(
        courier_tracking_codes=["0012", 34],
        returns=[{"return_uuid": "u", "tracking_ids": ["t1", "t2"]}, {"tracking_ids": None}, None],
        customer=None,
        invoice_details={"vat_exclusion_documents": ["https://x/1", "https://x/2"]},
    )
    [row] = _rows(order)
    assert row["tracking_codes"] == "0012 34"
    assert row["return_tracking_codes"] == "t1 t2"
    assert row["vat_exclusion_documents"] == "https://x/1 https://x/2"
    assert row["first_name"] == row["vat_number"] == row["size"] == ""
    assert [row["code"] for row in _rows(_order(line_items=None))] == ["261128-1"], "no order is a file without a row"


@pytest.mark.parametrize("name", ["DEMO-OPEN", "DEMO-INVOICE", "DEMO-INVOICE39A", "DEMO-RETURN", "DEMO-STORE-PICKUP"])
@pytest.mark.parametrize("style", list(CsvStyle))
def test_any_member_may_be_null(name: str, style: CsvStyle) -> None:
    order = _recorded(name)
    for holder in (order, order["customer"], order["customer"]["address"], *order["line_items"]):
        for member in list(holder):
            before = holder[member]
            holder[member] = None
            assert render_csv({"kind": "order", "order": order}, style).count("\r\n") >= 2
            holder[member] = before


# Excel


async def test_excel_gets_a_semicolon_a_decimal_comma_and_a_bom(tmp_path: Path) -> None:
    folder = recipient_of(f"csv:{tmp_path}", NoNetwork(), csv_style=CsvStyle.EXCEL_EL)
    assert folder is not None
    await folder.receive("261128-1", json.dumps(_order(), default=float).encode())
    content = (tmp_path / "261128-1.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfcode;state;")
    assert b";2;10,40;" in content
    plain = recipient_of(f"csv:{tmp_path}", NoNetwork())
    assert plain is not None
    await plain.receive("261128-1", json.dumps(_order(), default=float).encode())
    assert (tmp_path / "261128-1.csv").read_bytes().startswith(b"code,state,")


@pytest.mark.parametrize("style", list(CsvStyle))
@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Decimal("10.4"), "10.40"),
        (Decimal(100), "100.00"),
        (Decimal("8.3456"), "8.3456"),
        (Decimal("-5.5"), "-5.50"),
        ("17.99", "17.99"),
        (Decimal("1E+3"), "1000.00"),
        (Decimal(0), "0.00"),
    ],
)
def test_numbers_stay_numbers(style: CsvStyle, number: object, text: str) -> None:
    [row] = _rows(_order(line_items=[{"unit_price": number, "vat_ratio": Decimal("24.0")}]), style)
    expected = text if style is CsvStyle.PLAIN else text.replace(".", ",")
    assert (row["unit_price"], row["vat_ratio"]) == (expected, "24")
    assert style is CsvStyle.PLAIN or _as_excel(row["unit_price"]) == Decimal(text)


@pytest.mark.parametrize(
    "identifier",
    [
        "0123",
        "12345678901234567890",
        "12-14",
        "1/2",
        "3E5",
        "1.000",
        "MAR1",
        "+30 2101234567",
        '5" x 7"',
        "TRUE",
        "094014201",
    ],
)
def test_excel_keeps_identifiers_as_they_are(identifier: str) -> None:
    line = {"ean": identifier, "shop_uid": identifier, "size": {"value": identifier}}
    order = _order(
        line_items=[line],
        courier_tracking_codes=[identifier],
        customer={"mobile": identifier, "address": {"zip": identifier, "street_number": identifier}},
        invoice_details={"vat_number": identifier},
    )
    [row] = _rows(order, CsvStyle.EXCEL_EL)
    for name in ("ean", "shop_uid", "size", "tracking_codes", "mobile", "zip", "street_number", "vat_number"):
        assert _as_excel(row[name]) == identifier, name
    [row] = _rows(order)
    assert row["ean"] == identifier


def test_excel_reads_times_of_athens() -> None:
    for told, shown in (
        ("2026-11-28T13:24:37+02:00", "28/11/2026 13:24:37"),
        ("2026-08-18T09:12:03Z", "18/08/2026 12:12:03"),
        ("yesterday", "yesterday"),
    ):
        [row] = _rows(_order(created_at=told), CsvStyle.EXCEL_EL)
        assert row["created_at"] == shown
        assert _rows(_order(created_at=told))[0]["created_at"] == told


ATTACKS = [
    "=HYPERLINK(1)",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1+1",
    "\ufeff=1+1",
    "＝1+1",
    '="x"&A1',
    "=" + "A" * 400,
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("style", list(CsvStyle))
def test_no_text_of_a_customer_runs_as_a_formula(attack: str, style: CsvStyle) -> None:
    order = _order(
        comments=attack,
        customer={"first_name": attack, "phone": attack, "address": {"street_name": attack, "zip": attack}},
        line_items=[{"unit_price": attack, "quantity": attack, "product_name": attack, "ean": attack}],
        created_at=attack,
        gift_wrap=attack,
        invoice_details={"company": attack, "vat_number": attack},
    )
    [row] = _rows(order, style)
    for name, cell in row.items():
        if style is CsvStyle.EXCEL_EL:
            _as_excel(cell)
        else:
            assert cell.lstrip("\ufeff")[:1] not in {*"=+-@＝＋－＠\t\r\n"}, name


def test_phones_stay_as_they_are_for_programs() -> None:
    for phone in ("+30 210 1234567", "+306999999999", "(+30) 6999999999", "-"):
        [row] = _rows(_order(customer={"phone": phone}))
        assert row["phone"] == phone


@pytest.mark.parametrize("style", list(CsvStyle))
def test_a_row_is_one_line_of_the_file(style: CsvStyle) -> None:
    told = _order(comments="first\r\nsecond\n\n third\u2028fourth\x00!")
    text = render_csv(told, style)
    assert len(text.splitlines()) == 2
    assert _rows(told, style)[0]["comments"] == "first / second / third / fourth !"


# Files


def test_codes_that_look_alike_do_not_share_a_file() -> None:
    codes = ["261128-1", "a/b", "a_b", "a b", "A-b", "A-B", "../a", "R-1", "CON", "Ω-1", "Ω-2", "x" * 70, "x" * 71, ""]
    names = [file_name(code, is_return=kind) for code in codes for kind in (False, True)]
    assert len({name.casefold() for name in names}) == len(names)
    assert file_name("261128-1", is_return=False) == "261128-1"
    assert file_name("R-261128-1", is_return=True) == "R-261128-1"
    for code in codes:
        assert file_name(code, is_return=True).startswith("R-")
        assert not file_name(code, is_return=False).startswith("R-")
    assert all(re.fullmatch(r"[0-9A-Za-z_-]{1,60}", name) for name in names)


async def test_a_failed_write_is_reported_and_keeps_the_earlier_file(tmp_path: Path) -> None:
    folder = CsvFolder(tmp_path)
    body = json.dumps(_order(), default=float).encode()
    await folder.receive("261128-1", body)
    before = (tmp_path / "261128-1.csv").read_bytes()
    (tmp_path / "261128-1.part").mkdir()
    with pytest.raises(HandoverError, match=r"261128-1\.csv: Is a directory"):
        await folder.receive("261128-1", body.replace(b"accepted", b"dispatched"))
    assert (tmp_path / "261128-1.csv").read_bytes() == before
    for unreadable in (b"{", b"[]", b'{"kind": "order"}', b'{"kind": "order", "order": null}'):
        with pytest.raises(HandoverError, match="261128-1 cannot be written as CSV"):
            await folder.receive("261128-1", unreadable)
    await folder.receive("261128-2", b'{"kind": "greeting"}')
    assert not (tmp_path / "261128-2.csv").exists()


async def test_a_lone_surrogate_does_not_lose_an_order(tmp_path: Path) -> None:
    await CsvFolder(tmp_path).receive("261128-1", json.dumps(_order(comments="\ud83d!"), default=float).encode())
    assert "?!" in (tmp_path / "261128-1.csv").read_text("utf-8")


# Documents


def test_every_column_is_documented() -> None:
    page = (ROOT / "docs/hand-over.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z_]+)`", page))
    for columns in (ORDER_COLUMNS, RETURN_COLUMNS):
        names = [column.name for column in columns]
        assert len(set(names)) == len(names)
        assert set(names) <= named


def test_the_flag_offers_every_style() -> None:
    [option] = [option for option in merchant.params if option.name == "csv_style"]
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == list(CsvStyle)
    assert option.envvar == "KALATHI_CSV_STYLE"
