"""Read a stock file in the forms that shops export: with comma, semicolon or tab, and with or without a `sep=` line or
a byte order mark, in any encoding.

The header defines the columns. A broken row makes only its own product unreadable. An unclosed quote absorbs the rows
after it. Their products become unreadable too, so that none is silently missing.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from kalathi.merchant.stock.quantities import DecimalSign
from kalathi.merchant.stock.shelf import Shelf, ShelfBuilder, StockError, StockSetupError

_SEPARATORS: Final = (";", "\t", ",")
_SEPARATOR_NAMES: Final = {";": "semicolon", "\t": "tab", ",": "comma"}
_SEPARATOR_LINE: Final = re.compile(r'(?i)"?sep=(.)"?[;,\t]*')
_NUMBER_LIKE: Final = re.compile(r'\s*"?\s*[+-]?[0-9]')
_NEEDED: Final = ("shop_uid", "quantity")
_OPTIONAL: Final = ("price", "product_uid")
# The longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class ReadFile(NamedTuple):
    """A file's shelf, and whether its last line ends with a line break. Without one, the line may be incomplete."""

    shelf: Shelf
    has_end: bool


class _Columns(NamedTuple):
    """The positions of the columns. `price` and `product_uid` are -1 if there is no such column."""

    separator: str
    width: int
    shop_uid: int
    quantity: int
    price: int
    product_uid: int


