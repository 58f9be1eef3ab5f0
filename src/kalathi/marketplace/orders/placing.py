"""How orders come into being: a customer's cart becomes one order per shop, and an order may be replaced by another."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Final, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import astuple, replace

from kalathi.contract.codec import decode, encode
from kalathi.contract.orders import Address, Customer, Fees, LineItem, Size
from kalathi.contract.words import (
    GIFT_WRAP_CUSTOM,
    REPLACEMENT_CUSTOMS,
    FulfillmentMode,
    PaymentMethod,
    ReplacementType,
)
from kalathi.marketplace.kernel.changes import ChangeSet
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.database import View
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.money import as_amount, without_vat
from kalathi.marketplace.kernel.refusals import LinesNamedTwice
from kalathi.marketplace.orders import cart_refusals, machine, refusals, replacing, store
from kalathi.marketplace.orders.commands import FreshKeys
from kalathi.marketplace.orders.invoicing import check_invoice, invoice_document
from kalathi.marketplace.orders.lines import OrderedLine
from kalathi.marketplace.orders.machine import Placement
from kalathi.marketplace.orders.model import Cart, FoundOrder, NewCart, NewCartItem, Order, OrderFacts, facts_of
from kalathi.marketplace.orders.recording import Recorded, record_moved, record_placed
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.shops.store import ListingInStock
from kalathi.marketplace.warehouse import store as warehouse

_LONGEST_TEXT: Final = 500
_ADDRESS_TEXTS: Final = ("street_name", "street_number", "floor", "zip", "city", "region", "country_code")


class ReplacedLine(Struct, frozen=True, kw_only=True):
    """A line of the order that is replaced, and how many pieces of it."""

    id: str
    quantity: Annotated[int, Meta(ge=1)]


class Replace(Struct, frozen=True, kw_only=True):
    """`POST /marketplace/orders/{code}/replace`: without lines, all of it; without a type, by new pieces."""

    type: ReplacementType | None = None
    line_items: Annotated[tuple[ReplacedLine, ...], Meta(min_length=1, max_length=500)] | UnsetType = UNSET


def place(view: View, new: NewCart, keys: FreshKeys, terms: Terms, now: datetime) -> tuple[ChangeSet, list[Order]]:
    """A customer's cart becomes one order per shop; stock is taken only while there is enough of it.

    Raises INVALID_PARAMETER for an unknown shop or listing, a quantity above the listing's, an amount that is none.
    """
    by_shop: dict[str, list[NewCartItem]] = defaultdict(list)
    for item in new.items:
        by_shop[item.shop_id].append(item)
    known = shops.shops_by_id(view, by_shop)
    cart = Cart(id=keys.opaque_id(), created_at=athens(now), content=new)
    _check(new)
    customer_id = keys.opaque_id()
    changes = ChangeSet(store.insert_cart(cart))
    orders = []
    for shop_id, items in by_shop.items():
        shop = known.get(shop_id)
        if shop is None:
            raise refuse(cart_refusals.UnknownShop(shop_id[:50]))
        listings = shops.listings(view, shop_id, {item.shop_uid for item in items})
        lines = [_order_line(item, listings, new) for item in items]
        wanted = _count_wanted(items)
        facts = _facts(new, shop, cart.id, customer_id)
        # An order that the customer collects from the store is not sent from the warehouse.
        if not new.store_pickup and warehouse.has(view, shop_id, wanted):
            facts = warehouse_facts(facts, terms)
            changes.add(*(warehouse.take(shop_id, shop_uid, quantity) for shop_uid, quantity in wanted.items()))
        else:
            _check_listed(wanted, listings)
            facts = replace(facts, scheduled_shipment=_last_preorder(listings.values()))
            changes.add(*(shops.take_stock(shop_id, shop_uid, quantity) for shop_uid, quantity in wanted.items()))
        placement = Placement(
            code=keys.order_code(now),
            facts=facts,
            lines=lines,
            line_ids=[keys.opaque_id() for _ in lines],
        )
        step = machine.place(placement, terms.settings, now)
        changes.extend([record_placed(step, shop, terms, now).changes])
        orders.append(step.order)
    return changes, orders


def replace_order(
    view: View, found: FoundOrder, body: Replace, keys: FreshKeys, terms: Terms, now: datetime
) -> Recorded:
    """A new order stands in for one that was delivered: with new pieces, which are taken from the listings, or with
    the very items that come back from service or as they were. Raises ORDER_STATUS, INVALID_PARAMETER."""
    code = keys.order_code(now)
    pieces = _count_replaced(found.order, body)
    recorded = record_moved(found, replacing.note_replacement(found.order, code, body.type, pieces), terms, now)
    lines = [
        OrderedLine(_fresh(line, same_items=body.type is not None), pieces[line.id])
        for line in found.order.lines()
        if line.id in pieces
    ]
    facts = _replacement_facts(found.order, found.shop, body.type)
    placement = Placement(code, facts, lines, [keys.opaque_id() for _ in lines])
    step = machine.place(placement, terms.settings, now)
    recorded.changes.extend([record_placed(step, found.shop, terms, now).changes])
    if body.type is None:
        for shop_uid, quantity in _new_pieces(view, found.order.shop_id, lines).items():
            recorded.changes.add(shops.take_stock(found.order.shop_id, shop_uid, quantity))
    return recorded


def name_successor(view: View, found: FoundOrder, recorded: Recorded, terms: Terms, now: datetime) -> Recorded:
    """A replacement was rejected in part: the replaced order names the successor as well."""
    if found.order.replaced is UNSET:
        return recorded
    original = store.by_code(view, found.order.replaced)
    code = next((str(part.row["code"]) for part in recorded.changes.inserts if part.table == "orders"), None)
    if original is None or code is None:
        return recorded
    kind = next((entry.type for entry in original.order.replacements if entry.code == found.order.code), UNSET)
    step = replacing.note_successor(original.order, code, None if kind is UNSET else cast(ReplacementType, kind))
    recorded.changes.extend([record_moved(original, step, terms, now).changes])
    return recorded


def _replacement_facts(order: Order, shop: Shop, kind: ReplacementType | None) -> OrderFacts:
    """Nothing is paid again: no fees, no shipping cost, and no money for the courier to collect. The shop sends it,
    also in place of an order from the warehouse."""
    facts = facts_of(order)
    cash = order.payment_method is PaymentMethod.CASH_ON_DELIVERY
    custom = (GIFT_WRAP_CUSTOM if order.gift_wrap else UNSET) if kind is None else REPLACEMENT_CUSTOMS[kind]
    return replace(
        facts,
        replaced=order.code,
        custom=custom,
        courier=None if order.store_pickup else shop.courier,
        fulfilled_by_skroutz=False,
        express=False,
        fees=UNSET,
        shipping_cost=UNSET if order.shipping_cost is UNSET else Decimal("0.00"),
        payment_method=PaymentMethod.WALLET if cash else order.payment_method,
        scheduled_shipment=None,
    )


def _count_replaced(order: Order, body: Replace) -> dict[str, int]:
    """How many pieces of each line; without lines, all that the customer has got. Raises INVALID_PARAMETER."""
    if body.line_items is UNSET:
        return replacing.still_replaceable(order)
    pieces = {named.id: named.quantity for named in body.line_items}
    if len(pieces) < len(body.line_items):
        raise refuse(LinesNamedTwice())
    return pieces


def _new_pieces(view: View, shop_id: str, lines: Sequence[OrderedLine]) -> dict[str, int]:
    """Return the pieces that the listings give to a standard replacement. Raises INVALID_PARAMETER if there are too
    few."""
    listings = shops.listings(view, shop_id, {line.shop_uid for line, _ in lines})
    wanted: dict[str, int] = defaultdict(int)
    for line, quantity in lines:
        wanted[line.shop_uid] += quantity
    for shop_uid, quantity in wanted.items():
        available = listings[shop_uid].quantity if shop_uid in listings else 0
        if quantity > available:
            raise refuse(refusals.TooFewToReplace(shop_uid, quantity, available))
    return wanted


def _fresh(line: LineItem, *, same_items: bool) -> LineItem:
    """As it is sent once more; the same items are not sold again, so no commission is due."""
    rate = Decimal(0) if same_items else line.commission_rate
    return replace(line, rejection_reason=UNSET, return_reason=UNSET, serial_numbers=None, commission_rate=rate)


def warehouse_facts(facts: OrderFacts, terms: Terms) -> OrderFacts:
    """The same for an order that the marketplace sends (docs/contract.md#section-9): its fee is due, and nothing that
    is between a shop and its courier. Phones are shown with an invoice only."""
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
    """The customer as shops see them: under an id, with phones only where the contract gives them (section 2)."""
    address: Address = replace(customer.address, floor=customer.address.floor or "")
    if address.pickup_from_collection_point:
        address = replace(address, **dict.fromkeys(_ADDRESS_TEXTS, ""))
    shown = replace(customer, id=customer_id, address=address)
    return shown if with_phones else replace(shown, phone=UNSET, mobile=UNSET)


def _order_line(item: NewCartItem, listings: dict[str, ListingInStock], new: NewCart) -> OrderedLine:
    entry = listings.get(item.shop_uid)
    if entry is None:
        raise refuse(cart_refusals.UnknownListing(item.shop_id, item.shop_uid))
    listing = entry.listing
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
    """In percent; the listing's own unless the cart names another (docs/contract.md#section-2)."""
    if item.vat_ratio is UNSET:
        return listed_rate
    if as_amount(item.vat_ratio) is None:
        raise refuse(cart_refusals.NotAVatRatio(item.shop_uid))
    return item.vat_ratio


def _count_wanted(items: Sequence[NewCartItem]) -> dict[str, int]:
    """How many pieces of each listing the cart takes."""
    wanted: dict[str, int] = defaultdict(int)
    for item in items:
        wanted[item.shop_uid] += item.quantity
    return wanted


def _last_preorder(listings: Iterable[ListingInStock]) -> date | None:
    """The latest of the days on which preorders are sent, since all of an order goes together."""
    days = (entry.listing.preorder_ships_on for entry in listings)
    return max((day for day in days if day), default=None)


def _check_listed(wanted: dict[str, int], listings: dict[str, ListingInStock]) -> None:
    """Raises INVALID_PARAMETER when the cart takes more than the shop has."""
    for shop_uid, quantity in wanted.items():
        if quantity > listings[shop_uid].quantity:
            raise refuse(cart_refusals.TooFewInStock(shop_uid, quantity, listings[shop_uid].quantity))
