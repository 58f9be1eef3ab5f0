"""The delivery note of an order that is sent from the marketplace's warehouse: one A4 page or more, made by typst from
`delivery_note.typ`. Its number is derived from the order's own code, so that a note that is made twice after a crash
has the same one."""

from datetime import datetime
from importlib import resources
from typing import Final

from msgspec import Struct

from kalathi.contract.codec import encode
from kalathi.marketplace.couriers.printing import DocumentPrinter, Party


class NoteLine(Struct, frozen=True, kw_only=True):
    """A product on the note."""

    shop_uid: str
    product_name: str
    quantity: int
    serial_numbers: str = ""


class NoteFacts(Struct, frozen=True, kw_only=True):
    """The content of a delivery note: from the warehouse, on behalf of the shop, to the customer. `made_on` is
    `made_at` for people."""

    number: str
    order_code: str
    sender: Party
    on_behalf_of: str
    recipient: Party
    lines: tuple[NoteLine, ...]
    made_on: str
    made_at: datetime


_TEMPLATE: Final = resources.files(__package__).joinpath("delivery_note.typ").read_bytes()
# The recorded numbers are five Greek letters and digits; these stand for a note of dispatch (Δελτίο Αποστολής).
_PREFIX: Final = "ΔΑΠΟΣ"


def note_number(order_code: str) -> str:
    """`ΔΑΠΟΣ2611245130474` of order `261124-5130474`."""
    return _PREFIX + order_code.replace("-", "")


def render_note(printer: DocumentPrinter, facts: NoteFacts) -> bytes:
    """The PDF."""
    return printer.render(_TEMPLATE, encode(facts), facts.made_at)
