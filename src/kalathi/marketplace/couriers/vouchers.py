"""The courier's voucher: an A6 label a parcel, made by typst from `voucher.typ` (docs/decisions/0018)."""

import re
from datetime import datetime
from importlib import resources
from typing import Final

import zxingcpp
from msgspec import Struct
from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.marketplace.couriers.printing import DocumentPrinter, Party


class VoucherFacts(Struct, frozen=True, kw_only=True):
    """The content of a voucher. One tracking code a parcel; `collect` is the amount that the courier collects at the
    door."""

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


_LONG_WORD: Final = re.compile(r"\S{18,}")
_TEMPLATE: Final = resources.files(__package__).joinpath("voucher.typ").read_bytes()


def render_voucher(printer: DocumentPrinter, facts: VoucherFacts) -> bytes:
    """A PDF with one A6 page per tracking code, each with its Code 128."""
    parcels = tuple(_Parcel(code, _barcode(code)) for code in facts.tracking_codes)
    shown = replace(facts, sender=_breakable(facts.sender), recipient=_breakable(facts.recipient))
    return printer.render(_TEMPLATE, encode(_Label(shown, parcels)), facts.made_at)


def _breakable(party: Party) -> Party:
    """Return the party with places where a word longer than half a line (18 characters or more) may be broken."""
    name, *lines = (_LONG_WORD.sub(lambda word: "\u200b".join(word[0]), text) for text in (party.name, *party.lines))
    return Party(name=name, lines=tuple(lines))


def _barcode(tracking_code: str) -> str:
    return zxingcpp.create_barcode(tracking_code, zxingcpp.BarcodeFormat.Code128).to_svg()
