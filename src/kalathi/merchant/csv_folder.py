"""A folder of CSV files for a shop's own system: one file for each order and each return, one row for each line.

There are two styles, because programs and spreadsheets need different files. `plain` is for programs: comma, decimal
point, no BOM, unchanged values. `excel-el` can be opened with a double click in Excel with Greek regional settings:
semicolon, decimal comma, BOM. Excel guesses the type of each cell of a CSV, even of a quoted one: `0123` loses its
zero, an EAN of 16 digits loses its last digits, and the size `12-14` becomes a date. A formula that consists of a text,
`="0123"`, prevents this. So this style writes every identifier in this form, and other texts if they do not begin with
a letter.

Names, addresses and comments come from customers. A spreadsheet would run a cell that begins with `=`, `+`, `-` or `@`
as a formula, so this module never writes a text in that form.
"""

import asyncio
import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from kalathi.merchant.handing_over import HandoverError


class CsvStyle(StrEnum):
    """The styles of the files. The values are those of `--csv-style`."""

    PLAIN = "plain"
    EXCEL_EL = "excel-el"


class _Kind(Enum):
    TEXT = "text"
    # Text that a spreadsheet could read as a number or a date: codes, EANs, sizes, phones, VAT numbers.
    IDENTIFIER = "identifier"
    MONEY = "money"
    NUMBER = "number"
    FLAG = "flag"
    TIME = "time"


class _Column(NamedTuple):
    name: str
    kind: _Kind
    # Members of the hand-over's body, from `order`, `return` or `line` downwards.
    path: str


def _columns(*rows: tuple[_Kind, str]) -> tuple[_Column, ...]:
    """Build the columns. Each row is a kind and a list of `path` or `name=path`. The default name is the last member of
    the path."""
    found = []
    for kind, listed in rows:
        for entry in listed.split():
            name, _, path = entry.rpartition("=")
            found.append(_Column(name or path.rpartition(".")[2], kind, path))
    return tuple(found)


# The first six columns never change, because some importers read the file by position.
ORDER_COLUMNS: Final = _columns(
    (_Kind.IDENTIFIER, "order.code"),
    (_Kind.TEXT, "order.state"),
    (_Kind.IDENTIFIER, "line.shop_uid"),
    (_Kind.TEXT, "line.product_name"),
    (_Kind.NUMBER, "line.quantity"),
    (_Kind.MONEY, "line.unit_price"),
    (_Kind.MONEY, "line.total_price"),
    (_Kind.NUMBER, "line.vat_ratio"),
    (_Kind.FLAG, "line.price_includes_vat line.island_vat_discount_applied"),
    (_Kind.IDENTIFIER, "line_id=line.id line.shop_variation_uid"),
    (_Kind.TEXT, "size_label=line.size.label"),
    (_Kind.IDENTIFIER, "size=line.size.value size_shop_value=line.size.shop_value"),
    (_Kind.IDENTIFIER, "size_shop_variation_uid=line.size.shop_variation_uid size_ean=line.size.ean line.ean line.mpn"),
    (_Kind.TEXT, "line.extra_info"),
    (_Kind.IDENTIFIER, "line.serial_numbers"),
    (_Kind.TEXT, "line.rejection_reason line.return_reason"),
    (_Kind.IDENTIFIER, "return_tracking_codes=order.returns.tracking_ids"),
    (_Kind.TIME, "order.created_at order.dispatch_until"),
    (_Kind.IDENTIFIER, "customer_id=order.customer.id"),
    (_Kind.TEXT, "order.customer.first_name order.customer.last_name"),
    (_Kind.IDENTIFIER, "order.customer.phone order.customer.mobile"),
    (_Kind.TEXT, "order.customer.address.street_name"),
    (_Kind.IDENTIFIER, "order.customer.address.street_number order.customer.address.floor order.customer.address.zip"),
    (_Kind.TEXT, "order.customer.address.city order.customer.address.region order.customer.address.country_code"),
    (_Kind.TEXT, "collection_point=order.customer.address.collection_point_address"),
    (_Kind.TEXT, "address_comments=order.customer.address.comments order.comments"),
    (_Kind.TEXT, "order.courier"),
    (_Kind.IDENTIFIER, "tracking_codes=order.courier_tracking_codes"),
    (_Kind.TEXT, "voucher_url=order.courier_voucher"),
    (_Kind.TIME, "pickup_from=order.pickup_window.from pickup_to=order.pickup_window.to"),
    (_Kind.NUMBER, "order.number_of_parcels"),
    (_Kind.TEXT, "order.payment_method"),
    (_Kind.FLAG, "order.paid_by_user"),
    (_Kind.MONEY, "order.shipping_cost"),
    (_Kind.FLAG, "order.express order.gift_wrap order.store_pickup order.fulfilled_by_skroutz"),
    (_Kind.TEXT, "order.custom"),
    (_Kind.IDENTIFIER, "order.replaced"),
    (_Kind.FLAG, "order.invoice"),
    (_Kind.TEXT, "order.invoice_document order.invoice_details.company order.invoice_details.profession"),
    (_Kind.IDENTIFIER, "order.invoice_details.vat_number"),
    (_Kind.TEXT, "order.invoice_details.doy"),
    (_Kind.TEXT, "invoice_street_name=order.invoice_details.address.street_name"),
    (_Kind.IDENTIFIER, "invoice_street_number=order.invoice_details.address.street_number"),
    (_Kind.IDENTIFIER, "invoice_zip=order.invoice_details.address.zip"),
    (_Kind.TEXT, "invoice_city=order.invoice_details.address.city"),
    (_Kind.TEXT, "invoice_region=order.invoice_details.address.region"),
    (_Kind.FLAG, "order.invoice_details.vat_exclusion_requested"),
    (_Kind.TEXT, "order.invoice_details.vat_exclusion_verification_method"),
    (_Kind.TEXT, "order.invoice_details.vat_exclusion_documents"),
    (_Kind.TEXT, "representative_id_type=order.invoice_details.vat_exclusion_representative.id_type"),
    (_Kind.IDENTIFIER, "representative_id_number=order.invoice_details.vat_exclusion_representative.id_number"),
    (_Kind.IDENTIFIER, "representative_otp=order.invoice_details.vat_exclusion_representative.otp"),
    (_Kind.IDENTIFIER, "representative_mobile=order.invoice_details.vat_exclusion_representative.mobile"),
)

