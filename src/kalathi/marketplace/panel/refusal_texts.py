"""Refusals as pages show them: in the reader's language, and with the labels of the page's fields.

On the wire, refusals have other sentences, in English and with the contract's names (`Refusal.on_the_wire`).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel import refusals as kernel
from kalathi.marketplace.kernel.errors import Refusal, show_value
from kalathi.marketplace.kernel.targets import BadUrl
from kalathi.marketplace.orders import cart_refusals as carts
from kalathi.marketplace.orders import refusals as orders
from kalathi.marketplace.panel import wording
from kalathi.marketplace.panel.field_names import FIELDS
from kalathi.marketplace.panel.languages import Words
from kalathi.marketplace.panel.refusals import (
    NoNote,
    NotANumber,
    NoViewName,
    OrderWithoutVoucher,
    TooManyLinesToPrint,
    TooManyOrdersChosen,
    TooManyToResend,
    TooManyViews,
    UnknownOrder,
)
from kalathi.marketplace.people import refusals as people
from kalathi.marketplace.privacy import refusals as privacy
from kalathi.marketplace.products import refusals as products
from kalathi.marketplace.returns import refusals as returns
from kalathi.marketplace.sandbox import refusals as sandbox
from kalathi.marketplace.shops import refusals as shops
from kalathi.marketplace.warehouse import refusals as warehouse
from kalathi.marketplace.web import limits, uploads

_PIECES: Final = "Enter quantities of this order's items, at most as many as there are."
_TRACKING: Final = "Enter a courier and a tracking code for each parcel."
_MISSING: Final = "%(member)s is missing."
_WRONG: Final = "%(member)s: this value is not valid."
_TOO_LONG: Final = "%(member)s: at most %(most)s characters are allowed."
_TOO_FEW: Final = "Only %(there)s of %(product)s are in stock; %(wanted)s were ordered."
_PROOF: Final = "The proof of the VAT exclusion is not complete."
_VAT: Final = "The VAT is a percentage from 0 to 100 with at most two decimals."
_PRICE: Final = "The price is an amount in euros with at most two decimals, such as 10.40."
_WRONG_ROW: Final = "Product %(row)s: this value is not valid."
_UNKEEPABLE: Final = "A text contains a character that cannot be stored."
_WINDOW: Final = "This pickup window is not on offer any more. Choose another."

# A refusal without an entry is shown with its own sentence, translated.
TEXTS: Final[Mapping[type[Refusal], str]] = {
    NotANumber: "%(member)s: write a number such as 10.40.",
    UnknownOrder: "There is no order %(code)s.",
    OrderWithoutVoucher: "Order %(code)s has no voucher.",
    TooManyOrdersChosen: "Select at most %(most)s orders at once.",
    TooManyLinesToPrint: "These orders have more than %(most)s lines. Select fewer orders.",
    NoViewName: "Give the view a name of at most %(most)s characters.",
    TooManyViews: "There are %(most)s saved views already. Remove one first.",
    TooManyToResend: "More than %(most)s webhooks match. Narrow the list.",
    NoNote: "Write a note of at most %(most)s characters.",
    carts.ShopNotActive: "The shop takes no orders: it is suspended or closed.",
    privacy.OrderUnderWay: "Order %(code)s is not finished, or has a return under way.",
    people.NoName: "Enter a name of at most %(most)s characters.",
    people.BadPassword: "Choose a password of %(least)s to %(most)s characters.",
    people.TooManyPeople: "There are %(most)s people and invitations. Remove one first.",
    shops.NoTokenName: "Give the token a name of at most %(most)s characters.",
    shops.TooManyTokens: "There are %(most)s additional tokens already. Remove one first.",
    kernel.UnkeepableCharacter: _UNKEEPABLE,
    kernel.FieldUnkeepable: _UNKEEPABLE,
    kernel.ConcurrentChange: "This is being changed at the same moment. Try again.",
    kernel.MissingMember: _MISSING,
    kernel.WrongMember: _WRONG,
    kernel.LongMember: _TOO_LONG,
    limits.TooManyCalls: "There were too many wrong tokens. Try again in %(seconds)s seconds.",
    uploads.FileTooLarge: "The file is larger than %(most)s MB.",
    uploads.WrongFileType: "The file is not a PDF, PNG or JPG; it looks like %(found)s.",
    uploads.FileMissing: "Choose a file first.",
    orders.NoVoucherToRequest: "A voucher can be requested only for an accepted preorder that has none yet.",
    orders.NotSentByShop: "Tracking details are for orders that the shop sends itself.",
    orders.NoRejection: "Choose a reason for at least one line, or write one for the whole order.",
    orders.NeedsAvailablePieces: "Enter how many pieces are available, from 0 to %(most)s.",
    orders.WrongPieces: _PIECES,
    kernel.LinesNamedTwice: _PIECES,
    orders.TooManyLines: _PIECES,
    orders.LineNamedTwice: _PIECES,
    carts.TooFewInStock: _TOO_FEW,
    orders.TooFewToReplace: _TOO_FEW,
    carts.UnknownListing: "The shop does not sell %(product)s.",
    carts.UnknownVariation: "Choose a variation of %(product)s: %(variations)s.",
    carts.NotOnSale: "%(product)s is not on sale.",
    products.InvalidFormat: "%(owner)s: the value of %(member)s is missing or of the wrong kind.",
    products.TooManyProducts: "A batch may have %(most)s products.",
    products.FeedScanning: "The XML feed is being read. Try again in a few minutes.",
    products.UpdatesOff: "The shop's stock and prices cannot be changed at the moment.",
    products.BadListingsFile: "The file is not CSV in UTF-8 with the columns shop_uid, price and quantity.",
    products.BadListingLine: "Line %(line)s of the file: a value is missing or wrong. Nothing was changed.",
    products.ListingFailed: "%(product)s was not changed: %(reason)s",
    products.BatchNotFound: "There is no such batch.",
    orders.UnknownWindow: _WINDOW,
    orders.LongReason: "The reason is too long; it may have %(most)s characters.",
    orders.BadTracking: _TRACKING,
    orders.BadTrackingCode: _TRACKING,
    orders.BadTrackingCourier: _TRACKING,
    orders.HasParcels: "The order already has %(number)s parcels.",
    orders.HasCourier: "The order already goes with %(courier)s.",
    orders.NotRescheduled: "The pickup of this order cannot be moved to another day.",
    carts.NoCompany: "An invoice needs the company and its VAT number.",
    carts.LongInvoiceText: "A text about the company is longer than %(most)s characters.",
    carts.LongCustomer: "A name or a part of the address is longer than %(most)s characters.",
    carts.ExpressFromStore: "An order that the customer collects from the store cannot be express.",
    orders.TwoFormsOfRejection: "Choose reasons for lines, or write one for the whole order; not both.",
    carts.UnknownShop: "There is no shop %(shop)s.",
    carts.NoCustomerName: "The customer needs a first or a last name.",
    carts.NoCollectionPoint: "Write the address of the collection point.",
    carts.NotAUnitPrice: _PRICE,
    carts.NotAShippingCost: "The shipping cost is an amount in euros with at most two decimals, such as 3.50.",
    carts.NotAFee: "A fee is an amount in euros above zero, such as 1.50.",
    carts.NotAVatRatio: _VAT,
    carts.NoIslandDiscount: "The islands' VAT discount needs an invoice with VAT.",
    carts.ExclusionNotRequested: _PROOF,
    carts.BadProof: _PROOF,
    carts.BadProofDocuments: _PROOF,
    carts.BadIdentityDocument: _PROOF,
    carts.BadIdentityNumber: _PROOF,
    returns.BadPhotos: "Enter photos as addresses that begin with http:// or https://.",
    returns.ReturnIs: "The return cannot go on in this way. Its state is now: %(state)s.",
    returns.LongComment: "The comment is too long; it may have %(most)s characters.",
    returns.NoReturnHook: "The shop has no address for webhooks of returns, or they are switched off.",
    shops.TooManyLocations: "The shop has %(most)s locations, and cannot have more.",
    shops.NotAPrice: _PRICE,
    shops.NotAVatRate: _VAT,
    shops.VariationListedTwice: "%(product)s has a variation twice.",
    shops.ListedTwice: "A product is in the list twice.",
    shops.NotACommission: "The commission is a percentage from 0 to 100 with at most two decimals.",
    shops.ForeignDomain: "%(member)s: write an https address of %(domain)s or of a domain below it.",
    warehouse.NotAText: _WRONG,
    warehouse.BadId: "The id has 1 to %(most)s letters and digits.",
    warehouse.TooManyLines: "A purchase order has at most %(most)s products.",
    warehouse.NotAnnounced: "%(product)s is not in this purchase order.",
    warehouse.ReceivedTwice: "Count each product in one row.",
    warehouse.BadSwitch: _WRONG_ROW,
    warehouse.NotALine: _WRONG_ROW,
    warehouse.NoLines: "Choose at least one product and its quantity.",
    warehouse.NoProduct: "Product %(row)s: choose a product.",
    warehouse.UnknownProduct: "Product %(row)s: the shop does not sell %(product)s.",
    warehouse.ProductTwice: (
        "Product %(row)s: %(product)s is already in the list. Enter all of its pieces in one row."
    ),
    warehouse.BadQuantity: "Product %(row)s: enter the number of pieces, from 1 to %(most)s.",
    warehouse.BadStorage: "Product %(row)s: choose another storage condition.",
    warehouse.NoDate: "Enter the expected date, such as %(day)s.",
    warehouse.PastDate: "The expected date is in the past. Choose another.",
    warehouse.CodeTaken: "Another supplier has the code %(code)s already.",
    warehouse.IdTaken: "Another supplier has this id already.",
    warehouse.FieldMissing: _MISSING,
    warehouse.FieldBlank: _MISSING,
    warehouse.FieldTooLong: _TOO_LONG,
    sandbox.UnknownScenario: "There is no such scenario.",
    sandbox.NeedsAnotherShop: (
        "This scenario needs a shop whose orders are sent by: %(mode)s. Change that at the shop, or choose another."
    ),
    sandbox.StepRefused: "Step %(number)s (%(action)s): %(reason)s",
}
# The texts of OrderAlready, by the order's state.
ALREADY: Final[Mapping[OrderState, str]] = {
    OrderState.ACCEPTED: "Order already accepted.",
    OrderState.REJECTED: "Order already rejected.",
    OrderState.CANCELLED: "Order already cancelled.",
    OrderState.EXPIRED: "Order already expired.",
    OrderState.DISPATCHED: "Order already dispatched.",
    OrderState.DELIVERED: "Order already delivered.",
    OrderState.PARTIALLY_DELIVERED: "A part of the order is delivered already.",
    OrderState.FOR_RETURN: "The order is already on its way back.",
    OrderState.PARTIALLY_RETURNED: "A part of the order is already returned.",
    OrderState.RETURNED: "The order is already returned.",
}
# By the contract's name of the field, or its last part.
CHOICES: Final[Mapping[str, str]] = {
    "pickup_window": _WINDOW,
    "pickup_location": "This location is not on offer. Choose another.",
    "number_of_parcels": "This number of parcels is not on offer.",
    "reason_id": "This reason is not on offer. Choose another.",
    "id": _PIECES,
}
ADDRESSES: Final[Mapping[BadUrl, str]] = {
    BadUrl.NOT_ASCII: (
        "%(member)s: write Latin letters only; other letters of the path percent-encoded, and the host in its xn--"
        " form."
    ),
    BadUrl.SPACES: "%(member)s: write it without spaces and backslashes.",
    BadUrl.SCHEME: "%(member)s: write a whole address that begins with https://.",
    BadUrl.HOST: "%(member)s: write a host, such as shop.example, after https://.",
    BadUrl.NUMBERS: "%(member)s: write all four numbers of the IP address, such as 192.0.2.1.",
    BadUrl.PORT: "%(member)s: write a port between 1 and 65535, or none.",
    BadUrl.USER: "%(member)s: the user name must have no colon.",
    BadUrl.MASKED: "%(member)s: write user name and password instead of ***.",
}


def render_reason(reason: Refusal | str, words: Words) -> str:
    """Return a refusal in the reader's language. A plain sentence is translated as it is."""
    if isinstance(reason, str):
        return words.text(reason)
    text = _find_text(reason)
    if text is None:
        return words.text(reason.on_the_wire())
    return words.text(text) % _name_fields(reason, words)


