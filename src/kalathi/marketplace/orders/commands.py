"""What can be done to orders: one function per command. Each reads what it was given, lets the machine decide, and
returns the change set; nothing here waits, sends, or writes.

A change set holds the order, its timeline entry, its webhook's frozen body and what is due next: all or nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.contract.orders import Customer, LineItem
from kalathi.contract.requests import AcceptRequest, RejectRequest
from kalathi.marketplace.couriers.store import insert_voucher
from kalathi.marketplace.kernel.changes import ChangeSet
from kalathi.marketplace.kernel.clock import athens, to_millis
from kalathi.marketplace.kernel.database import View
from kalathi.marketplace.kernel.due import DueKind, plan
from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.kernel.money import as_amount
from kalathi.marketplace.orders import machine, store, wire
from kalathi.marketplace.orders.machine import OrderedLine, Placement, Step, StockMove
from kalathi.marketplace.orders.model import Cart, FoundOrder, NewCart, NewCartItem, Order
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import Listing, Shop
from kalathi.marketplace.shops.store import ListingInStock
from kalathi.marketplace.webhooks.store import announce

_LONGEST_TEXT: Final = 500


class FreshKeys(Protocol):
    """Where new ids and codes come from; a fake in tests."""

    def opaque_id(self) -> str:
        """A new public id."""
        ...

    def order_code(self, now: datetime) -> str:
        """A new order code of this business day."""
        ...


def place(view: View, new: NewCart, keys: FreshKeys, terms: Terms, now: datetime) -> tuple[ChangeSet, list[Order]]:
    """A customer's cart becomes one order per shop; stock is taken only while there is enough of it.

    Raises INVALID_PARAMETER for an unknown shop or listing, a quantity above the listing's, an amount that is none.
    """
    by_shop: dict[str, list[NewCartItem]] = defaultdict(list)
    for item in new.items:
        by_shop[item.shop_id].append(item)
    known = shops.shops_by_id(view, by_shop)
    cart = Cart(id=keys.opaque_id(), created_at=athens(now), content=new)
    customer = msgspec.Raw(encode(_shown_to_shops(new.customer, keys.opaque_id())))
    changes = ChangeSet(store.insert_cart(cart))
    orders = []
    for shop_id, items in by_shop.items():
        shop = known.get(shop_id)
        if shop is None:
            raise invalid_parameter(f"items.shop_id: there is no shop {shop_id[:50]}.")
        listings = shops.listings(view, shop_id, {item.shop_uid for item in items})
        lines = [_ordered(item, listings) for item in items]
        for shop_uid, quantity in _wanted(items, listings).items():
            changes.add(shops.take_stock(shop_id, shop_uid, quantity))
        placement = Placement(
            code=keys.order_code(now),
            shop_id=shop_id,
            cart_id=cart.id,
            courier=shop.courier,
            customer=customer,
            comments=new.comments,
            payment_method=new.payment_method,
            lines=lines,
            line_ids=[keys.opaque_id() for _ in lines],
        )
        step = machine.place(placement, terms.settings, now)
        changes.extend([_placed(step, shop, terms, now)])
        orders.append(step.order)
    return changes, orders


def accept(found: FoundOrder, request: AcceptRequest, terms: Terms, now: datetime) -> ChangeSet:
    """The shop takes the order, and its voucher becomes due. Raises ORDER_STATUS, INVALID_PARAMETER."""
    step = machine.accept(found.order, request, terms.offer(found.shop), now)
    changes = _moved(found, step, terms, now)
    now_millis = to_millis(now)
    due_at = now_millis + terms.settings.voucher_delay_seconds * 1000
    changes.add(
        plan(DueKind.VOUCHER, step.order.shop_id, step.order.code, found.version, due_at=due_at, anchor_at=now_millis)
    )
    return changes


def reject(found: FoundOrder, request: RejectRequest, keys: FreshKeys, terms: Terms, now: datetime) -> ChangeSet:
    """The shop cannot; what is left of the order comes back as a new one in the same change set.

    Raises ORDER_STATUS, INVALID_PARAMETER.
    """
    line_ids = [keys.opaque_id() for _ in request.line_items and found.order.lines()]
    code = keys.order_code(now)
    rejection = machine.reject(found.order, request, terms.settings, now, successor_code=code, line_ids=line_ids)
    changes = _moved(found, rejection.rejected, terms, now)
    _move_stock(changes, found.order.shop_id, rejection.stock)
    if rejection.successor is not None:
        changes.extend([_placed(rejection.successor, found.shop, terms, now)])
    return changes


def expire(found: FoundOrder, terms: Terms, now: datetime) -> ChangeSet:
    """Nobody answered in time. Raises ORDER_STATUS."""
    return _ended(found, machine.expire(found.order, now), terms, now)


def cancel(found: FoundOrder, terms: Terms, now: datetime) -> ChangeSet:
    """The customer or support cancels. Raises ORDER_STATUS."""
    return _ended(found, machine.cancel(found.order), terms, now)


def extend(found: FoundOrder, terms: Terms, now: datetime) -> ChangeSet:
    """The shop gets more time. Its expiry row finds the new deadline when it comes due. Raises ORDER_STATUS."""
    return _moved(found, machine.extend(found.order, terms.settings, now), terms, now)


def issue_voucher(
    found: FoundOrder, pdf: bytes, link: str, tracking_codes: tuple[str, ...], terms: Terms, now: datetime
) -> ChangeSet:
    """The rendered voucher joins the order. Raises ORDER_STATUS."""
    url = terms.voucher_url(found.order.shop_id, link)
    step = machine.issue_voucher(found.order, url, tracking_codes)
    changes = _moved(found, step, terms, now)
    changes.add(insert_voucher(found.order.shop_id, link, found.order.code, pdf))
    return changes


def hand_over(found: FoundOrder, terms: Terms, now: datetime) -> ChangeSet:
    """The courier has picked the parcels up. Raises ORDER_STATUS."""
    return _moved(found, machine.hand_over(found.order), terms, now)


def deliver(found: FoundOrder, terms: Terms, now: datetime) -> ChangeSet:
    """The customer has the parcels. Raises ORDER_STATUS."""
    return _moved(found, machine.deliver(found.order), terms, now)


OperatorCommand = Callable[[FoundOrder, Terms, datetime], ChangeSet]


def _placed(step: Step, shop: Shop, terms: Terms, now: datetime) -> ChangeSet:
    """The rows of a new order: itself, its webhook, its expiry."""
    now_millis = to_millis(now)
    order = step.order
    document = encode(order)
    changes = store.insert_order(step, document, now_millis)
    _tell(changes, step, document, shop, 1, terms, now)
    changes.add(
        plan(DueKind.EXPIRY, order.shop_id, order.code, 1, due_at=to_millis(order.expires_at), anchor_at=now_millis)
    )
    return changes


def _moved(found: FoundOrder, step: Step, terms: Terms, now: datetime) -> ChangeSet:
    """The rows of a move: the order at its next version, and its webhook."""
    document = encode(step.order)
    changes = store.update_order(found, step, document, to_millis(now))
    _tell(changes, step, document, found.shop, found.version + 1, terms, now)
    return changes


def _ended(found: FoundOrder, step: Step, terms: Terms, now: datetime) -> ChangeSet:
    changes = _moved(found, step, terms, now)
    _move_stock(changes, step.order.shop_id, machine.returned_stock(step))
    return changes


def _tell(
    changes: ChangeSet, step: Step, document: bytes, shop: Shop, version: int, terms: Terms, now: datetime
) -> None:
    if step.event is None:
        return
    body = wire.event_body(step.event, document, terms.offer(shop), now, step.changes)
    changes.add(
        *announce(
            shop.id,
            step.order.code,
            version,
            event_type=step.event,
            body=body,
            at_millis=to_millis(now),
            has_url=shop.webhook_url is not None,
        )
    )


def _move_stock(changes: ChangeSet, shop_id: str, moves: Sequence[StockMove]) -> None:
    for move in moves:
        if move.counted:
            changes.add(shops.set_stock(shop_id, move.shop_uid, move.pieces))
        else:
            changes.add(shops.give_back_stock(shop_id, move.shop_uid, move.pieces))


def _shown_to_shops(customer: Customer, customer_id: str) -> Customer:
    """The customer as shops see them: under an id, with phones only where the contract gives them (section 2)."""
    if not (customer.first_name.strip() or customer.last_name.strip()):
        raise invalid_parameter("customer: give a first_name or a last_name.")
    address = replace(customer.address, floor=customer.address.floor or "")
    texts = [*msgspec.structs.astuple(customer)[:5], *msgspec.structs.astuple(address)]
    if any(isinstance(text, str) and len(text) > _LONGEST_TEXT for text in texts):
        raise invalid_parameter(f"customer: a name or a part of the address is longer than {_LONGEST_TEXT} characters.")
    return replace(customer, id=customer_id, phone=UNSET, mobile=UNSET, address=address)


def _ordered(item: NewCartItem, listings: dict[str, ListingInStock]) -> OrderedLine:
    entry = listings.get(item.shop_uid)
    if entry is None:
        raise invalid_parameter(f"items.shop_uid: shop {item.shop_id} has no listing {item.shop_uid}.")
    unit_price = entry.listing.unit_price if item.unit_price is UNSET else as_amount(item.unit_price)
    if unit_price is None:
        raise invalid_parameter(
            f"items.unit_price of {item.shop_uid} must be an amount in euros, not negative, with at most two decimals."
        )
    return OrderedLine(_line(entry.listing, unit_price), item.quantity)


def _line(listing: Listing, unit_price: Decimal) -> LineItem:
    return LineItem(
        id="",
        shop_uid=listing.shop_uid,
        shop_variation_uid=listing.shop_variation_uid,
        product_name=listing.product_name,
        unit_price=unit_price,
        commission_rate=listing.commission_rate,
        ean=listing.ean,
        mpn=listing.mpn,
        extra_info=listing.extra_info,
    )


def _wanted(items: Sequence[NewCartItem], listings: dict[str, ListingInStock]) -> dict[str, int]:
    """How many pieces of each listing the cart takes. Raises INVALID_PARAMETER when it is more than there are."""
    wanted: dict[str, int] = defaultdict(int)
    for item in items:
        wanted[item.shop_uid] += item.quantity
    for shop_uid, quantity in wanted.items():
        if quantity > listings[shop_uid].quantity:
            raise invalid_parameter(
                f"items.quantity of {shop_uid}: {quantity} are wanted, {listings[shop_uid].quantity} are available."
            )
    return wanted
