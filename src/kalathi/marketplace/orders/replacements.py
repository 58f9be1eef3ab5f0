"""Replacements: new orders for items that were delivered (docs/contract.md#section-2, `replacements`). The pure steps
are in replacing.py."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, cast

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from kalathi.contract.orders import LineItem
from kalathi.contract.words import (
    GIFT_WRAP_CUSTOM,
    REPLACEMENT_CUSTOMS,
    PaymentMethod,
    ReplacementType,
)
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.refusals import LinesNamedTwice
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import machine, refusals, replacing, store
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.lines import OrderedLine
from kalathi.marketplace.orders.machine import Placement
from kalathi.marketplace.orders.model import FoundOrder, Order, OrderFacts, facts_of
from kalathi.marketplace.orders.recording import Recorded, record_moved, record_placed
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import Shop


class ReplacedLine(Struct, frozen=True, kw_only=True):
    """A line of the replaced order, and the quantity to replace."""

    id: str
    quantity: Annotated[int, Meta(ge=1)]


class Replace(Struct, frozen=True, kw_only=True):
    """`POST /marketplace/orders/{code}/replace`: by default the whole order, with new pieces."""

    type: Annotated[
        ReplacementType | None, Meta(description="Send the same items again; by default, new pieces are sent.")
    ] = None
    line_items: (
        Annotated[
            tuple[ReplacedLine, ...],
            Meta(min_length=1, max_length=500, description="Replaced lines; by default the whole order."),
        ]
        | UnsetType
    ) = UNSET


def replace_order(found: FoundOrder, body: Replace, facts: Facts) -> Recorded:
    """Place a replacement for items that were delivered. Without a type, it takes new pieces from the listings; with
    one, it sends the same items again, from service or as they are. Raises ORDER_STATUS, INVALID_PARAMETER."""
    code = facts.keys.order_code(facts.now, found.order.shop_id)
    pieces = _count_replaced(found.order, body)
    recorded = record_moved(found, replacing.note_replacement(found.order, code, body.type, pieces), facts)
    lines = [
        OrderedLine(_fresh(line, same_items=body.type is not None), pieces[line.id])
        for line in found.order.lines()
        if line.id in pieces
    ]
    placement = Placement(
        code,
        _replacement_facts(found.order, found.shop, body.type),
        lines,
        [facts.keys.opaque_id() for _ in lines],
    )
    placed = record_placed(machine.place(placement, facts.terms.settings, facts.now), found.shop, facts)
    recorded.changes.extend([placed.changes])
    if body.type is None:
        for shop_uid, quantity in _new_pieces(facts.view, found.order.shop_id, lines).items():
            recorded.changes.add(shops.take_stock(found.order.shop_id, shop_uid, quantity))
    return recorded._replace(placed=placed.placed)


def name_successor(found: FoundOrder, recorded: Recorded, facts: Facts) -> Recorded:
    """Add the successor of a partly rejected replacement to the replacements of the original order."""
    if found.order.replaced is UNSET or not recorded.placed:
        return recorded
    original = store.by_code(facts.view, found.order.replaced)
    if original is None:
        return recorded
    kind = next((entry.type for entry in original.order.replacements if entry.code == found.order.code), UNSET)
    (code,) = recorded.placed
    step = replacing.note_successor(original.order, code, None if kind is UNSET else cast(ReplacementType, kind))
    recorded.changes.extend([record_moved(original, step, facts).changes])
    return recorded


def _replacement_facts(order: Order, shop: Shop, kind: ReplacementType | None) -> OrderFacts:
    """Return the facts of a replacement. The customer pays nothing again: no fees, no shipping cost, no cash on
    delivery. The shop sends it, even if the warehouse sent the original order."""
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
    """Return the quantity to replace by line id; by default everything that can still be replaced. Raises
    INVALID_PARAMETER."""
    if body.line_items is UNSET:
        return replacing.still_replaceable(order)
    pieces = {named.id: named.quantity for named in body.line_items}
    if len(pieces) < len(body.line_items):
        raise refuse(LinesNamedTwice())
    return pieces


def _new_pieces(view: View, shop_id: str, lines: Sequence[OrderedLine]) -> dict[str, int]:
    """Return the pieces that a replacement with new items takes, by listing. Raises INVALID_PARAMETER if the stock is
    too small."""
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
    """Return the line as a new order has it. The same items are not sold twice, so they have no commission."""
    rate = Decimal(0) if same_items else line.commission_rate
    return replace(line, rejection_reason=UNSET, return_reason=UNSET, serial_numbers=None, commission_rate=rate)