RETURN_COLUMNS: Final = _columns(
    (_Kind.IDENTIFIER, "return.return_code"),
    (_Kind.TEXT, "return.state"),
    (_Kind.IDENTIFIER, "return.order_code line_id=line.id line.ean"),
    (_Kind.TEXT, "line.product_name"),
    (_Kind.NUMBER, "line.returning_quantity"),
    (_Kind.TEXT, "line.return_reason line.user_comment line.user_photos"),
    (_Kind.TIME, "return.created_at"),
    (_Kind.TEXT, "return.courier"),
    (_Kind.IDENTIFIER, "tracking_codes=return.courier_tracking_ids"),
    (_Kind.TEXT, "return.returning_address.street_name"),
    (_Kind.IDENTIFIER, "return.returning_address.street_number return.returning_address.zip"),
    (_Kind.TEXT, "return.returning_address.city return.returning_address.region"),
    (_Kind.TEXT, "return.returning_address.country_code"),
)

_ATHENS: Final = ZoneInfo("Europe/Athens")
_FORMULA_BEGINNINGS: Final = frozenset("=+-@＝＋－＠")
# A phone such as `+30 210 1234567`. A spreadsheet could read it as a sum, which is harmless.
_ONLY_DIGITS_AND_SIGNS: Final = re.compile(r"[+\-][0-9 ()./\-]*")
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Excel's limit for a text within a formula.
_LONGEST_FORMULA_TEXT: Final = 255
_FILE_NAME: Final = re.compile(r"[0-9A-Z]+(-[0-9A-Z]+)+")


class CsvFolder:
    """A folder with one CSV for each order and each return. A later change of the same order replaces its file."""

    def __init__(self, folder: Path, style: CsvStyle = CsvStyle.PLAIN) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._style = style
        # Use one separate thread, because the folder may be a network share that hangs, and changes must stay in order.
        self._thread = ThreadPoolExecutor(1)

    async def receive(self, code: str, body: bytes) -> None:
        """Write the file atomically. Raises HandoverError."""
        try:
            told = json.loads(body, parse_float=Decimal)
            kind = told["kind"]
            if kind not in {"order", "return"}:
                return
            text = render_csv(told, self._style)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise HandoverError(f"{code} cannot be written as CSV: {type(error).__name__}: {error}") from error
        encoding = "utf-8-sig" if self._style is CsvStyle.EXCEL_EL else "utf-8"
        content = text.encode(encoding, errors="replace")
        name = file_name(code, is_return=kind == "return")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, name, content)

    def _write(self, name: str, content: bytes) -> None:
        unfinished = self._folder / f"{name}.part"
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._folder / f"{name}.csv")
        except OSError as error:
            raise HandoverError(f"{self._folder / name}.csv: {error.strerror or error}") from error


