"""Purchase orders from a CSV file: goods that a shop sends to the marketplace's warehouse
(docs/contract.md#section-9)."""

import csv
from pathlib import Path
from typing import Final

from kalathi.contract.requests import PurchaseOrderLineRequest, whole_number

_NEEDED: Final = ("product_uid", "expected_quantity")
_SWITCHES: Final = {"": False, "no": False, "false": False, "0": False, "yes": True, "true": True, "1": True}


class PurchaseFileError(Exception):
    """The file cannot be read. The sentence names the file and the line."""


def read_goods(path: Path) -> list[PurchaseOrderLineRequest]:
    """Read the lines of a purchase order. The file has the columns product_uid and expected_quantity, and optionally
    keep_serial_numbers and has_expiration_date (yes or no), and storage_conditions (0 to 3). Raises PurchaseFileError.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not set(_NEEDED) <= set(rows.fieldnames or ()):
                raise PurchaseFileError(f"{path}: the first line must name the columns {' and '.join(_NEEDED)}")
            lines = [_line(row, f"{path}, line {rows.line_num}") for row in rows]
    except OSError as error:
        raise PurchaseFileError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PurchaseFileError(f"{path}: the file must be saved as UTF-8") from error
    except csv.Error as error:
        raise PurchaseFileError(f"{path}: {error}") from error
    if not lines:
        raise PurchaseFileError(f"{path}: the file contains no goods")
    return lines


def _line(row: dict[str, str], where: str) -> PurchaseOrderLineRequest:
    uid, quantity = (row["product_uid"] or "").strip(), (row["expected_quantity"] or "").strip()
    if not uid:
        raise PurchaseFileError(f"{where}: product_uid is missing")
    pieces = whole_number(quantity)
    if not pieces:
        raise PurchaseFileError(f"{where}: {quantity[:40]!r} is not a quantity")
    storage = (row.get("storage_conditions") or "0").strip()
    if storage not in {"0", "1", "2", "3"}:
        raise PurchaseFileError(f"{where}: storage_conditions is 0, 1, 2 or 3")
    return PurchaseOrderLineRequest(
        product_uid=uid,
        expected_quantity=pieces,
        keep_serial_numbers=_switch(row, "keep_serial_numbers", where),
        has_expiration_date=_switch(row, "has_expiration_date", where),
        storage_conditions=int(storage),
    )


def _switch(row: dict[str, str], name: str, where: str) -> bool:
    text = (row.get(name) or "").strip().lower()
    if text not in _SWITCHES:
        raise PurchaseFileError(f"{where}: {name} is yes or no")
    return _SWITCHES[text]
