"""The order as the marketplace stores it, its cart, and pure rules on them."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from kalathi.contract.codec import decode
from kalathi.contract.orders import (
    Customer,
    Fees,
    InvoiceDetails,
    LineItem,
    OrderReturn,
    PickupWindow,
    RejectionInfo,
    Replacement,
)
from kalathi.contract.words import (
    REPLACEMENT_CUSTOMS,
    FulfillmentMode,
    InvoiceDocument,
    LineTag,
    OrderState,
    PaymentMethod,
    RejectionActor,
)
from kalathi.marketplace.shops.model import LARGEST_QUANTITY, NewSize, Shop

# Members that most commands do not read stay in their stored JSON (docs/decisions/0017). So an accept neither decodes
# nor encodes the customer and the lines.
StoredCustomer = msgspec.Raw
StoredLines = msgspec.Raw


class OrderFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The facts of an order at its placing. Money is in euros; `customer` is a contract struct in JSON."""

    shop_id: str
    cart_id: str
    customer: StoredCustomer
    payment_method: PaymentMethod
    courier: str | None
    comments: str = ""
    invoice: bool = False
    invoice_document: InvoiceDocument = "receipt"
    invoice_details: InvoiceDetails | UnsetType = UNSET
    express: bool = False
    gift_wrap: bool = False
    fulfilled_by_skroutz: bool = False
    store_pickup: bool = False
    custom: str | UnsetType = UNSET
    shipping_cost: Decimal | UnsetType = UNSET
    fees: Fees | UnsetType = UNSET
    set_as_ready_required: bool = False
    replaced: str | UnsetType = UNSET
    # Not on the wire: the sender, and the day of a preorder.
    mode: FulfillmentMode = FulfillmentMode.CORE
    scheduled_shipment: date | None = None


class Order(OrderFacts, frozen=True, kw_only=True, omit_defaults=True):
    """An order's document. Times are Athens time in whole seconds.

    Members that are on the wire have the names and the JSON of the contract, so that rendering an order needs no
    translation (orders/wire.py). `line_items` are contract structs in JSON.
    """

    code: str
    state: OrderState
    line_items: StoredLines
    created_at: datetime
    expires_at: datetime
    dispatch_until: datetime | None
    commission: Decimal
    pickup_location_id: str | None = None
    pickup_window: PickupWindow | None = None
    pickup_address: str | None = None
    number_of_parcels: int | None = None
    courier_voucher: str | None = None
    courier_tracking_codes: tuple[str, ...] = ()
    is_ready_for_dispatch: bool = False
    uploaded_invoice_file: str | None = None
    fbs_delivery_note: str | None = None
    fbs_delivery_note_url: str | None = None
    rejection_info: RejectionInfo | None = None
    replacements: tuple[Replacement, ...] = ()
    returns: tuple[OrderReturn, ...] = ()
    # Not on the wire: the window that an undone set-as-ready restores; whether the voucher is outdated (old location,
    # courier or number of parcels); and, by line id, the delivered pieces and the replaced ones.
    window_before_ready: PickupWindow | None = None
    voucher_is_outdated: bool = False
    delivered: dict[str, int] | None = None
    sent_again: dict[str, int] | None = None
    # The number of tracking codes issued so far, because a new voucher gets new codes.
    tracking_codes_issued: int = 0
    # Whether the parcel is on its way back to the shop, after a failed delivery or a cancellation.
    is_travelling_back: bool = False
    # For a rejected order: the actor, the available quantity of each line in limited supply, and the code of the new
    # order for the rest. That order has the rejected one as its predecessor.
    rejected_by: RejectionActor | None = None
    available: dict[str, int] | None = None
    successor: str | None = None
    predecessor: str | None = None
    # The time of the delivery; and, by line id, the pieces in live or finished returns, and the pieces that the shop
    # has received back.
    delivered_at: datetime | None = None
    asked_back: dict[str, int] | None = None
    came_back: dict[str, int] | None = None
    # Whether the customer's data was removed (docs/privacy.md).
    anonymised: bool = False

    def lines(self) -> list[LineItem]:
        """The line items, decoded."""
        return decode(self.line_items, list[LineItem])

    def recipient(self) -> Customer:
        """The customer, decoded."""
        return decode(self.customer, Customer)

    @property
    def was_accepted(self) -> bool:
        """Whether the order was ever accepted, whatever its state now."""
        return self.pickup_location_id is not None or self.fulfilled_by_skroutz

    @property
    def is_of_the_same_items(self) -> bool:
        """Whether the order sends the same items as another order again, so that no listing supplies its pieces."""
        return self.custom in REPLACEMENT_CUSTOMS.values()

    @property
    def needs_voucher(self) -> bool:
        """Whether the marketplace's courier collects the order from the shop, which needs a voucher."""
        return not (self.store_pickup or self.fulfilled_by_skroutz) and self.mode is FulfillmentMode.CORE


