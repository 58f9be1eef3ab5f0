"""The delivery note of an order that the marketplace's warehouse sends: A4 pages, rendered by typst from
`delivery_note.typ`. The note's number is derived from the order's code, so a note that is rendered again after a crash
has the same number."""

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
    """The content of a delivery note: from the warehouse, on behalf of the shop, to the customer. `made_on` is the date
    of `made_at` in Athens, as the note prints it."""

    number: str
    order_code: str
    sender: Party
    on_behalf_of: str
    recipient: Party
    lines: tuple[NoteLine, ...]
    made_on: str
    made_at: datetime


_TEMPLATE: Final = resources.files(__package__).joinpath("delivery_note.typ").read_bytes()
# Recorded numbers have five Greek letters before the digits. These letters mean "delivery note" (Δελτίο Αποστολής).
_PREFIX: Final = "ΔΑΠΟΣ"


def note_number(order_code: str) -> str:
    """Return the note's number: `ΔΑΠΟΣ2611245130474` for order `261124-5130474`."""
    return _PREFIX + order_code.replace("-", "")


def render_note(printer: DocumentPrinter, facts: NoteFacts) -> bytes:
    """Render the note as a PDF."""
    return printer.render(_TEMPLATE, encode(facts), facts.made_at)
