"""Checks of a shop's requests to the warehouse. Each wrong field gets one sentence (docs/contract.md#section-9)."""

import re
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from kalathi.contract.fbs import Supplier
from kalathi.contract.requests import PurchaseOrderLineRequest, PurchaseOrderRequest, SupplierRequest, whole_number
from kalathi.contract.words import STORAGE_CONDITIONS
from kalathi.marketplace.kernel.errors import Refusal, refuse
from kalathi.marketplace.kernel.refusals import FieldUnkeepable
from kalathi.marketplace.shops.model import LARGEST_QUANTITY
from kalathi.marketplace.warehouse import refusals
from kalathi.marketplace.warehouse.model import MOST_LINES, PurchasedLine

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EXAMPLE_DAY: Final = "2026-12-01"
_LONGEST_TEXT: Final = 200
_LONGEST_ID: Final = 50
_MOST_SENTENCES: Final = 20
_REQUIRED: Final = ("code", "name")
_OF_A_SUPPLIER: Final = (
    "code",
    "name",
    "address",
    "city",
    "area",
    "zip_code",
    "phone",
    "tax_number",
    "email",
)


def new_supplier(request: SupplierRequest, fresh_id: str) -> Supplier:
    """Return the supplier, by default with `fresh_id`. Raises INVALID_PARAMETER with one sentence per field."""
    wrong: dict[str, Refusal] = {}
    supplier_id = fresh_id
    if request.id is not UNSET and request.id is not None:
        supplier_id = text_of(request.id)
        if not (0 < len(supplier_id) <= _LONGEST_ID and supplier_id.isascii() and supplier_id.isalnum()):
            wrong["id"] = refusals.BadId(_LONGEST_ID)
    texts = _supplier_texts(request, wrong)
    for name in _REQUIRED:
        if name not in texts and name not in wrong:
            wrong[name] = refusals.FieldMissing(name)
    _refuse(wrong)
    return Supplier(id=supplier_id, **texts)


def supplier_changes(request: SupplierRequest) -> dict[str, Any]:
    """Return the changed fields of a supplier. Raises INVALID_PARAMETER, one sentence per field."""
    wrong: dict[str, Refusal] = {}
    texts = _supplier_texts(request, wrong)
    _refuse(wrong)
    return texts


def read_lines(request: PurchaseOrderRequest, listed: Collection[str], today: date) -> list[PurchasedLine]:
    """Check a request for a purchase order, and return its lines. `listed` are the shop's own products. Raises
    INVALID_PARAMETER with one sentence per field, including the supplier and the date."""
    wrong: dict[str, Refusal] = {}
    if not text_of(request.supplier_id):
        wrong["supplier_id"] = refusals.FieldMissing("supplier_id")
    day = read_expected_date(request)
    if day is None:
        wrong["expected_date"] = refusals.NoDate(_EXAMPLE_DAY)
    elif day < today:
        wrong["expected_date"] = refusals.PastDate(day)
    named = request.line_items or []
    if not isinstance(named, list) or not named:
        wrong["line_items"] = refusals.NoLines()
        named = []
    elif len(named) > MOST_LINES:
        wrong["line_items"] = refusals.TooManyLines(MOST_LINES)
        named = []
    seen: set[str] = set()
    lines = []
    for place, entry in enumerate(named):
        line = line_of(entry)
        if line is None:
            wrong[f"line_items[{place}]"] = refusals.NotALine(place)
            continue
        lines.append(_line(line, place, listed, seen, wrong))
        seen.add(lines[-1].product_uid)
    _refuse(wrong)
    return lines


def read_expected_date(request: PurchaseOrderRequest) -> date | None:
    """Return the expected date, or None if it is missing or malformed."""
    text = request.expected_date
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def line_of(entry: Any) -> PurchaseOrderLineRequest | None:
    """Return a line of the request, or None if it is not an object."""
    return msgspec.convert(entry, PurchaseOrderLineRequest) if isinstance(entry, dict) else None


def text_of(value: Any) -> str:
    """Return a text or whole number as a text; empty for any other value."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _line(
    line: PurchaseOrderLineRequest, place: int, listed: Collection[str], seen: set[str], wrong: dict[str, Refusal]
) -> PurchasedLine:
    where = f"line_items[{place}]"
    uid = text_of(line.product_uid)
    if not uid:
        wrong[f"{where}.product_uid"] = refusals.NoProduct(place)
    elif uid not in listed:
        wrong[f"{where}.product_uid"] = refusals.UnknownProduct(place, uid[:40])
    elif uid in seen:
        wrong[f"{where}.product_uid"] = refusals.ProductTwice(place, uid[:40])
    quantity = _number(line.expected_quantity)
    if quantity is None or not 1 <= quantity <= LARGEST_QUANTITY:
        wrong[f"{where}.expected_quantity"] = refusals.BadQuantity(place, LARGEST_QUANTITY)
    storage = _number(line.storage_conditions)
    if storage not in STORAGE_CONDITIONS:
        meanings = tuple(f"{number} ({meaning})" for number, meaning in STORAGE_CONDITIONS.items())
        wrong[f"{where}.storage_conditions"] = refusals.BadStorage(place, meanings)
    switches = {}
    for name in ("keep_serial_numbers", "has_expiration_date"):
        switches[name] = _SWITCHES.get(str(getattr(line, name)).lower())
        if switches[name] is None:
            wrong[f"{where}.{name}"] = refusals.BadSwitch(place, name)
    return PurchasedLine(
        product_uid=uid,
        expected_quantity=quantity or 0,
        keep_serial_numbers=bool(switches["keep_serial_numbers"]),
        has_expiration_date=bool(switches["has_expiration_date"]),
        storage_conditions=storage or 0,
    )


_SWITCHES: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False, "none": False}


def _number(value: Any) -> int | None:
    return whole_number(value) if isinstance(value, int | str) and not isinstance(value, bool) else None


def _supplier_texts(request: SupplierRequest, wrong: dict[str, Refusal]) -> dict[str, Any]:
    texts: dict[str, Any] = {}
    for name in _OF_A_SUPPLIER:
        value: Any | UnsetType = getattr(request, name)
        if value is UNSET:
            continue
        if value is None and name == "tax_number":
            texts[name] = None
            continue
        text = text_of(value).strip()
        if name in _REQUIRED and not text:
            wrong[name] = refusals.FieldBlank(name)
        elif not text and not isinstance(value, str):
            wrong[name] = refusals.NotAText(name)
        elif "\0" in text:
            wrong[name] = FieldUnkeepable(name)
        elif len(text) > _LONGEST_TEXT:
            wrong[name] = refusals.FieldTooLong(name, _LONGEST_TEXT)
        else:
            texts[name] = text
    return texts


def _refuse(wrong: Mapping[str, Refusal]) -> None:
    if wrong:
        raise refuse(*list(wrong.values())[:_MOST_SENTENCES])
