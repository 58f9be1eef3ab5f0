"""Shops and listings: structs and pure rules."""

import hashlib
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from kalathi.contract.orders import Size
from kalathi.contract.words import Courier, FulfillmentMode, LineTag, ReturnEventType
from kalathi.marketplace.kernel.targets import mask_url

Text = Annotated[str, Meta(min_length=1, max_length=200)]
OptionalText = Annotated[str, Meta(max_length=200)]
Url = Annotated[str, Meta(max_length=2000)]
LARGEST_QUANTITY = 1_000_000
MOST_LOCATIONS = 100
# Variations of one listing.
MOST_VARIATIONS = 200
# Listings in one call.
MOST_LISTINGS = 5000


class Location(Struct, frozen=True, kw_only=True):
    """Where the courier picks up. The id is opaque and ours."""

    id: str
    street_name: str
    street_number: str
    zip: str
    city: str
    region: str

    def label(self) -> str:
        """Return the address as accept_options show it (docs/contract.md#section-2): `Σταδίου 1, Τ.Κ. 12345, Αθήνα,
        Αττική`."""
        return f"{self.street_name} {self.street_number}, Τ.Κ. {self.zip}, {self.city}, {self.region}"


class ShopStatus(StrEnum):
    """Whether a shop takes part."""

    ACTIVE = "active"
    # Customers cannot order. The shop works off its orders as before.
    SUSPENDED = "suspended"
    # Nothing is left but the shop's data: no tokens, no sessions, no webhooks.
    CLOSED = "closed"


_OF_RETURNS: Final = frozenset(ReturnEventType)


class Shop(Struct, frozen=True, kw_only=True):
    """A shop as the marketplace knows it. Orders and returns each have a webhook URL and a switch; without a URL, or
    with the switch off, nothing is sent, and the shop asks by itself (docs/contract.md#section-4 and #section-8)."""

    id: str
    name: str
    domain: str
    status: ShopStatus = ShopStatus.ACTIVE
    webhook_url: str | None = None
    webhook_enabled: bool = True
    returns_webhook_url: str | None = None
    returns_webhook_enabled: bool = False
    courier: str = Courier.SKROUTZ_LAST_MILE
    fulfillment_mode: FulfillmentMode = FulfillmentMode.CORE
    # Enrolled in explicit set-as-ready: the courier skips parcels without the shop's mark (docs/contract.md#section-3).
    set_as_ready_required: bool = False
    # Whether batches of stock and prices are accepted, and the end of a scan of the shop's XML feed, during which they
    # are refused (docs/contract.md#section-10).
    takes_product_updates: bool = True
    feed_scan_until: datetime | None = None
    locations: tuple[Location, ...] = ()

    @property
    def orders_url(self) -> str | None:
        """The URL for order webhooks; None if none are sent."""
        return self.webhook_url if self.webhook_enabled and self.status is not ShopStatus.CLOSED else None

    @property
    def returns_url(self) -> str | None:
        """The URL for return webhooks; None if none are sent."""
        is_open = self.status is not ShopStatus.CLOSED
        return self.returns_webhook_url if self.returns_webhook_enabled and is_open else None

    def url_for(self, event_type: str) -> str | None:
        """Return the URL for events of this type; None if none are sent."""
        return self.returns_url if event_type in _OF_RETURNS else self.orders_url

    def location(self, location_id: str) -> Location | None:
        """The location with this id, or None."""
        return next((location for location in self.locations if location.id == location_id), None)


def without_passwords(shop: Shop) -> Shop:
    """Return the shop with the user names and passwords in its URLs masked."""
    webhook_url, returns_webhook_url = (url and mask_url(url) for url in (shop.webhook_url, shop.returns_webhook_url))
    return replace(shop, webhook_url=webhook_url, returns_webhook_url=returns_webhook_url)


class ListingSource(StrEnum):
    """The origin of a listing's last change. Orders change its quantity without being named here."""

    OPERATOR = "operator"
    PRODUCTS_API = "products_api"
    PAGE = "page"
    CSV = "csv"


class Listing(Struct, frozen=True, kw_only=True):
    """A product that a shop offers. Price in euros, commission rate in percent; the quantity has its own column, and
    variations have their own table. A disabled listing cannot be ordered."""

    shop_uid: str
    product_name: str
    unit_price: Decimal
    commission_rate: Decimal
    ean: str | UnsetType = UNSET
    mpn: str | UnsetType = UNSET
    shop_variation_uid: str | UnsetType = UNSET
    extra_info: str | UnsetType = UNSET
    size: Size | UnsetType = UNSET
    tags: tuple[LineTag, ...] | UnsetType = UNSET
    vat_rate: Decimal = Decimal(24)
    # Whether article 39α lets a company buy it without VAT, as it does for phones and computers.
    vat_exclusion_39a: bool = False
    # A preorder is sent on this day; None for a product in stock.
    preorder_ships_on: date | None = None
    enabled: bool = True
    has_variations: bool = False
    # In Athens; None for a listing that an earlier version has written.
    changed_at: datetime | None = None
    changed_by: ListingSource = ListingSource.OPERATOR
    # The sequence of the last batch that named the listing; an earlier one no longer changes it.
    batch: int = 0


class Variation(Struct, frozen=True, kw_only=True):
    """A variation of a listing, such as a size. Price in euros; the quantity has its own column."""

    variation_id: str
    unit_price: Decimal
    enabled: bool = True
    size: Size | UnsetType = UNSET


