"""The marketplace's refusals as people read them on pages. The wire has them in English, and names its fields."""

import re
from collections.abc import Mapping
from typing import Final

from kalathi.marketplace.kernel.targets import BadUrl
from kalathi.marketplace.panel import wording
from kalathi.marketplace.panel.languages import Words
from kalathi.marketplace.panel.sign_in_links import LINK_REFUSED

# As they are on the wire.
SENTENCES: Final = (
    "Order not found",
    "Return not found",
    "Supplier not found",
    "Shop not found",
    "Delivery not found",
    "Invalid purchase order",
    "Purchase order already received.",
    "Comment is required.",
    "Invalid or missing option.",
    "Return is not pending merchant review.",
    "Return is still under review.",
    "A virtual return has no shipment.",
    "Order already accepted.",
    "Order already rejected.",
    "Order already cancelled.",
    "Order already expired.",
    "Order already dispatched.",
    "Order already delivered.",
    "Order already has a voucher.",
    "Order is express",
    "Order is not accepted yet.",
    "Order is still open.",
    "Order is not a store pickup.",
    "Order is not eligible for undo",
    "Order is not eligible to be marked as ready",
    "Order has no pickup that could be moved.",
    "Order has no voucher yet.",
    "Order has moved: its voucher is being made again.",
    "Order is not ready for dispatch: the courier skips it.",
    "Order travels without a voucher of the marketplace.",
    "The customer collects this order from the store.",
    "Pickup relocation is not supported for this order.",
    "Invalid pickup location",
    "Invalid reschedule date",
    "Somebody else is changing this at the same moment. Try again.",
    LINK_REFUSED,
    "Missing invoice file",
    "Missing credit invoice file",
    "Failed to upload invoice. Order must be accepted first.",
    "Failed to upload credit invoice. Order must be accepted first.",
)

