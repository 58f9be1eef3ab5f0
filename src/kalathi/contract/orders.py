"""The wire format of an order (docs/contract.md#section-2), the same in answers and in webhooks."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from kalathi.contract.words import (
    InvoiceDocumentText,
    LineRejectionReasonText,
    LineReturnReasonText,
    OrderStateText,
    RejectionActorText,
)

# A time with its offset.
Timestamp = Annotated[datetime, Meta(tz=True)]
# The struct below has a member `date`. From Python 3.14 on, that name would mean the member in its annotation.
Day = date


class Address(Struct, frozen=True, kw_only=True):
    """The delivery address. For a collection point, `collection_point_address` is set and the other texts are empty."""

    street_name: str = ""
    street_number: str = ""
    floor: str | None = ""
    zip: str = ""
    city: str = ""
    region: str = ""
    country_code: str = ""
    pickup_from_collection_point: bool = False
    collection_point_address: str | UnsetType = UNSET
    comments: str | UnsetType = UNSET


class Customer(Struct, frozen=True, kw_only=True):
    """The customer. Phone numbers are sent only for orders with an invoice or fulfilled by the merchant. An e-mail
    address is never sent."""

    id: str = ""
    first_name: str = ""
    last_name: str = ""
    phone: str | UnsetType = UNSET
    mobile: str | UnsetType = UNSET
    skroutz_plus_user: bool | UnsetType = UNSET
    address: Address = field(default_factory=Address)


class InvoiceAddress(Struct, frozen=True, kw_only=True):
    """The invoiced company's address: no floor and no country."""

    street_name: str = ""
    street_number: str = ""
    zip: str = ""
    city: str = ""
    region: str = ""


class VatExclusionRepresentative(Struct, frozen=True, kw_only=True):
    """The company's representative under article 39α; `id_type` is one of words.IDENTITY_DOCUMENTS."""

    id_type: str = ""
    id_number: str = ""
    otp: str = ""
    mobile: str | UnsetType = UNSET


class InvoiceDetails(Struct, frozen=True, kw_only=True):
    """The invoice's company and address, and the proof of a VAT exclusion."""

    company: str = ""
    profession: str = ""
    vat_number: str = ""
    doy: str = ""
    address: InvoiceAddress = field(default_factory=InvoiceAddress)
    vat_exclusion_requested: bool = False
    vat_exclusion_verification_method: str | UnsetType = UNSET
    vat_exclusion_documents: list[str] | UnsetType = UNSET
    vat_exclusion_representative: VatExclusionRepresentative | UnsetType = UNSET


class Size(Struct, frozen=True, kw_only=True):
    """The ordered size, in the marketplace's terms and in the shop's."""

    label: str = ""
    value: str = ""
    shop_value: str = ""
    shop_variation_uid: str | UnsetType = UNSET
    ean: str | UnsetType = UNSET
    mpn: str | UnsetType = UNSET


class LineItem(Struct, frozen=True, kw_only=True):
    """One product of the order. Money is in euros, `commission_rate` in percent. `total_price` is `unit_price` times
    `quantity`."""

    id: str
    shop_uid: str = ""
    shop_variation_uid: str | UnsetType = UNSET
    product_name: str = ""
    quantity: int = 0
    size: Size | UnsetType = UNSET
    unit_price: Decimal = Decimal(0)
    total_price: Decimal = Decimal(0)
    price_includes_vat: bool = True
    commission: Decimal = Decimal(0)
    commission_rate: Decimal = Decimal(0)
    island_vat_discount_applied: bool = False
    ean: str | UnsetType = UNSET
    mpn: str | UnsetType = UNSET
    extra_info: str | UnsetType = UNSET
    serial_numbers: str | None = None
    tags: list[str] | UnsetType = UNSET
    rejection_reason: LineRejectionReasonText | UnsetType = UNSET
    return_reason: LineReturnReasonText | UnsetType = UNSET
    readjusted_vat: bool | UnsetType = UNSET
    vat_ratio: Decimal | UnsetType = UNSET


class Fees(Struct, frozen=True, kw_only=True):
    """The fees of this order, in euros. A fee is sent only if it is positive; without any fee the object is `{}`."""

    handling_fee: Decimal | UnsetType = UNSET
    skroutz_coins_fee: Decimal | UnsetType = UNSET
    installments_fee: Decimal | UnsetType = UNSET
    fbs_fee: Decimal | UnsetType = UNSET
    plus_user_fee: Decimal | UnsetType = UNSET