class NewLocation(Struct, frozen=True, kw_only=True):
    """A location as the operator names it."""

    street_name: Annotated[Text, Meta(description="Street of the pickup location.")]
    street_number: Annotated[OptionalText, Meta(description="Number in the street.")] = ""
    zip: Annotated[OptionalText, Meta(description="Zip code.")] = ""
    city: Annotated[OptionalText, Meta(description="City.")] = ""
    region: Annotated[OptionalText, Meta(description="Region.")] = ""


class NewShop(Struct, frozen=True, kw_only=True):
    """`POST /marketplace/shops`"""

    name: Text
    domain: Text
    webhook_url: Url | None = None
    webhook_enabled: bool = True
    returns_webhook_url: Url | None = None
    returns_webhook_enabled: bool = False
    courier: Courier = Courier.SKROUTZ_LAST_MILE
    fulfillment_mode: FulfillmentMode = FulfillmentMode.CORE
    set_as_ready_required: bool = False
    locations: Annotated[tuple[NewLocation, ...], Meta(min_length=1, max_length=MOST_LOCATIONS)]


class ShopChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PATCH /marketplace/shops/{id}`: only what changes. Other fields are refused, because a name that is misspelt
    would change nothing without a word."""

    name: Annotated[Text, Meta(description="The shop's name.")] | UnsetType = UNSET
    domain: Annotated[Text, Meta(description="The shop's domain.")] | UnsetType = UNSET
    status: (
        Annotated[
            ShopStatus,
            Meta(description="active; suspended: no new orders; closed: tokens, sessions and webhooks end."),
        ]
        | UnsetType
    ) = UNSET
    webhook_url: Annotated[Url | None, Meta(description="The URL for order webhooks.")] | UnsetType = UNSET
    webhook_enabled: Annotated[bool, Meta(description="Whether order webhooks are sent.")] | UnsetType = UNSET
    returns_webhook_url: Annotated[Url | None, Meta(description="The URL for return webhooks.")] | UnsetType = UNSET
    returns_webhook_enabled: Annotated[bool, Meta(description="Whether return webhooks are sent.")] | UnsetType = UNSET
    courier: Annotated[Courier, Meta(description="The courier of new orders.")] | UnsetType = UNSET
    fulfillment_mode: (
        Annotated[FulfillmentMode, Meta(description="core: the marketplace's courier sends the orders; fbm: the shop.")]
        | UnsetType
    ) = UNSET
    set_as_ready_required: (
        Annotated[bool, Meta(description="Whether the courier takes only parcels that are marked as ready.")]
        | UnsetType
    ) = UNSET
    takes_product_updates: (
        Annotated[bool, Meta(description="Whether batches of stock and prices are accepted.")] | UnsetType
    ) = UNSET
    feed_scan_until: (
        Annotated[
            Annotated[datetime, Meta(tz=True)] | None,
            Meta(description="Until then the shop's XML feed is being scanned, and such batches are refused."),
        ]
        | UnsetType
    ) = UNSET


class NewSize(Struct, frozen=True, kw_only=True):
    """A size in the marketplace's words and in the shop's."""

    label: OptionalText
    value: OptionalText
    shop_value: OptionalText = ""
    shop_variation_uid: OptionalText | UnsetType = UNSET
    ean: OptionalText | UnsetType = UNSET
    mpn: OptionalText | UnsetType = UNSET


class NewVariation(Struct, frozen=True, kw_only=True):
    """A variation of a new listing. Without a price, it has the listing's."""

    variation_id: Text
    quantity: Annotated[int, Meta(ge=0, le=LARGEST_QUANTITY)]
    unit_price: Decimal | UnsetType = UNSET
    enabled: bool = True
    size: NewSize | UnsetType = UNSET


class NewListing(Struct, frozen=True, kw_only=True):
    """One entry of `PUT /marketplace/shops/{id}/listings`."""

    shop_uid: Annotated[Text, Meta(description="The shop's own id of the product.")]
    product_name: Annotated[Text, Meta(description="The product's name.")]
    unit_price: Annotated[Decimal, Meta(description="Price of one piece, in euros.")]
    commission_rate: Annotated[Decimal, Meta(description="Commission in percent.")] = Decimal(0)
    quantity: Annotated[int, Meta(ge=0, le=LARGEST_QUANTITY, description="Pieces in stock.")]
    ean: Annotated[OptionalText, Meta(description="The product's EAN.")] | UnsetType = UNSET
    mpn: Annotated[OptionalText, Meta(description="The manufacturer's part number.")] | UnsetType = UNSET
    shop_variation_uid: Annotated[OptionalText, Meta(description="The shop's own id of the variation.")] | UnsetType = (
        UNSET
    )
    extra_info: Annotated[str, Meta(max_length=2000, description="Lines such as `Χρώμα: Πράσινο`.")] | UnsetType = UNSET
    size: NewSize | UnsetType = UNSET
    tags: Annotated[tuple[LineTag, ...], Meta(max_length=10, description="Tags of campaigns.")] | UnsetType = UNSET
    vat_rate: Annotated[Decimal, Meta(description="VAT in percent.")] = Decimal(24)
    vat_exclusion_39a: Annotated[
        bool, Meta(description="Whether article 39α lets a company buy the product without VAT.")
    ] = False
    preorder_ships_on: Annotated[
        date | None, Meta(description="The day on which a preorder is sent; none for a product in stock.")
    ] = None
    enabled: Annotated[bool, Meta(description="Whether customers can order the product.")] = True
    variations: Annotated[tuple[NewVariation, ...], Meta(max_length=MOST_VARIATIONS)] = ()


def hash_token(token: str) -> bytes:
    """Return the SHA-256 of a token, the only form that is stored. Tokens are random, so they need no salt and no slow
    hash."""
    return hashlib.sha256(token.encode()).digest()