# The wire's sentence, and the page's, with the values that both name.
PATTERNS: Final[Mapping[str, str]] = {
    "Cannot request voucher: order is not an accepted preorder without a voucher.": (
        "The voucher can be asked for only of an accepted preorder that has none yet."
    ),
    "Tracking details are taken for orders that the merchant fulfills only.": (
        "Tracking details are for orders that the shop sends itself."
    ),
    "Give line_items, each with id and reason_id (valid reasons: %(reasons)s), or give rejection_reason_other with a "
    "text.": "Choose a reason for at least one line, or write one for the whole order.",
    "line_items.available_quantity: reason %(reason)s needs how many pieces of line %(line)s are available, from 0 to "
    "%(most)s; %(given)s.": "Enter how many pieces are available, from 0 to %(most)s.",
    "line_items: name lines of the order, each once, with %(rest)s": (
        "Give pieces of the order's own lines, not more than there are."
    ),
    "items.quantity of %(product)s: %(wanted)s are wanted, %(there)s are available.": (
        "Only %(there)s of %(product)s are in stock; %(wanted)s were ordered."
    ),
    "line_items: %(wanted)s of %(product)s are needed, %(there)s are available.": (
        "Only %(there)s of %(product)s are in stock; %(wanted)s were ordered."
    ),
    "items.shop_uid: shop %(shop)s has no listing %(product)s.": "The shop does not sell %(product)s.",
    "pickup_window: %(given)s; valid values: %(valid)s.": (
        "This pickup window is not on offer any more. Choose another."
    ),
    "pickup_location: %(given)s; valid values: %(valid)s.": "This location is not on offer. Choose another.",
    "pickup_window: %(window)s is not on offer; valid values: %(valid)s.": (
        "This pickup window is not on offer any more. Choose another."
    ),
    "line_items.reason_id: %(given)s; valid values: %(valid)s.": "This reason is not on offer. Choose another.",
    "There is no scenario of this name; there are: %(names)s.": "There is no such scenario.",
    "There is no scenario of this name; did you mean %(names)s?": "There is no such scenario.",
    "number_of_parcels: %(given)s; valid values: %(valid)s.": "This number of parcels is not on offer.",
    "rejection_reason_other is too long (maximum is %(most)s characters).": (
        "The reason is too long; it may have %(most)s characters."
    ),
    "Comment is too long (maximum is %(most)s characters).": (
        "The comment is too long; it may have %(most)s characters."
    ),
    "tracking_details: give 1 to %(most)s entries, each a courier and its code.": (
        "Give a courier and a tracking code for each parcel."
    ),
    "tracking_details%(rest)s": "Give a courier and a tracking code for each parcel.",
    "%(document)s file is larger than %(most)s MB": "The file is larger than %(most)s MB.",
    "%(document)s file %(found)s mime-type is not accepted": (
        "The file is no PDF, PNG or JPG; it looks like %(found)s."
    ),
    "The shop has %(most)s locations; that is as many as there may be.": (
        "The shop has %(most)s locations, and cannot have more."
    ),
    "unit_price of %(product)s must be an amount in euros, not negative, with at most two decimals.": (
        "The price is an amount in euros with at most two decimals, such as 10.40."
    ),
    "commission_rate of %(product)s must be a percentage from 0 to 100 with at most two decimals.": (
        "The commission is a percentage from 0 to 100 with at most two decimals."
    ),
    "line_items: give a list of at least one line.": "Choose at least one product and its quantity.",
    "line_items[%(row)s].product_uid: it is missing.": "Product %(row)s: choose which one comes.",
    "line_items[%(row)s].product_uid: the shop has no product %(product)s.": (
        "Product %(row)s: the shop does not sell %(product)s."
    ),
    "line_items[%(row)s].product_uid: %(product)s is named twice; name each product once.": (
        "Product %(row)s: %(product)s stands there already. Write all of its pieces in one row."
    ),
    "line_items[%(row)s].expected_quantity: give a whole number from 1 to %(most)s.": (
        "Product %(row)s: write how many pieces come, from 1 to %(most)s."
    ),
    "line_items[%(row)s].storage_conditions: valid values: %(valid)s.": (
        "Product %(row)s: it cannot be kept in this way."
    ),
    "expected_date: give a date such as %(day)s.": "Write the day on which the goods come, such as %(day)s.",
    "expected_date: %(day)s is in the past.": "The day on which the goods come is over. Choose another.",
    "code: another supplier of the shop has the code %(code)s.": "Another supplier has the code %(code)s already.",
    "id: another supplier has %(id)s.": "Another supplier has this id already.",
    "%(field)s: it is missing.": "%(field)s is missing.",
    "%(field)s: give a text that is not blank.": "%(field)s is missing.",
    "%(field)s: it is longer than %(most)s characters.": "%(field)s: it may have %(most)s characters.",
    "%(field)s: it holds a character that cannot be kept: U+0000.": "A text holds a character that cannot be kept.",
    "invoice_details: give company and vat_number.": "An invoice needs the company and its VAT number.",
    "invoice_details: a text is longer than %(most)s characters.": (
        "A text about the company is longer than %(most)s characters."
    ),
    "Scenario %(scenario)s needs a shop with fulfillment_mode %(mode)s: PATCH %(rest)s": (
        "This scenario needs a shop whose orders are sent by: %(mode)s. Change that at the shop, or choose another."
    ),
    "More than %(count)s attempts to sign in in a minute. Come back in %(seconds)s s.": (
        "There were too many wrong tokens. Try again in %(seconds)s seconds."
    ),
    "%(field)s: give a number such as 10.40.": "%(field)s: write a number such as 10.40.",
    f"%(field)s {BadUrl.NOT_ASCII}.": (
        "%(field)s: write Latin letters only; other letters of the path percent-encoded, and the host in its xn-- form."
    ),
    f"%(field)s {BadUrl.SPACES}.": "%(field)s: write it without spaces and backslashes.",
    f"%(field)s {BadUrl.SCHEME}.": "%(field)s: write a whole address that begins with https://.",
    f"%(field)s {BadUrl.HOST}.": "%(field)s: write a host, such as shop.example, after https://.",
    f"%(field)s {BadUrl.NUMBERS}.": "%(field)s: write all four numbers of the IP address, such as 192.0.2.1.",
    f"%(field)s {BadUrl.PORT}.": "%(field)s: write a port between 1 and 65535, or none.",
    f"%(field)s {BadUrl.USER}.": "%(field)s: the user name must have no colon.",
    f"%(field)s {BadUrl.MASKED}.": "%(field)s: write user name and password instead of ***.",
    "%(field)s must be https on the shop's domain %(domain)s or a subdomain of it.": (
        "%(field)s: write an https address of %(domain)s or of a domain below it."
    ),
    "The shop has no returns_webhook_url, or returns_webhook_enabled is off.": (
        "The shop has no address for webhooks of returns, or they are switched off."
    ),
    "express: an order that the customer collects from the store cannot be express.": (
        "An order that the customer collects from the store cannot be express."
    ),
    "customer: a name or a part of the address is longer than %(most)s characters.": (
        "A name or a part of the address is longer than %(most)s characters."
    ),
    "A text holds a character that cannot be kept: U+0000.": "A text holds a character that cannot be kept.",
    "Object missing required field `%(field)s` - at `%(where)s`.": "%(field)s is missing.",
    "Object missing required field `%(field)s`.": "%(field)s is missing.",
    "Expected `str` of length <= %(most)s - at `$.%(field)s`.": "%(field)s: it may have %(most)s characters.",
    "Expected `%(kind)s`%(other)s - at `$.%(field)s`.": "%(field)s: this value is not possible.",
    "Invalid enum value %(value)s - at `$.%(field)s`.": "%(field)s: this value is not possible.",
}


def _pattern(sentence: str) -> re.Pattern[str]:
    parts = re.split(r"%\((\w+)\)s", sentence)
    written = (f"(?P<{part}>.+?)" if number % 2 else re.escape(part) for number, part in enumerate(parts))
    return re.compile("".join(written), re.DOTALL)


_COMPILED: Final = [(_pattern(sentence), text) for sentence, text in PATTERNS.items()]
# Longer sentences are not matched: the worst possible one takes 23 ms at this length, and eight times that at twice the
# length.
_LONGEST: Final = 1000


def said(sentence: str, words: Words) -> str:
    """A sentence of the marketplace in the reader's language; as it is where there is no other."""
    translated = words.text(sentence)
    if translated != sentence or len(sentence) > _LONGEST:
        return translated
    for pattern, text in _COMPILED:
        found = pattern.fullmatch(sentence)
        if found:
            named = found.groupdict()
            if "field" in named:
                field = re.split(r"[.\[\]`]+", named["field"].rstrip("].`"))[-1]
                named["field"] = words.text(wording.FIELDS.get(field, field))
            if named.get("row", "").isdecimal():
                named["row"] = str(int(named["row"]) + 1)  # People count from one.
            if "mode" in named:
                named["mode"] = words.text(wording.KINDS["mode"].get(named["mode"], named["mode"]))
            return words.text(text) % named
    return sentence