def file_name(code: str, *, is_return: bool) -> str:
    """Return the file name of an order or a return, without the extension. Only the names of returns begin with `R-`.

    For a code such as `261128-1234567`, the name is the code. Any other code is made safe for every file system and
    gets a hash of its exact text, so that two codes such as `a/b` and `a_b`, or `A1-b` and `A1-B`, do not share a file.
    """
    if len(code) <= 60 and _FILE_NAME.fullmatch(code) and code.startswith("R-") == is_return:
        return code
    safe = re.sub(r"[^0-9A-Za-z-]", "_", code)[:40]
    mark = hashlib.sha256(code.encode(errors="backslashreplace")).hexdigest()[:8]
    begin = "R-" if is_return else "O-" if safe.startswith("R-") else ""
    return f"{begin}{safe}_{mark}"


def render_csv(told: dict[str, Any], style: CsvStyle) -> str:
    """Render the CSV of a hand-over's body. Members may be missing or null. An order without lines is one row."""
    kind = told["kind"]
    columns, lines = (ORDER_COLUMNS, "line_items") if kind == "order" else (RETURN_COLUMNS, "return_line_items")
    subject = told[kind]
    file = io.StringIO(newline="")
    rows = csv.writer(file, delimiter=";" if style is CsvStyle.EXCEL_EL else ",")
    rows.writerow([column.name for column in columns])
    for line in subject.get(lines) or [{}]:
        values = {kind: subject, "line": line}
        rows.writerow([_cell(column.kind, list(_members(values, column.path.split("."))), style) for column in columns])
    return file.getvalue()


def _members(value: Any, path: list[str]) -> Iterator[Any]:
    """Yield the values at a path. Lists are searched too. Yield nothing for a missing or null member."""
    if isinstance(value, list):
        for entry in value:
            yield from _members(entry, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, dict):
        yield from _members(value.get(path[0]), path[1:])


def _cell(kind: _Kind, values: list[Any], style: CsvStyle) -> str:
    if len(values) == 1:
        [value] = values
        if kind is _Kind.FLAG and isinstance(value, bool):
            return "yes" if value else "no"
        if kind in {_Kind.MONEY, _Kind.NUMBER} and (number := _number(value)) is not None:
            return _number_cell(number, style, places=2 if kind is _Kind.MONEY else 0)
        if kind is _Kind.TIME and style is CsvStyle.EXCEL_EL and (moment := _moment(value)) is not None:
            return moment
    text = _one_line(" ".join(str(value) for value in values))
    if style is CsvStyle.EXCEL_EL:
        return _excel_text(text, is_identifier=kind is _Kind.IDENTIFIER)
    return f"'{text}" if _is_formula(text) and not _ONLY_DIGITS_AND_SIGNS.fullmatch(text) else text


def _number(value: Any) -> Decimal | None:
    """Return the number, which older marketplaces send as a text, or None for any other value."""
    if isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < 10**15 else None


def _number_cell(number: Decimal, style: CsvStyle, *, places: int) -> str:
    """Render a number without an exponent and with at least `places` decimals. Do not round it."""
    text = f"{number:f}"
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0").ljust(places, "0")
    if not decimals:
        return whole
    return f"{whole}{',' if style is CsvStyle.EXCEL_EL else '.'}{decimals}"


def _moment(value: Any) -> str | None:
    """Render a time in the format of Excel with Greek settings, in Athens time. Return None without an offset."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return f"{moment.astimezone(_ATHENS):%d/%m/%Y %H:%M:%S}" if moment.tzinfo else None


def _one_line(text: str) -> str:
    """Replace line breaks in a text with ` / `, because many importers read one line of the file as one row."""
    parts = (_CONTROL_CHARACTERS.sub(" ", part).strip() for part in text.splitlines())
    return " / ".join(part for part in parts if part).lstrip("\ufeff\u200b ")


def _is_formula(text: str) -> bool:
    return text[:1] in _FORMULA_BEGINNINGS if text else False


def _excel_text(text: str, *, is_identifier: bool) -> str:
    if not text or (text[0].isalpha() and not is_identifier):
        return text
    inside = text.replace('"', '""')
    if len(inside.encode("utf-16-le", errors="replace")) // 2 <= _LONGEST_FORMULA_TEXT:
        return f'="{inside}"'
    # The text is too long for a formula, and too long to be a number. An apostrophe is visible, but no text is lost.
    return text if text[0].isalpha() else f"'{text}"
