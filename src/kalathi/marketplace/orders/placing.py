"""Placing a cart: one order for each of its shops."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple, replace

from kalathi.contract.codec import decode, encode
from kalathi.contract.orders import Address, Customer, Fees, LineItem, Size
from kalathi.contract.words import (
    GIFT_WRAP_CUSTOM,
    FulfillmentMode,
)
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.money import as_amount, without_vat
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Update
from kalathi.marketplace.orders import cart_refusals, machine, store
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.invoicing import check_invoice, invoice_document
from kalathi.marketplace.orders.lines import OrderedLine
from kalathi.marketplace.orders.machine import Placement
from kalathi.marketplace.orders.model import Cart, NewCart, NewCartItem, Order, OrderFacts
from kalathi.marketplace.orders.recording import record_placed
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import Listing, Shop, ShopStatus
from kalathi.marketplace.shops.store import ListingInStock, VariationsByListing
from kalathi.marketplace.warehouse import store as warehouse

_LONGEST_TEXT: Final = 500
_ADDRESS_TEXTS: Final = ("street_name", "street_number", "floor", "zip", "city", "region", "country_code")


def place(new: NewCart, facts: Facts) -> tuple[ChangeSet, list[Order]]:
    """Place one order for each shop of a cart. The stock updates succeed only while there is enough of each product.

    Raises INVALID_PARAMETER for an unknown shop or listing, too little stock, or an invalid amount.
    """
    by_shop = _group_by_shop(new.items)
    known = shops.shops_by_id(facts.view, by_shop)
    cart = Cart(id=facts.keys.cart_id(next(iter(by_shop), "")), created_at=athens(facts.now), content=new)
    _check(new)
    customer_id = facts.keys.opaque_id()
    changes = ChangeSet()
    orders = []
    for shop_id, items in by_shop.items():
        shop = _find_active(known, shop_id)
        listings = shops.listings(facts.view, shop_id, {item.shop_uid for item in items})
        variations = shops.variations(facts.view, shop_id, shops.find_varied(listings.values()))
        lines = [_order_line(item, listings, variations, new) for item in items]
        wanted = _count_wanted(items)
        order_facts = _facts(new, shop, cart.id, customer_id)
        # An order that the customer collects from the store is not sent from the warehouse.
        if not new.store_pickup and warehouse.has(facts.view, shop_id, wanted):
            order_facts = warehouse_facts(order_facts, facts.terms)
            changes.add(*(warehouse.take(shop_id, shop_uid, quantity) for shop_uid, quantity in wanted.items()))
        else:
            _check_listed(wanted, listings)
            order_facts = replace(order_facts, scheduled_shipment=_last_preorder(listings.values()))
            changes.add(*_take_listed(shop_id, items, wanted, variations))
        placement = Placement(
            code=facts.keys.order_code(facts.now, shop_id),
            facts=order_facts,
            lines=lines,
            line_ids=[facts.keys.opaque_id() for _ in lines],
        )
        step = machine.place(placement, facts.terms.settings, facts.now)
        changes.extend([record_placed(step, shop, facts).changes])
        orders.append(step.order)
    # Only now is every amount known to be finite: JSON has no others.
    changes.add(store.insert_cart(cart))
    return changes, orders


def _find_active(known: Mapping[str, Shop], shop_id: str) -> Shop:
    shop = known.get(shop_id)
    if shop is None:
        raise refuse(cart_refusals.UnknownShop(shop_id[:50]))
    if shop.status is not ShopStatus.ACTIVE:
        raise refuse(cart_refusals.ShopNotActive(shop_id))
    return shop


def _group_by_shop(items: Iterable[NewCartItem]) -> dict[str, list[NewCartItem]]:
    by_shop: dict[str, list[NewCartItem]] = defaultdict(list)
    for item in items:
        by_shop[item.shop_id].append(item)
    return by_shop


def warehouse_facts(facts: OrderFacts, terms: Terms) -> OrderFacts:
    """Change an order's facts for an order sent by the marketplace's warehouse (docs/contract.md#section-9): add its
    fee, and drop everything between a shop and its courier. Phones are shown only with an invoice."""
    fees = Fees() if facts.fees is UNSET else facts.fees
    cents = terms.settings.fbs_fee_cents
    if fees.fbs_fee is UNSET and cents:
        fees = replace(fees, fbs_fee=Decimal(cents) / 100)
    customer = facts.customer
    if not facts.invoice:
        customer = msgspec.Raw(encode(replace(decode(customer, Customer), phone=UNSET, mobile=UNSET)))
    return replace(
        facts,
        customer=customer,
        courier=None,
        express=False,
        fulfilled_by_skroutz=True,
        shipping_cost=UNSET,
        fees=UNSET if fees == Fees() else fees,
        set_as_ready_required=False,
        mode=FulfillmentMode.CORE,
    )


def _facts(new: NewCart, shop: Shop, cart_id: str, customer_id: str) -> OrderFacts:
    by_merchant = shop.fulfillment_mode is FulfillmentMode.MERCHANT
    details = new.invoice_details
    customer = _show_customer(new.customer, customer_id, with_phones=by_merchant or details is not UNSET)
    return OrderFacts(
        shop_id=shop.id,
        cart_id=cart_id,
        customer=msgspec.Raw(encode(customer)),
        payment_method=new.payment_method,
        courier=None if new.store_pickup else shop.courier,
        comments=new.comments,
        invoice=details is not UNSET,
        invoice_document=invoice_document(details),
        invoice_details=details,
        express=new.express,
        gift_wrap=new.gift_wrap,
        store_pickup=new.store_pickup,
        custom=GIFT_WRAP_CUSTOM if new.gift_wrap else UNSET,
        shipping_cost=(new.shipping_cost or Decimal("0.00")) if by_merchant else UNSET,
        fees=new.fees,
        set_as_ready_required=shop.set_as_ready_required,
        mode=shop.fulfillment_mode,
    )


def _check(new: NewCart) -> None:
    """Check a cart's members other than its products. Raises INVALID_PARAMETER."""
    if not (new.customer.first_name.strip() or new.customer.last_name.strip()):
        raise refuse(cart_refusals.NoCustomerName())
    address = new.customer.address
    texts = [*astuple(new.customer)[:5], *astuple(address)]
    if any(isinstance(text, str) and len(text) > _LONGEST_TEXT for text in texts):
        raise refuse(cart_refusals.LongCustomer(_LONGEST_TEXT))
    if address.pickup_from_collection_point and not (address.collection_point_address or ""):
        raise refuse(cart_refusals.NoCollectionPoint())
    if new.express and new.store_pickup:
        raise refuse(cart_refusals.ExpressFromStore())
    check_invoice(new.invoice_details, _LONGEST_TEXT)
    if new.shipping_cost is not UNSET and as_amount(new.shipping_cost) is None:
        raise refuse(cart_refusals.NotAShippingCost())
    for name in () if new.fees is UNSET else new.fees.__struct_fields__:
        fee = getattr(new.fees, name)
        if fee is not UNSET and not as_amount(fee):
            raise refuse(cart_refusals.NotAFee(name))
    if (
        any(item.island_vat_discount_applied for item in new.items)
        and invoice_document(new.invoice_details) != "invoice"
    ):
        raise refuse(cart_refusals.NoIslandDiscount())


def _show_customer(customer: Customer, customer_id: str, *, with_phones: bool) -> Customer:
    """Return the customer as shops see them: with an id, and with phones only if the contract has them (section 2)."""
    address: Address = replace(customer.address, floor=customer.address.floor or "")
    if address.pickup_from_collection_point:
        address = replace(address, **dict.fromkeys(_ADDRESS_TEXTS, ""))
    shown = replace(customer, id=customer_id, address=address)
    return shown if with_phones else replace(shown, phone=UNSET, mobile=UNSET)


def _take_listed(
    shop_id: str, items: Sequence[NewCartItem], wanted: dict[str, int], variations: VariationsByListing
) -> list[Update]:
    """Return the updates that take the pieces of listings and their variations. Raises INVALID_PARAMETER if the cart
    orders more of a variation than there are."""
    varied: dict[tuple[str, str], int] = defaultdict(int)
    for item in items:
        if item.variation_id is not UNSET and item.shop_uid in variations:
            varied[item.shop_uid, item.variation_id] += item.quantity
    for (shop_uid, variation_id), quantity in varied.items():
        there = variations[shop_uid][variation_id].quantity
        if quantity > there:
            raise refuse(cart_refusals.TooFewInStock(f"{shop_uid}, {variation_id}", quantity, there))
    taken = [shops.take_stock(shop_id, shop_uid, quantity) for shop_uid, quantity in wanted.items()]
    return taken + [
        shops.take_variation(shop_id, shop_uid, variation_id, quantity)
        for (shop_uid, variation_id), quantity in varied.items()
    ]


def _choose(item: NewCartItem, listing: Listing, variations: VariationsByListing) -> Listing:
    """Return the listing as the item orders it: with the price and the size of its variation. Raises
    INVALID_PARAMETER."""
    if not listing.enabled:
        raise refuse(cart_refusals.NotOnSale(item.shop_uid))
    if not listing.has_variations:
        return listing
    there = variations.get(item.shop_uid, {})
    chosen = None if item.variation_id is UNSET else there.get(item.variation_id)
    if chosen is None:
        raise refuse(cart_refusals.UnknownVariation(item.shop_uid, tuple(there)))
    variation = chosen.variation
    if not variation.enabled:
        raise refuse(cart_refusals.NotOnSale(f"{item.shop_uid}, {variation.variation_id}"))
    return replace(
        listing,
        unit_price=variation.unit_price,
        size=listing.size if variation.size is UNSET else variation.size,
        shop_variation_uid=variation.variation_id,
    )


def _order_line(
    item: NewCartItem, listings: dict[str, ListingInStock], variations: VariationsByListing, new: NewCart
) -> OrderedLine:
    entry = listings.get(item.shop_uid)
    if entry is None:
        raise refuse(cart_refusals.UnknownListing(item.shop_id, item.shop_uid))
    listing = _choose(item, entry.listing, variations)
    unit_price = listing.unit_price if item.unit_price is UNSET else as_amount(item.unit_price)
    if unit_price is None:
        raise refuse(cart_refusals.NotAUnitPrice(item.shop_uid))
    document = invoice_document(new.invoice_details)
    without = document == "invoice_vies" or (document == "invoice_39a" and listing.vat_exclusion_39a)
    size = listing.size if item.size is UNSET else Size(**msgspec.structs.asdict(item.size))
    tags = listing.tags if item.tags is UNSET else item.tags
    line = LineItem(
        id="",
        shop_uid=listing.shop_uid,
        shop_variation_uid=listing.shop_variation_uid,
        product_name=listing.product_name,
        size=size,
        unit_price=without_vat(unit_price, listing.vat_rate) if without else unit_price,
        price_includes_vat=not without,
        commission_rate=listing.commission_rate,
        island_vat_discount_applied=item.island_vat_discount_applied,
        ean=listing.ean,
        mpn=listing.mpn,
        extra_info=listing.extra_info if item.extra_info is UNSET else item.extra_info,
        serial_numbers=None if item.serial_numbers is UNSET else item.serial_numbers,
        tags=UNSET if tags is UNSET else list(tags),
        readjusted_vat=item.readjusted_vat,
        vat_ratio=_vat_ratio(item, listing.vat_rate),
    )
    return OrderedLine(line, item.quantity)


def _vat_ratio(item: NewCartItem, listed_rate: Decimal) -> Decimal:
    """Return the VAT rate in percent: the cart's value, or by default the listing's (docs/contract.md#section-2)."""
    if item.vat_ratio is UNSET:
        return listed_rate
    if as_amount(item.vat_ratio) is None:
        raise refuse(cart_refusals.NotAVatRatio(item.shop_uid))
    return item.vat_ratio


def _count_wanted(items: Sequence[NewCartItem]) -> dict[str, int]:
    """Return the ordered quantity of each product."""
    wanted: dict[str, int] = defaultdict(int)
    for item in items:
        wanted[item.shop_uid] += item.quantity
    return wanted


def _last_preorder(listings: Iterable[ListingInStock]) -> date | None:
    """Return the latest shipping day of the preorders, because all products of an order are sent together."""
    days = (entry.listing.preorder_ships_on for entry in listings)
    return max((day for day in days if day), default=None)


def _check_listed(wanted: dict[str, int], listings: dict[str, ListingInStock]) -> None:
    """Check the listings' stock. Raises INVALID_PARAMETER if the cart orders more than a listing has."""
    for shop_uid, quantity in wanted.items():
        if quantity > listings[shop_uid].quantity:
            raise refuse(cart_refusals.TooFewInStock(shop_uid, quantity, listings[shop_uid].quantity))
