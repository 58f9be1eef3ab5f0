"""What somebody had written in a form that no page shows again: to be copied, so that it is not typed twice."""

import re
from collections.abc import Mapping
from typing import Final

from kalathi.marketplace.panel.languages import Words
from kalathi.marketplace.panel.visits import Form

# The fields that people type into, and the choices without which what they typed says nothing, as the forms call them.
LABELS: Final[Mapping[str, str]] = {
    "area": "Region",
    "available_quantity": "Available, with limited pieces",
    "actual_quantity": "Pieces",
    "address": "Address",
    "city": "City",
    "code": "Code",
    "comment": "Comments",
    "comments": "Comments",
    "commission_rate": "Commission",
    "company": "Company",
    "company_city": "City",
    "company_region": "Region",
    "company_street_name": "Street",
    "company_street_number": "Number",
    "company_zip": "Postcode",
    "country_code": "Country",
    "domain": "Domain",
    "doy": "Tax office",
    "email": "E-mail",
    "expected_date": "Expected on",
    "expected_quantity": "Pieces",
    "first_name": "First name",
    "floor": "Floor",
    "hours": "Hours",
    "last_name": "Last name",
    "name": "Name",
    "phone": "Phone",
    "product_name": "Product",
    "product_uid": "Product",
    "profession": "Profession",
    "proposed_part_url": "Address of the part that belongs to it",
    "quantity": "Pieces",
    "reason": "Reason",
    "region": "Region",
    "rejection_reason_other": "Reason",
    "returns_webhook_url": "Address for returns",
    "shop_uid": "Code in the shop",
    "street_name": "Street",
    "street_number": "Number",
    "tax_number": "VAT number",
    "tracking_code": "Tracking code",
    "tracking_id": "Tracking code",
    "unit_price": "Unit price",
    "vat_number": "VAT number",
    "webhook_url": "Address for orders",
    "zip": "Postcode",
    "zip_code": "Postcode",
}
# In a row of a table these are no texts: a choice's word, and what a hidden field has for each listing.
_NOT_IN_ROWS: Final = frozenset({"reason", "shop_uid"})
_MOST: Final = 100
_NAME: Final = re.compile(r"(?:\w+\[(?P<row>\d{1,6})\]\[)?(?P<last>\w+)\]?")


def label_of(name: str, words: Words) -> str:
    """What a form calls a field, with its row's number; empty for a field that nobody types into."""
    found = _NAME.fullmatch(name)
    if found is None or (found["row"] and found["last"] in _NOT_IN_ROWS) or found["last"] not in LABELS:
        return ""
    row = f"{int(found['row']) + 1}. " if found["row"] else ""
    return row + words.text(LABELS[found["last"]])


def written(form: Form, words: Words) -> list[tuple[str, str]]:
    """Label and text of what somebody has typed, in the form's order; the first hundred of them."""
    named = ((label_of(name, words), value) for name, value in form.values.items() if value.strip())
    return [(label, value) for label, value in named if label][:_MOST]
