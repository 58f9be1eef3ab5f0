"""The content of the pages of an order and of a return, for the shop and the operator."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, auto
from typing import NamedTuple

from kalathi.contract.codec import decode
from kalathi.contract.orders import Order as OrderOnTheWire
from kalathi.contract.orders import OrderBody
from kalathi.contract.returns import ReviewOption
from kalathi.contract.words import FulfillmentMode, OrderState, ReturnState
from kalathi.marketplace.kernel.money import total
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import pickup, store, wire
from kalathi.marketplace.orders.documents import unreadable_address
from kalathi.marketplace.orders.model import FoundOrder, Order
from kalathi.marketplace.orders.queries import Rejection, rejection_of
from kalathi.marketplace.orders.search.listing import find_deadline
from kalathi.marketplace.orders.store import TimelineEntry, timeline
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.orders.uploads import UploadKind
from kalathi.marketplace.panel.live import mark_of
from kalathi.marketplace.returns.model import FoundReturn, Return
from kalathi.marketplace.returns.review import options_of
from kalathi.marketplace.returns.store import page_of_returns
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.webhooks.store import Delivery, deliveries

_MOST_RETURNS = 50


class Possible(NamedTuple):
    """The actions that are possible for a shop at this moment, as the machine decides."""

    set_as_ready: bool
    set_as_not_ready: bool
    request_voucher: bool
    tracking_details: bool
    invoices: bool


class NextStep(Enum):
    """The step that a shop takes next with an order. A page offers it first."""

    ANSWER = auto()
    PRINT_VOUCHER = auto()
    REQUEST_VOUCHER = auto()
    WAIT_FOR_VOUCHER = auto()
    WAIT_FOR_COURIER = auto()
    WAIT_FOR_CUSTOMER = auto()
    ENTER_TRACKING = auto()
    NOTHING = auto()


class OrderPage(NamedTuple):
    """The content of an order's page. `order` is the order on the wire with its options. Times are Athens time."""

    order: OrderOnTheWire
    shop: Shop
    version: int
    cart_id: str
    total: Decimal
    deadline: datetime | None
    is_late: bool
    preorder_until: date | None
    # Whether a courier of the marketplace collects it from the shop.
    is_fetched: bool
    # Whether the shop sends it by a courier of its own.
    is_sent_by_shop: bool
    possible: Possible
    next_step: NextStep
    credit_invoice: str | None
    timeline: list[store.TimelineEntry]
    deliveries: list[Delivery]
    returns: list[Return]
    rejection: Rejection | None
    predecessor: str | None
    # Letters of the recipient that a label cannot show.
    unreadable: str
    is_anonymised: bool

    @property
    def mark(self) -> str:
        """Changes whenever the page does."""
        told = [(entry.id, entry.state, len(entry.attempts)) for entry in self.deliveries]
        returns = [(entry.return_code, entry.state.value) for entry in self.returns]
        return mark_of(self.version, told, returns, self.credit_invoice)


def order_page(view: View, found: FoundOrder, terms: Terms, now: datetime) -> OrderPage:
    """Return the content of an order's page."""
    order = found.order
    shown = decode(wire.order_body_with_actions(found, terms.offer(found.shop), now), OrderBody).order
    until = find_deadline(order.state, order.expires_at, order.dispatch_until, is_fbs=order.fulfilled_by_skroutz)
    credit = store.upload_links(view, order.shop_id, order.code).get(UploadKind.CREDIT_INVOICE)
    of_this_order = page_of_returns(view, {"shop_id": order.shop_id, "order_code": order.code}, _MOST_RETURNS, 0)[0]
    return OrderPage(
        order=shown,
        shop=found.shop,
        version=found.version,
        cart_id=order.cart_id,
        total=total(line.total_price for line in shown.line_items) + (order.shipping_cost or Decimal(0)),
        deadline=until,
        is_late=until is not None and until <= now,
        preorder_until=order.scheduled_shipment,
        is_fetched=order.needs_voucher,
        is_sent_by_shop=order.mode is FulfillmentMode.MERCHANT,
        possible=_possible(order),
        next_step=find_next_step(order),
        credit_invoice=None if credit is None else terms.upload_url(order.shop_id, *credit),
        timeline=store.timeline(view, order.shop_id, order.code),
        deliveries=deliveries(view, order.shop_id, order.code),
        rejection=rejection_of(order),
        predecessor=order.predecessor,
        is_anonymised=order.anonymised,
        unreadable=unreadable_address(order) if order.needs_voucher else "",
        returns=[entry.returned for entry in of_this_order],
    )


def _possible(order: Order) -> Possible:
    return Possible(
        set_as_ready=pickup.can_set_as_ready(order),
        set_as_not_ready=pickup.can_set_as_not_ready(order),
        request_voucher=pickup.can_request_voucher(order),
        tracking_details=pickup.can_track(order),
        invoices=order.was_accepted,
    )


def find_next_step(order: Order) -> NextStep:
    """Return the step that the shop takes next."""
    if order.state is OrderState.OPEN and not order.express:
        return NextStep.ANSWER
    if order.state is not OrderState.ACCEPTED or order.fulfilled_by_skroutz:
        return NextStep.NOTHING
    if order.store_pickup:
        return NextStep.WAIT_FOR_CUSTOMER
    if order.mode is FulfillmentMode.MERCHANT:
        return NextStep.NOTHING if order.courier_tracking_codes else NextStep.ENTER_TRACKING
    if order.courier_voucher is None or order.voucher_is_outdated:
        return NextStep.REQUEST_VOUCHER if pickup.can_request_voucher(order) else NextStep.WAIT_FOR_VOUCHER
    return NextStep.WAIT_FOR_COURIER if order.is_ready_for_dispatch else NextStep.PRINT_VOUCHER


class ReturnPage(NamedTuple):
    """The content of a return's page. While it waits for a review, `options` are the possible decisions, and
    `review_until` is the deadline."""

    returned: Return
    shop: Shop
    options: Sequence[ReviewOption]
    review_until: datetime | None
    timeline: list[TimelineEntry]
    deliveries: list[Delivery]

    @property
    def mark(self) -> str:
        """Changes whenever the page does."""
        told = [(entry.id, entry.state, len(entry.attempts)) for entry in self.deliveries]
        return mark_of(self.returned.state.value, len(self.timeline), told)


def return_page(view: View, found: FoundReturn) -> ReturnPage:
    """Return the content of a return's page."""
    returned = found.returned
    waits = returned.state is ReturnState.PENDING_MERCHANT_REVIEW
    return ReturnPage(
        returned=returned,
        shop=found.shop,
        options=options_of(returned) if waits else (),
        review_until=returned.review_until if waits else None,
        timeline=timeline(view, returned.shop_id, returned.return_code),
        deliveries=deliveries(view, returned.shop_id, returned.return_code),
    )
