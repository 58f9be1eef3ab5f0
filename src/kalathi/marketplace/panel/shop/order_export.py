"""The filtered list of orders as a file: CSV for Excel with Greek settings, and XLSX."""

import asyncio
import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from kalathi.marketplace.kernel.clock import ATHENS
from kalathi.marketplace.kernel.money import total
from kalathi.marketplace.kernel.spreadsheets import escape_formula
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.panel import wording
from kalathi.marketplace.panel.languages import Words
from kalathi.marketplace.panel.pages import Answer
from kalathi.marketplace.panel.shop.order_filter import read_filter
from kalathi.marketplace.panel.shop.orders import MOST_EXPORTED, find_listed
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.web.paging import Page
from kalathi.marketplace.web.reply import SECRET_FILE, Reply

# A longer cell would be left empty.
_LONGEST_CELL: Final = 32_767
_HEADERS: Final = (
    *("Code", "State", "Placed", "Customer", "Products", "Qty", "Total"),
    *("Courier", "Tracking", "Document"),
)
_WIDTHS: Final = (16, 16, 17, 28, 60, 8, 12, 20, 26, 14)


class _Row(NamedTuple):
    """An order as cells. The time is Athens time, the total euros."""

    code: str
    state: str
    placed: datetime
    customer: str
    products: str
    pieces: int
    total: Decimal
    courier: str
    tracking: str
    document: str


async def export_csv(visit: Visit) -> Answer:
    """The orders of the list as CSV, up to `MOST_EXPORTED`, with semicolons, decimal commas and a byte order mark. The
    filter is the list's own (`list_orders`). Raises INVALID_PARAMETER."""
    return await _export(visit, render_csv, "csv", "text/csv; charset=utf-8")


async def export_xlsx(visit: Visit) -> Answer:
    """The same as XLSX."""
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    return await _export(visit, render_xlsx, "xlsx", kind)


async def _export(
    visit: Visit, render: Callable[[Sequence[str], Iterable[_Row]], bytes], ending: str, media_type: str
) -> Answer:
    wanted, now, words, shop_id = read_filter(visit.query), visit.context.clock.now(), visit.words, visit.shop.id
    headers = [words.text(name) for name in _HEADERS]
    page = Page(1, MOST_EXPORTED)
    # One at a time: ten thousand orders take seconds and a hundred megabytes. On a thread, because the event loop must
    # go on.
    async with visit.panel.exporting:
        found = await visit.context.database.read_list(
            lambda view: find_listed(view, shop_id, wanted, now, page, MOST_EXPORTED)
        )
        content = await asyncio.to_thread(lambda: render(headers, (_read_row(entry, words) for entry in found.orders)))
    return Reply(200, content, _name_file(f"orders.{ending}", media_type))


def _name_file(name: str, media_type: str) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"content-type", media_type.encode()),
        (b"content-disposition", f'attachment; filename="{name}"'.encode()),
        (b"content-security-policy", b"default-src 'none'"),
        *SECRET_FILE,
    )


def _read_row(found: FoundOrder, words: Words) -> _Row:
    order = found.order
    customer, lines = order.recipient(), order.lines()
    return _Row(
        order.code,
        _name(order.state, "order_state", words),
        order.created_at.astimezone(ATHENS).replace(tzinfo=None),
        f"{customer.first_name} {customer.last_name}".strip(),
        "; ".join(f"{line.quantity} × {line.product_name} ({line.shop_uid})" for line in lines),
        sum(line.quantity for line in lines),
        total(line.total_price for line in lines) + (order.shipping_cost or Decimal(0)),
        order.courier or "",
        ", ".join(order.courier_tracking_codes),
        _name(order.invoice_document, "document", words),
    )


def _name(word: str, kind: str, words: Words) -> str:
    names: Mapping[str, str] = wording.KINDS[kind]
    return words.text(names.get(word, word))


def render_csv(headers: Sequence[str], rows: Iterable[_Row]) -> bytes:
    """Return the rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(headers)
    for row in rows:
        writer.writerow([_show_cell(cell) for cell in row])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _show_cell(cell: object) -> str:
    match cell:
        case datetime():
            return f"{cell:%d/%m/%Y %H:%M}"
        case Decimal():
            return f"{cell:.2f}".replace(".", ",")
        case _:
            return escape_formula(str(cell))


def render_xlsx(headers: Sequence[str], rows: Iterable[_Row]) -> bytes:
    """Return the rows as a workbook with one sheet. Times and amounts are values, not texts."""
    import xlsxwriter  # noqa: PLC0415  (few processes export)

    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True}) as workbook:
        sheet = workbook.add_worksheet()
        bold, moment = workbook.add_format({"bold": True}), workbook.add_format({"num_format": "dd/mm/yyyy hh:mm"})
        euros = workbook.add_format({"num_format": "#,##0.00"})
        for column, (header, width) in enumerate(zip(headers, _WIDTHS, strict=True)):
            sheet.set_column(column, column, width)
            sheet.write_string(0, column, header, bold)
        last = 0
        for last, row in enumerate(rows, start=1):
            for column, cell in enumerate(row):
                match cell:
                    case datetime():
                        sheet.write_datetime(last, column, cell, moment)
                    case Decimal():
                        sheet.write_number(last, column, cell, euros)
                    case int():
                        sheet.write_number(last, column, cell)
                    case _:
                        sheet.write_string(last, column, str(cell)[:_LONGEST_CELL])
        sheet.freeze_panes(1, 1)
        sheet.autofilter(0, 0, last, len(headers) - 1)
    return content.getvalue()
