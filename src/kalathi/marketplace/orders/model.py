"""The order as the marketplace keeps it, the cart that it came from, and pure rules on them."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from kalathi.contract.codec import decode
from kalathi.contract.orders import Customer, LineItem, PickupWindow, RejectionInfo
from kalathi.contract.words import OrderState, PaymentMethod
from kalathi.marketplace.shops.model import LARGEST_QUANTITY, Shop

# Members that no command touches are carried as the JSON that they are stored as (DESIGN, decision 17): an accept then
# neither decodes nor encodes the customer and the lines again.
StoredCustomer = msgspec.Raw
StoredLines = msgspec.Raw


class Order(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order's document. Times are Athens time in whole seconds; money is in euros.

    Members that the wire shows have the wire's names and its JSON, so that showing an order needs no translation
    (orders/wire.py). `customer` and `line_items` are contract structs in JSON.
    """

    code: str
    shop_id: str
    cart_id: str
    state: OrderState
    customer: StoredCustomer
    line_items: StoredLines
    comments: str = ""
    payment_method: PaymentMethod
    courier: str | None
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
    rejection_info: RejectionInfo | None = None

    def lines(self) -> list[LineItem]:
        """The line items, decoded."""
        return decode(self.line_items, list[LineItem])

    def recipient(self) -> Customer:
        """The customer, decoded."""
        return decode(self.customer, Customer)


class FoundOrder:
    """An order as it was read: its version guards every change, its shop's facts go with it.

    Decoded when somebody asks for the order itself: showing it does not.
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
    """A product in a cart; `unit_price` overrides the listing's, as a campaign would."""

    shop_id: Annotated[str, Meta(max_length=50)]
    shop_uid: Annotated[str, Meta(max_length=200)]
    quantity: Annotated[int, Meta(ge=1, le=LARGEST_QUANTITY)]
    unit_price: Decimal | UnsetType = UNSET


class NewCart(Struct, frozen=True, kw_only=True):
    """`POST /marketplace/carts`: what a customer buys, of one shop or several."""

    customer: Customer
    items: Annotated[tuple[NewCartItem, ...], Meta(min_length=1, max_length=500)]
    payment_method: PaymentMethod
    comments: Annotated[str, Meta(max_length=2000)] = ""


class Cart(Struct, frozen=True, kw_only=True):
    """A cart as it is kept: the reprocessing of a rejection belongs to the same one."""

    id: str
    created_at: datetime
    content: NewCart