def _find_text(reason: Refusal) -> str | None:
    match reason:
        case orders.OrderAlready():
            return ALREADY.get(reason.state)
        case kernel.NotOnOffer():
            return CHOICES.get(reason.member.rpartition(".")[2], _WRONG)
        case shops.BadAddress():
            return ADDRESSES[reason.fault]
        case _:
            return TEXTS.get(type(reason))


def _name_fields(reason: Refusal, words: Words) -> dict[str, str]:
    """Return the values for the placeholders of the texts: labels of fields, row numbers from 1, names of states."""
    fields = {name: show_value(value) for name, value in msgspec.structs.asdict(reason).items()}
    match reason:
        case kernel.MissingMember() | kernel.WrongMember() | kernel.LongMember():
            fields["member"] = reason.member
        case warehouse.LineRefusal():
            fields["row"] = str(reason.place + 1)
        case returns.ReturnIs():
            fields["state"] = words.text(wording.KINDS["return_state"].get(str(reason.state), str(reason.state)))
        case sandbox.NeedsAnotherShop():
            fields["mode"] = words.text(wording.KINDS["mode"].get(reason.wanted, reason.wanted))
        case sandbox.StepRefused():
            fields["reason"] = render_reason(reason.reason, words)
        case _:
            pass
    if "member" in fields:
        name = fields["member"].rpartition(".")[2]
        fields["member"] = words.text(FIELDS.get(name, name))
    return fields
