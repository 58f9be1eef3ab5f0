"""Decide how to answer an order: a pure function of the order, the stock, and the shop's policy."""

import re
from collections.abc import Container, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec import UNSET

from kalathi.contract.orders import AcceptOptions, LineItem, Order
from kalathi.contract.reading import seconds_of
from kalathi.contract.requests import RejectedLine
from kalathi.contract.words import LIMITED_STOCK_REASON_ID, NO_STOCK_REASON_ID, OrderState
from kalathi.merchant.inbox.reservations import Claim
from kalathi.merchant.policy import OrderPolicy
from kalathi.merchant.stock.shelf import Shelf


class Accept(NamedTuple):
    """Accept the order, because every line is in stock. A store pickup has no window."""

    pickup_location: str
    pickup_window: int | None
    number_of_parcels: int


class Reject(NamedTuple):
    """Reject the order, because some lines are out of stock or have too few pieces."""

    lines: tuple[RejectedLine, ...]


class LeaveToPerson(NamedTuple):
    """Leave the order to a person. The sentence says what that person must check."""

    reason: str


class Nothing(NamedTuple):
    """Do not answer: the order is not open, or the marketplace accepts it itself."""


Decision = Accept | Reject | LeaveToPerson | Nothing
# Texts in `custom` of an order that sends a returned item back to the customer, unchanged or after service
# (docs/contract.md#section-2).
_SENT_BACK: Final = ("[RETURN-AS-IS]", "[RETURN-FROM-SERVICE]")
# Members that the decision uses. If one is unreadable, a person answers the order. Labels, for example, are not used.
_DECIDING: Final = re.compile(
    r"custom|express|store_pickup|fulfilled_by_skroutz"
    r"|line_items(\[\d+\](\.(shop_uid|shop_variation_uid|quantity|unit_price|total_price|price_includes_vat"
    r"|size(\.shop_variation_uid)?))?)?"
    r"|accept_options(\.(pickup_location|pickup_window|number_of_parcels)(\[\d+\](\.id)?)?)?"
)
_ANSWERED: Final = frozenset(OrderState) - {OrderState.OPEN}
_USUAL: Final = OrderPolicy()
_NO_PRICES: Final[Mapping[str, Decimal]] = {}


def decide(
    order: Order,
    available: Mapping[str, int],
    policy: OrderPolicy = _USUAL,
    *,
    prices: Mapping[str, Decimal] = _NO_PRICES,
    sends_itself: bool = True,
) -> Decision:
    """Return the answer to an order.

    `available` contains the free pieces by shop_uid; the shop does not know a product that is missing there. `prices`
    are the shop's own prices, for the products that have one. A shop whose pieces are in the marketplace's warehouse
    can only reject the missing ones; the rest becomes a new order that the marketplace sends.

    Pieces are assigned line by line, so that two lines of one product never get the same piece.
    """
    if order.state != OrderState.OPEN:
        return Nothing()
    if order.express:
        return Nothing()  # The marketplace accepts an express order itself, and refuses the shop's answer.
    if order.custom and any(word in order.custom for word in _SENT_BACK):
        return LeaveToPerson(f"It sends a returned item back to the customer ({order.custom}), so no stock is counted.")
    if uncounted := find_uncounted_lines(order):
        return LeaveToPerson(uncounted)
    unknown = [_name(line) for line in order.line_items if stock_uid(line, available) not in available]
    if unknown:
        return LeaveToPerson(f"No stock is known for {', '.join(unknown)}.")
    waits = _waits_for_a_person(order, policy, prices)
    if waits:
        return LeaveToPerson(waits)
    missing = _missing(order.line_items, available)
    if missing:
        return Reject(missing)
    if not sends_itself:
        return LeaveToPerson("All items are in the marketplace's warehouse, from which the shop cannot send.")
    return _choose_accept(order, policy)


def places_that_decide(unread: Sequence[str]) -> list[str]:
    """Return the unreadable places that the decision uses, without their `$.order.`"""
    places = [place.removeprefix("$.order.") for place in unread]
    return [place for place in places if _DECIDING.fullmatch(place)]


def answer_until(order: Order) -> float | None:
    """Return the deadline of an order that may be open, in seconds since 1970; None if there is none."""
    return seconds_of(order.expires_at) if may_be_open(order.state) else None


def may_be_open(state: str) -> bool:
    """Whether an order in this state may need an answer: the state is open, missing, or unknown to this version."""
    return state not in _ANSWERED


def unreadable_stock(order: Order, shelf: Shelf, policy: OrderPolicy = _USUAL) -> str:
    """Return the reason to leave an open order to a person because the stock or price of one of its products is
    unreadable. Empty if there is none. This check comes before a shop's own `decide` too."""
    if order.state != OrderState.OPEN or order.express:
        return ""
    reasons: dict[str, str] = {}
    for line in order.line_items:
        uid = shelf.uid_of(line_uids(line))
        if uid in shelf.unreadable:
            reasons[f"The stock of {uid}"] = shelf.unreadable[uid]
        if policy.price_tolerance is not None and line.price_includes_vat:
            priced = next((uid for uid in line_uids(line) if shelf.has_price(uid)), None)
            if priced in shelf.unreadable_prices:
                reasons[f"The price of {priced}"] = shelf.unreadable_prices[priced]
    return " ".join(f"{what} cannot be read: {reason}." for what, reason in reasons.items())


