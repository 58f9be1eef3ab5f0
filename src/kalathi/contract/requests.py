"""Request bodies of a shop for an order, a return, or its goods in the warehouse (docs/contract.md#section-3,
#section-7, #section-9).

Real clients send whole numbers as numbers or as digit strings. So those fields accept both, and `whole_number` reads
them. The valid values depend on the order, so the order's commands check them. In requests whose errors are reported
field by field, members accept any value, so that one wrong field does not hide the others.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType


class AcceptRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST /orders/:code/accept`"""

    pickup_location: Annotated[str | int | None, Meta(description="The id of a location of accept_options.")] = None
    pickup_window: Annotated[int | str | None, Meta(description="The id of a window of accept_options.")] = None
    number_of_parcels: Annotated[int | str | None, Meta(description="Number of parcels; by default 1.")] = None


class RejectedLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a rejection. `available_quantity` is valid only with reason 4."""

    id: str | int
    reason_id: int | str | None = None
    available_quantity: int | str | None = None


class RejectRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST /orders/:code/reject`: with `line_items` or with `rejection_reason_other`, never with both."""

    line_items: Annotated[list[RejectedLine] | None, Meta(description="Rejected lines, each with its reason.")] = None
    rejection_reason_other: Annotated[str | None, Meta(description="A reason in words, for the whole order.")] = None


class RescheduleRequest(Struct, frozen=True, kw_only=True):
    """`POST /orders/:code/reschedule_pickup`; a date `YYYY-MM-DD` of reschedule_options."""

    reschedule_date: Annotated[str | None, Meta(description="A day of reschedule_options, YYYY-MM-DD.")] = None


class RelocateRequest(Struct, frozen=True, kw_only=True):
    """`POST /orders/:code/relocate_pickup`; an id of relocate_options."""

    pickup_location: Annotated[str | int | None, Meta(description="The id of a location of relocate_options.")] = None


class TrackingDetail(Struct, frozen=True, kw_only=True):
    """One parcel of an order that the shop sends by itself; `courier` is one of words.TRACKING_COURIERS."""

    courier: str | None = None
    tracking_code: str | int | None = None


class TrackingRequest(Struct, frozen=True, kw_only=True):
    """`POST /orders/:code/tracking_details`, for orders fulfilled by the merchant."""

    tracking_details: Annotated[
        list[TrackingDetail] | None, Meta(description="The courier and the tracking code of each parcel.")
    ] = None


# The value as the client sent it, and its expected form.
_Text = Annotated[Any, Meta(extra_json_schema={"type": ["string", "null"]})]
_Count = Annotated[Any, Meta(extra_json_schema={"type": ["integer", "string", "null"]})]
_Switch = Annotated[Any, Meta(extra_json_schema={"type": "boolean"})]


class ReviewRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST /returns/:return_code/review` (section 7); `option` is one of the return's review_options."""

    option: Annotated[_Text, Meta(description="One of the return's review_options.")] = None
    comment: Annotated[_Text, Meta(description="A comment for the customer; some options need one.")] = None
    proposed_part_url: Annotated[_Text, Meta(description="With part_not_included: where the part is sold.")] = None


class PurchaseOrderLineRequest(Struct, frozen=True, kw_only=True):
    """A product of a purchase order; `storage_conditions` is one of words.STORAGE_CONDITIONS."""

    product_uid: _Text = None
    expected_quantity: _Count = None
    keep_serial_numbers: _Switch = False
    has_expiration_date: _Switch = False
    storage_conditions: _Count = 0


_LINE_SCHEMA = msgspec.json.schema_components([PurchaseOrderLineRequest])[1]["PurchaseOrderLineRequest"]
_Lines = Annotated[Any, Meta(extra_json_schema={"type": ["array", "null"], "items": _LINE_SCHEMA})]


class PurchaseOrderRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST /fbs/purchase_orders` (section 9); a date `YYYY-MM-DD`, and a list of PurchaseOrderLineRequest."""

    expected_date: _Text = None
    supplier_id: _Text = None
    line_items: _Lines = None


class SupplierRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST /fbs/suppliers`, and `PATCH /fbs/suppliers/:id` with only what changes (section 9)."""

    id: _Text | UnsetType = UNSET
    code: _Text | UnsetType = UNSET
    name: _Text | UnsetType = UNSET
    address: _Text | UnsetType = UNSET
    city: _Text | UnsetType = UNSET
    area: _Text | UnsetType = UNSET
    zip_code: _Text | UnsetType = UNSET
    phone: _Text | UnsetType = UNSET
    tax_number: _Text | UnsetType = UNSET
    email: _Text | UnsetType = UNSET


def whole_number(value: int | str | None) -> int | None:
    """Return the integer for `2` or `"2"`, or None if the value is not a whole number."""
    if isinstance(value, str):
        # Nine digits are enough for every number of the contract, and fit the columns of every database.
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
    return value
