"""The courier's voucher: an A6 label a parcel, made by typst from `voucher.typ` (DESIGN, decision 18).

Every text reaches the template as data, never as markup, so a customer's name cannot change the label.
"""

import threading
from datetime import datetime
from importlib import resources
from typing import Final

import typst
import zxingcpp
from msgspec import Struct

from kalathi.contract.codec import encode


class Party(Struct, frozen=True, kw_only=True):
    """Sender or recipient as the label shows them, one line each."""

    name: str
    lines: tuple[str, ...]


class VoucherFacts(Struct, frozen=True, kw_only=True):
    """What a voucher says. One tracking code a parcel; `collect` is what the courier is paid at the door."""

    order_code: str
    courier: str
    sender: Party
    recipient: Party
    tracking_codes: tuple[str, ...]
    collect: str = ""
    made_at: datetime


class _Parcel(Struct, frozen=True):
    tracking_code: str
    barcode: str


class _Label(Struct, frozen=True):
    facts: VoucherFacts
    parcels: tuple[_Parcel, ...]


_TEMPLATE: Final = resources.files(__package__).joinpath("voucher.typ").read_bytes()


class VoucherPrinter:
    """Renders vouchers with one reused compiler: 1 ms a label against 12 ms with a fresh one. Thread-safe."""

    def __init__(self) -> None:
        self._compiler = typst.Compiler(ignore_system_fonts=True)
        self._lock = threading.Lock()

    def render(self, facts: VoucherFacts) -> bytes:
        """A PDF with one A6 page per tracking code, each with its Code 128."""
        parcels = tuple(_Parcel(code, _barcode(code)) for code in facts.tracking_codes)
        data = encode(_Label(facts, parcels)).decode()
        with self._lock:
            pdf = self._compiler.compile(
                input=_TEMPLATE, format="pdf", sys_inputs={"data": data}, timestamp=int(facts.made_at.timestamp())
            )
        if not isinstance(pdf, bytes):  # Only a request for images gives pages apart.
            raise TypeError("typst gave no single document")
        return pdf


def _barcode(tracking_code: str) -> str:
    return zxingcpp.create_barcode(tracking_code, zxingcpp.BarcodeFormat.Code128).to_svg()
