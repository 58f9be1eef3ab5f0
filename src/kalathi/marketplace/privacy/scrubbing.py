"""Remove a customer from documents: pure.

A document is JSON of an order, a return, a cart, or the body of a webhook. Amounts, products, states and times remain:
the operator and the shop need them for their accounts.
"""

from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.contract.orders import Customer, InvoiceDetails
from kalathi.marketplace.orders.model import Cart, Order
from kalathi.marketplace.returns.model import Return

# Members whose texts are all of the customer.
_OF_CUSTOMER: Final = frozenset({"customer", "invoice_details"})
# Members with texts that the customer has written.
_WRITTEN: Final = frozenset({"comments", "comment", "user_comment", "user_photos", "photos"})
_DECODER: Final = msgspec.json.Decoder(Any, float_hook=Decimal)


def scrub_order(order: Order) -> Order:
    """Return the order without its customer."""
    return replace(
        order,
        customer=msgspec.Raw(encode(Customer())),
        comments="",
        invoice_details=_scrub_details(order.invoice_details),
        anonymised=True,
    )


def scrub_return(returned: Return) -> Return:
    """Return the return without the customer's comments and photos."""
    lines = tuple(replace(line, user_comment=UNSET, user_photos=UNSET) for line in returned.return_line_items)
    return replace(returned, return_line_items=lines)


def scrub_cart(cart: Cart) -> Cart:
    """Return the cart without its customer."""
    content = replace(
        cart.content,
        customer=Customer(),
        comments="",
        invoice_details=_scrub_details(cart.content.invoice_details),
    )
    return replace(cart, content=content)


def scrub_body(body: bytes) -> bytes:
    """Return the JSON of a webhook without the customer. A body that is no JSON, as faults make them, becomes empty."""
    try:
        content = _DECODER.decode(body)
    except msgspec.DecodeError:
        return b""
    return encode(_scrub(content))


def _scrub(content: Any) -> Any:
    if isinstance(content, list):
        return [_scrub(entry) for entry in content]
    if not isinstance(content, dict):
        return content
    return {
        name: _blank(value) if name in _OF_CUSTOMER | _WRITTEN else _scrub(value) for name, value in content.items()
    }


def _blank(content: Any) -> Any:
    """Return the same shape without texts."""
    if isinstance(content, str):
        return ""
    if isinstance(content, list):
        return []
    if isinstance(content, dict):
        return {name: _blank(value) for name, value in content.items()}
    return content


def _scrub_details(details: InvoiceDetails | UnsetType) -> InvoiceDetails | UnsetType:
    return details if details is UNSET else InvoiceDetails()