class PickupWindow(Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """The time window of the courier's pickup. `start` and `end` are `from` and `to` on the wire."""

    start: Timestamp
    end: Timestamp


class LocationOption(Struct, frozen=True, kw_only=True):
    """A pickup location on offer, with a label such as `Σταδίου 1, Τ.Κ. 12345, Αθήνα, Αττική`."""

    id: str
    label: str = ""


class WindowOption(Struct, frozen=True, kw_only=True):
    """A pickup window on offer, with a label such as `15:00 - 18:00, Τρί 03/12/19`. Clients parse the label."""

    id: int
    label: str = ""


class AcceptOptions(Struct, frozen=True, kw_only=True):
    """The valid values of an accept, while the order is open."""

    number_of_parcels: list[int] = field(default_factory=list)
    pickup_location: list[LocationOption] = field(default_factory=list)
    pickup_window: list[WindowOption] = field(default_factory=list)


class RejectionReasonOption(Struct, frozen=True, kw_only=True):
    """A reason that a rejection may give for a line (words.REJECTION_REASONS)."""

    id: int
    label: str
    requires_available_quantity: bool


class RejectOptions(Struct, frozen=True, kw_only=True):
    """The valid reasons of a reject, while the order is open."""

    line_item_rejection_reasons: list[RejectionReasonOption] = field(default_factory=list)


class RescheduleOption(Struct, frozen=True, kw_only=True):
    """A date to which the pickup can be moved."""

    date: Day
    label: str


class RejectionInfo(Struct, frozen=True, kw_only=True):
    """The free text of a rejection, and the party that rejected."""

    reason: str
    actor: RejectionActorText


class Replacement(Struct, frozen=True, kw_only=True):
    """An order that replaces this one; no type means a standard replacement."""

    code: str
    type: str | UnsetType = UNSET


class OrderReturn(Struct, frozen=True, kw_only=True):
    """A return of this order that has a shipment."""

    return_uuid: str
    tracking_ids: list[str] = field(default_factory=list)


class Order(Struct, frozen=True, kw_only=True):
    """The whole order. Readers may rely on code, state and line_items only: older recordings lack the rest.

    Times carry the offset of Europe/Athens at that instant; money is in euros.
    """

    code: str
    state: OrderStateText
    customer: Customer = field(default_factory=Customer)
    invoice: bool = False
    invoice_document: InvoiceDocumentText = "receipt"
    # Sent only when an invoice is asked for; some recordings hold null.
    invoice_details: InvoiceDetails | None | UnsetType = UNSET
    uploaded_invoice_file: str | None = None
    comments: str = ""
    courier: str | None = None
    courier_voucher: str | None = None
    courier_tracking_codes: list[str] = field(default_factory=list)
    line_items: list[LineItem]
    created_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    dispatch_until: Timestamp | None = None
    express: bool = False
    gift_wrap: bool = False
    fulfilled_by_skroutz: bool = False
    store_pickup: bool = False
    custom: str | UnsetType = UNSET
    fbs_delivery_note: str | None = None
    fbs_delivery_note_url: str | None = None
    shipping_cost: Decimal | UnsetType = UNSET
    commission: Decimal = Decimal(0)
    fees: Fees = field(default_factory=Fees)
    payment_method: str = ""
    paid_by_user: bool = False
    pickup_window: PickupWindow | UnsetType = UNSET
    pickup_address: str | UnsetType = UNSET
    number_of_parcels: int | UnsetType = UNSET
    set_as_ready_required: bool = False
    is_ready_for_dispatch: bool = False
    rejection_info: RejectionInfo | UnsetType = UNSET
    replacements: list[Replacement] | UnsetType = UNSET
    replaced: str | UnsetType = UNSET
    returns: list[OrderReturn] | UnsetType = UNSET
    accept_options: AcceptOptions | UnsetType = UNSET
    reject_options: RejectOptions | UnsetType = UNSET
    reschedule_options: list[RescheduleOption] | UnsetType = UNSET
    relocate_options: list[LocationOption] | UnsetType = UNSET
    # One recording contains this other name of `replaced`. Readers accept it; it is never sent.
    replaced_suborder: str | UnsetType = UNSET
    # `core`, or `fbm` if the merchant sends the order; always sent.
    fulfillment_mode: str | UnsetType = UNSET


class OrderBody(Struct, frozen=True, kw_only=True):
    """The answer of `GET /orders/:code`."""

    order: Order


class Success(Struct, frozen=True, kw_only=True):
    """The answer of every action that succeeded (section 1)."""

    success: bool = True


class Pagination(Struct, frozen=True, kw_only=True):
    """The position of a page in its list (section 1)."""

    total_results: int
    total_pages: int
    page: int
    per: int


class ListMeta(Struct, frozen=True, kw_only=True):
    """The pagination of a list. `next_cursor` is an addition of this project: pass it as `cursor` to get the next
    orders."""

    pagination: Pagination
    next_cursor: str | UnsetType = UNSET


class OrderList(Struct, frozen=True, kw_only=True):
    """The answer of `GET /orders`."""

    orders: list[Order]
    meta: ListMeta