def facts_of(order: Order) -> OrderFacts:
    """Return the facts of an order, for a new order that takes its place."""
    return OrderFacts(**{name: getattr(order, name) for name in OrderFacts.__struct_fields__})


class FoundOrder:
    """An order as it was read, with its version and its shop. A write succeeds only if the version is unchanged.

    `order` decodes the document on first use; rendering does not need it.
    """

    __slots__ = ("_order", "document", "shop", "version")

    def __init__(self, document: bytes, version: int, shop: Shop) -> None:
        self.document = document
        self.version = version
        self.shop = shop
        self._order: Order | None = None

    @property
    def order(self) -> Order:
        """The document, decoded."""
        if self._order is None:
            self._order = decode(self.document, Order)
        return self._order


Text = Annotated[str, Meta(max_length=500)]


class NewCartItem(Struct, frozen=True, kw_only=True):
    """A product in a cart. Price, size, tags and extra_info override the listing, for example in a campaign."""

    shop_id: Annotated[str, Meta(max_length=50)]
    shop_uid: Annotated[str, Meta(max_length=200)]
    quantity: Annotated[int, Meta(ge=1, le=LARGEST_QUANTITY)]
    unit_price: Decimal | UnsetType = UNSET
    size: NewSize | UnsetType = UNSET
    tags: Annotated[tuple[LineTag, ...], Meta(max_length=10)] | UnsetType = UNSET
    extra_info: Annotated[str, Meta(max_length=2000)] | UnsetType = UNSET
    serial_numbers: Text | UnsetType = UNSET
    # Needed for a listing with variations.
    variation_id: Text | UnsetType = UNSET
    # Only with an invoice that is billed on one of five islands.
    island_vat_discount_applied: bool = False
    # Only for international orders.
    readjusted_vat: bool | UnsetType = UNSET
    vat_ratio: Decimal | UnsetType = UNSET


class NewCart(Struct, frozen=True, kw_only=True):
    """`POST /marketplace/carts`: the products that a customer buys, from one shop or several, and the terms."""

    customer: Customer
    items: Annotated[tuple[NewCartItem, ...], Meta(min_length=1, max_length=500, description="The products.")]
    payment_method: Annotated[PaymentMethod, Meta(description="How the customer pays.")]
    comments: Annotated[str, Meta(max_length=2000, description="The customer's comments.")] = ""
    invoice_details: InvoiceDetails | UnsetType = UNSET
    express: Annotated[bool, Meta(description="An express order; the marketplace accepts it itself.")] = False
    gift_wrap: Annotated[bool, Meta(description="The customer wants gift wrapping.")] = False
    store_pickup: Annotated[bool, Meta(description="The customer collects the order from the store.")] = False
    # The fees apply to every order of the cart, the shipping cost only to orders that the merchant sends.
    fees: Fees | UnsetType = UNSET
    shipping_cost: Annotated[Decimal, Meta(description="In euros; for orders that the merchant sends.")] | UnsetType = (
        UNSET
    )


class Cart(Struct, frozen=True, kw_only=True):
    """A stored cart. The new order after a rejection belongs to the same cart."""

    id: str
    created_at: datetime
    content: NewCart