class _Lines:
    """The lines of the file. `taken` collects the lines of the current record."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.number = 0
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.number += 1
        self.taken.append(line)
        return line


def read_csv(path: Path, encoding: str, decimal_sign: DecimalSign | None) -> ReadFile:
    """Read the file. A byte order mark wins over `encoding`; an empty encoding means UTF-8.

    Raises StockError, OSError.
    """
    # Read all bytes at once. A thread that reads the file piece by piece takes the interpreter lock again after each
    # piece: with 100,000 rows, the event loop stopped for 0.2 s.
    content = path.read_bytes()
    found = next((name for mark, name in _MARKS if content.startswith(mark)), encoding or "utf-8")
    try:
        text = io.TextIOWrapper(io.BytesIO(content), encoding=found, newline="")
        return _read_lines(_Lines(text), str(path), decimal_sign)
    except UnicodeError as error:
        raise _undecodable(str(path), content, found, error) from None


def check_encoding(encoding: str) -> None:
    """Raise StockSetupError for an encoding that Python does not know."""
    try:
        "a".encode(encoding)
    except (LookupError, UnicodeError):
        raise StockSetupError(f"--stock-encoding {encoding}: no such encoding; give one such as cp1253") from None


def _read_lines(lines: _Lines, source: str, decimal_sign: DecimalSign | None) -> ReadFile:
    columns = _columns(lines, source)
    builder = ShelfBuilder(source, decimal_sign)
    rows = csv.reader(lines, delimiter=columns.separator)
    last = "\n"
    while True:
        lines.taken.clear()
        try:
            cells = next(rows)
        except StopIteration:
            break
        except csv.Error:
            cells = None  # A field is not closed, so read the absorbed lines one by one.
        last = lines.taken[-1]
        is_suspicious = cells is None or len(lines.taken) > 1
        if is_suspicious and _add_swallowed(builder, columns, lines, is_broken=cells is None):
            continue
        if cells and any(cells):
            number = lines.number - len(lines.taken) + 1
            _add(builder, columns, cells, number, lines.taken)
    return ReadFile(builder.shelf(), last.endswith(("\n", "\r")))


def _columns(lines: _Lines, source: str) -> _Columns:
    """Return the columns of the first line that is not empty. A `sep=` line may come before it."""
    separators: tuple[str, ...] = _SEPARATORS
    for line in lines:
        told = _SEPARATOR_LINE.fullmatch(line.rstrip("\r\n"))
        if told and separators == _SEPARATORS:
            separators = (told.group(1),)
        elif line.strip():
            break
    else:
        raise StockError(f"{source}: the file is empty")
    if "\0" in line:
        if line.replace("\0", "").strip():
            raise StockSetupError(_nul_sentence(source))
        raise StockError(f"{source}: the file holds NUL bytes and no text: it was not written to its end")
    for separator in separators:
        names = [_column_name(cell) for cell in next(csv.reader([line], delimiter=separator))]
        if set(_NEEDED) <= set(names):
            for name in (*_NEEDED, *_OPTIONAL):
                if names.count(name) > 1:
                    raise StockSetupError(f"{source}: the first line names the column {name} more than once")
            price, product_uid = (names.index(name) if name in names else -1 for name in _OPTIONAL)
            shop_uid, quantity = (names.index(name) for name in _NEEDED)
            return _Columns(separator, len(names), shop_uid, quantity, price, product_uid)
    shown = line.strip()[:80]
    raise StockSetupError(
        f"{source}: the first line must name the columns shop_uid and quantity, with commas, semicolons or tabs"
        f' between; it is "{shown}"'
    )


def _column_name(cell: str) -> str:
    return re.sub(r"[\s-]+", "_", cell.strip().strip("\"'").strip().lower())


def _nul_sentence(source: str) -> str:
    return (
        f"{source}: there are NUL bytes between its letters. Is it UTF-16 without a byte order mark?"
        " Then give --stock-encoding utf-16-le; otherwise save the file as UTF-8"
    )


def _add(builder: ShelfBuilder, columns: _Columns, cells: list[str], number: int, taken: list[str]) -> None:
    """Add one record. `taken` are its lines in the file."""
    is_whole = taken[-1].endswith(("\n", "\r"))
    shop_uid = cells[columns.shop_uid].strip() if len(cells) > columns.shop_uid else ""
    named = f"the first line names {columns.width}"
    product_uid = _product_uid(columns, cells)
    if "\0" in "".join(cells):
        builder.add_unreadable(shop_uid, number, "there is a NUL byte in it", product_uid)
    elif len(cells) > columns.width and any(cell.strip() for cell in cells[columns.width :]):
        sign = _SEPARATOR_NAMES.get(columns.separator, "separator")
        reason = f"it has {len(cells)} cells, and {named}; is there a {sign} in a number or a text?"
        builder.add_shifted([*cells, *_every_plain_cell(columns, taken)], number, reason)
    elif len(cells) <= columns.quantity or (len(cells) < columns.width and not is_whole):
        every = [*cells, *_every_plain_cell(columns, taken)]
        builder.add_shifted(every, number, f"it has {len(cells)} cells, and {named}; is it half a line?")
    else:
        price = cells[columns.price] if 0 <= columns.price < len(cells) else None
        builder.add(shop_uid, cells[columns.quantity], price, number, product_uid)


def _product_uid(columns: _Columns, cells: list[str]) -> str:
    return cells[columns.product_uid].strip() if 0 <= columns.product_uid < len(cells) else ""


def _add_swallowed(builder: ShelfBuilder, columns: _Columns, lines: _Lines, *, is_broken: bool) -> bool:
    """Make the products in a record of several lines unreadable if the record contains a misplaced or unclosed quote.
    Leave a record alone if it only contains a text with a line break. Return whether its products were added."""
    if not (is_broken or _is_malformed(columns, lines.taken) or _holds_rows(columns, lines.taken)):
        return False
    first = lines.number - len(lines.taken) + 1
    reason = f"a quote that line {first} opens is not closed on it, and swallows the lines up to {lines.number}"
    for number, line in enumerate(lines.taken, first):
        cells = _plain_cells(columns, line)
        if len(cells) == columns.width:
            builder.add_unreadable(cells[columns.shop_uid], number, reason, _product_uid(columns, cells))
        else:
            builder.add_shifted(cells, number, reason)
    return True


def _is_malformed(columns: _Columns, taken: list[str]) -> bool:
    """Whether a quote is not closed, or is closed before the end of its cell."""
    try:
        for _ in csv.reader(taken, delimiter=columns.separator, strict=True):
            pass
    except csv.Error:
        return True
    return False


def _holds_rows(columns: _Columns, taken: list[str]) -> bool:
    """Whether a line after the first looks like a row of its own."""
    needed = max(columns.quantity, columns.shop_uid) + 1
    for line in taken[1:]:
        own = line.rstrip("\r\n").split(columns.separator)
        # A quote that is closed before the quantity belongs to a text with a line break.
        is_balanced = "".join(own[:needed]).count('"') % 2 == 0
        if len(own) >= needed and is_balanced and _NUMBER_LIKE.match(own[columns.quantity]):
            return True
    return False


def _every_plain_cell(columns: _Columns, taken: list[str]) -> list[str]:
    return [cell for line in taken for cell in _plain_cells(columns, line)]


def _plain_cells(columns: _Columns, line: str) -> list[str]:
    """Return the cells between the separators, without regard to quotes."""
    return [cell.strip().strip('"').strip() for cell in line.rstrip("\r\n").split(columns.separator)]


def _undecodable(source: str, data: bytes, encoding: str, first: UnicodeError) -> StockError:
    """Return the error that names the byte and the line."""
    if b"\0" in data[:40]:
        return StockSetupError(_nul_sentence(source))
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding, "ignore").count("\n") + 1
        if error.end >= len(data) and error.start + 4 > len(data):
            return StockError(f"{source}, line {line}: the file ends within a letter: it was not written to its end")
        byte = f"the byte 0x{data[error.start]:02X} (number {error.start + 1} of the file)"
        name = {"utf-8-sig": "utf-8"}.get(encoding, encoding).upper()
        return StockSetupError(
            f"{source}, line {line}: {byte} cannot be read as {name}. Save the file as UTF-8, or name its encoding with"
            " --stock-encoding, for example --stock-encoding cp1253"
        )
    except UnicodeError:
        pass
    return StockSetupError(f"{source}: the file cannot be read as {encoding.upper()}: {first}")