def find_unassigned_pieces(
    order: Order, shelf: Shelf, free: Mapping[str, int], held_by_others: Mapping[str, int]
) -> str:
    """Return the reason to leave an open order to a person because other orders hold pieces of a product without a
    size. These pieces could be of the size that this order needs. Empty if the stock is sufficient, or insufficient, in
    any case."""
    if order.state != OrderState.OPEN or order.express:
        return ""
    wanted: dict[str, int] = {}
    products: dict[str, set[str]] = {}
    for line in order.line_items:
        uids = line_uids(line)
        uid = stock_uid(line, shelf.pieces)
        wanted[uid] = wanted.get(uid, 0) + line.quantity
        products.setdefault(uid, set()).update(uids[uids.index(uid) + 1 :])
    unclear = [
        f"{uid} (orders hold {held} of {product} without a size)"
        for uid, quantity in wanted.items()
        for product in sorted(products[uid])
        if (held := held_by_others.get(product, 0)) > 0 and free.get(uid, 0) - held < quantity <= free.get(uid, 0)
    ]
    return f"It is not known how many pieces are left of {', '.join(unclear)}." if unclear else ""


def find_uncounted_lines(order: Order) -> str:
    """Return the reason why the order's number of pieces is unknown. Empty if it is known."""
    if not order.line_items:
        return "It names no lines."
    unclear = [_name(line) for line in order.line_items if line.quantity <= 0]
    return f"The quantity of {', '.join(unclear)} is not known." if unclear else ""


def claims(order: Order) -> list[Claim]:
    """Return the pieces of the order, with the uids under which the shop may count them."""
    wanted: dict[tuple[str, ...], int] = {}
    for line in order.line_items:
        if line.quantity > 0:
            uids = line_uids(line)
            wanted[uids] = wanted.get(uids, 0) + line.quantity
    return [Claim(uids, quantity) for uids, quantity in wanted.items()]


def line_uids(line: LineItem) -> tuple[str, ...]:
    """Return the uids under which the shop may count this line: its size's, its variation's, its product's."""
    special = (line.size.shop_variation_uid if line.size else UNSET, line.shop_variation_uid)
    return tuple(dict.fromkeys([*(uid for uid in special if uid), line.shop_uid]))


def stock_uid(line: LineItem, known: Container[str]) -> str:
    """Return the uid under which the shop counts this line: the first that it knows."""
    return next((uid for uid in line_uids(line) if uid in known), line.shop_uid)


def _name(line: LineItem) -> str:
    return line.shop_uid or line.product_name or f"line {line.id}"


def _waits_for_a_person(order: Order, policy: OrderPolicy, prices: Mapping[str, Decimal]) -> str:
    if policy.person_above is not None:
        # Use the larger amount, because either of the two may be missing.
        amounts = [max(line.total_price, line.unit_price * line.quantity) for line in order.line_items]
        if not all(amounts):
            return f"The amount of the order is not known; above {policy.person_above} a person decides."
        if sum(amounts) > policy.person_above:
            return f"It is an order of {sum(amounts)} euros; above {policy.person_above} a person decides."
    if policy.price_tolerance is None:
        return ""
    # Skip lines with a price without VAT, because the shop's own prices include VAT.
    others = [
        f"{line.product_name or line.shop_uid} at {line.unit_price} instead of {prices[stock_uid(line, prices)]}"
        for line in order.line_items
        if line.price_includes_vat
        and stock_uid(line, prices) in prices
        and abs(line.unit_price - prices[stock_uid(line, prices)]) > policy.price_tolerance
    ]
    return f"Prices differ: {'; '.join(others)}." if others else ""


def _missing(lines: list[LineItem], available: Mapping[str, int]) -> tuple[RejectedLine, ...]:
    left = dict(available)
    missing = []
    for line in lines:
        uid = stock_uid(line, available)
        free = max(left[uid], 0)
        left[uid] = free - min(free, line.quantity)
        if free == 0:
            missing.append(RejectedLine(id=line.id, reason_id=NO_STOCK_REASON_ID))
        elif free < line.quantity:
            missing.append(RejectedLine(id=line.id, reason_id=LIMITED_STOCK_REASON_ID, available_quantity=free))
    return tuple(missing)


def _choose_accept(order: Order, policy: OrderPolicy) -> Accept | LeaveToPerson:
    options = order.accept_options
    if options is UNSET or not options.pickup_location:
        return LeaveToPerson("The order offers no pickup location to choose.")
    location = options.pickup_location[0].id
    if policy.location is not None:
        if policy.location not in {place.id for place in options.pickup_location}:
            return LeaveToPerson(f"Location {policy.location} of the policy is not on offer.")
        location = policy.location
    if order.store_pickup:
        return Accept(location, None, 1)
    if not (options.pickup_window and options.number_of_parcels):
        return LeaveToPerson("The order offers no pickup window or number of parcels to choose.")
    return Accept(location, _window(options, policy), _parcels(options, policy))


def _window(options: AcceptOptions, policy: OrderPolicy) -> int:
    return options.pickup_window[0 if policy.window == "first" else -1].id


def _parcels(options: AcceptOptions, policy: OrderPolicy) -> int:
    return policy.parcels if policy.parcels in options.number_of_parcels else options.number_of_parcels[0]
