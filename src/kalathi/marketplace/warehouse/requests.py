"""A shop's requests to the warehouse, checked field by field: every wrong field gets one sentence
(docs/contract.md#section-9)."""

import re
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from kalathi.contract.fbs import Supplier
from kalathi.contract.requests import PurchaseOrderLineRequest, PurchaseOrderRequest, SupplierRequest, whole_number
from kalathi.contract.words import STORAGE_CONDITIONS
from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.shops.model import LARGEST_QUANTITY
from kalathi.marketplace.warehouse.model import MOST_LINES, PurchasedLine

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
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
    """A supplier under its own id, or the fresh one. Raises INVALID_PARAMETER, one sentence a field."""
    wrong: dict[str, str] = {}
    supplier_id = fresh_id
    if request.id is not UNSET and request.id is not None:
        supplier_id = text_of(request.id)
        if not (0 < len(supplier_id) <= _LONGEST_ID and supplier_id.isascii() and supplier_id.isalnum()):
            wrong["id"] = f"id: give 1 to {_LONGEST_ID} letters and digits, or leave it out."
    texts = _supplier_texts(request, wrong)
    for name in _REQUIRED:
        if name not in texts and name not in wrong:
            wrong[name] = f"{name}: it is missing."
    _refuse(wrong)
    return Supplier(id=supplier_id, **texts)


def supplier_changes(request: SupplierRequest) -> dict[str, Any]:
    """What changes of a supplier, by field. Raises INVALID_PARAMETER, one sentence a field."""
    wrong: dict[str, str] = {}
    texts = _supplier_texts(request, wrong)
    _refuse(wrong)
    return texts


def read_lines(request: PurchaseOrderRequest, listed: Collection[str], today: date) -> list[PurchasedLine]:
    """The lines of a purchase order; `listed` are the shop's own products. Raises INVALID_PARAMETER, one sentence a
    field, that of the date included."""
    wrong: dict[str, str] = {}
    day = read_expected_date(request)
    if day is None:
        wrong["expected_date"] = "expected_date: give a date such as 2026-12-01."
    elif day < today:
        wrong["expected_date"] = f"expected_date: {day} is in the past."
    named = request.line_items or []
    if not isinstance(named, list) or not named:
        wrong["line_items"] = "line_items: give a list of at least one line."
        named = []
    elif len(named) > MOST_LINES:
        wrong["line_items"] = f"line_items: give at most {MOST_LINES} lines."
        named = []
    seen: set[str] = set()
    lines = []
    for place, entry in enumerate(named):
        where = f"line_items[{place}]"
        line = line_of(entry)
        if line is None:
            wrong[where] = f"{where}: give an object."
            continue
        lines.append(_line(line, where, listed, seen, wrong))
        seen.add(lines[-1].product_uid)
    _refuse(wrong)
    return lines


def read_expected_date(request: PurchaseOrderRequest) -> date | None:
    """The day, or None when it is none."""
    text = request.expected_date
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def line_of(entry: Any) -> PurchaseOrderLineRequest | None:
    """A line as it was sent; None if it is no object."""
    return msgspec.convert(entry, PurchaseOrderLineRequest) if isinstance(entry, dict) else None


def text_of(value: Any) -> str:
    """A text as a client may write it; empty if it is none."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _line(
    line: PurchaseOrderLineRequest, where: str, listed: Collection[str], seen: set[str], wrong: dict[str, str]
) -> PurchasedLine:
    uid = text_of(line.product_uid)
    if not uid:
        wrong[f"{where}.product_uid"] = f"{where}.product_uid: it is missing."
    elif uid not in listed:
        wrong[f"{where}.product_uid"] = f"{where}.product_uid: the shop has no product {uid[:40]}."
    elif uid in seen:
        wrong[f"{where}.product_uid"] = f"{where}.product_uid: {uid[:40]} is named twice; name each product once."
    quantity = _number(line.expected_quantity)
    if quantity is None or not 1 <= quantity <= LARGEST_QUANTITY:
        name = f"{where}.expected_quantity"
        wrong[name] = f"{name}: give a whole number from 1 to {LARGEST_QUANTITY}."
    storage = _number(line.storage_conditions)
    if storage not in STORAGE_CONDITIONS:
        name = f"{where}.storage_conditions"
        meanings = ", ".join(f"{number} ({meaning})" for number, meaning in STORAGE_CONDITIONS.items())
        wrong[name] = f"{name}: valid values: {meanings}."
    switches = {}
    for name in ("keep_serial_numbers", "has_expiration_date"):
        switches[name] = _SWITCHES.get(str(getattr(line, name)).lower())
        if switches[name] is None:
            wrong[f"{where}.{name}"] = f"{where}.{name}: give true or false."
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


def _supplier_texts(request: SupplierRequest, wrong: dict[str, str]) -> dict[str, Any]:
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
            wrong[name] = f"{name}: give a text that is not blank."
        elif not text and not isinstance(value, str):
            wrong[name] = f"{name}: give a text."
        elif "\0" in text:
            wrong[name] = f"{name}: it holds a character that cannot be kept: U+0000."
        elif len(text) > _LONGEST_TEXT:
            wrong[name] = f"{name}: it is longer than {_LONGEST_TEXT} characters."
        else:
            texts[name] = text
    return texts


def _refuse(wrong: Mapping[str, str]) -> None:
    if wrong:
        raise invalid_parameter(*list(wrong.values())[:_MOST_SENTENCES])
