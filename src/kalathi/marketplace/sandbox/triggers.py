"""`trigger_webhook_request` (docs/contract.md#section-5): the webhooks of a demo order's life, sent to a shop's live
URL.

The machine produces each event from the demo order, starting with its placing.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.contract.words import OrderEventType, OrderState
from kalathi.marketplace.kernel.clock import after, to_millis
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.orders import machine, wire
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.lines import OrderedLine
from kalathi.marketplace.orders.machine import Placement, Step
from kalathi.marketplace.orders.model import FoundOrder, Order, facts_of
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.sandbox.demo_orders import DEMO_SHOP_ID, SAMPLE_LINK, TRACKING_CODES, stands_at
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.webhooks.store import announce, last_sequence

_WITHOUT_TRIGGERS: Final = "DEMO-RETURN"
_EXTENSION: Final = timedelta(hours=72)


class TriggerKind(StrEnum):
    """The webhooks that can be triggered."""

    CREATION = "creation"
    VOUCHER_UPDATE = "voucher_update"
    EXTENSION = "extension"
    CANCELLATION = "cancellation"


def trigger_event(shop: Shop, found: FoundOrder, kind: TriggerKind, facts: Facts) -> ChangeSet:
    """Return the rows of a triggered webhook. Raises ORDER_NOT_ELIGIBLE for an order without triggers."""
    order = found.order
    if order.shop_id != DEMO_SHOP_ID or order.code == _WITHOUT_TRIGGERS:
        raise DomainError(
            ErrorCode.ORDER_NOT_ELIGIBLE,
            f"Webhooks are triggered for the demo orders other than {_WITHOUT_TRIGGERS} only.",
        )
    event, body = _make_event(found, kind, facts.terms, facts.now)
    rows = announce(
        shop.id,
        order.code,
        last_sequence(facts.view, shop.id, order.code) + 1,
        event_type=event,
        body=body,
        at_millis=to_millis(facts.now + timedelta(seconds=facts.terms.settings.trigger_delay_seconds)),
        has_url=shop.orders_url is not None,
    )
    return ChangeSet(*rows)


def sample_body(found: FoundOrder, terms: Terms, now: datetime) -> bytes:
    """Render the `new_order` event of a demo order, for testing a shop's URL."""
    return _make_event(found, TriggerKind.CREATION, terms, now)[1]


def _make_event(found: FoundOrder, kind: TriggerKind, terms: Terms, now: datetime) -> tuple[OrderEventType, bytes]:
    step = _step(found, kind, terms)
    event = step.event(tells_deliveries=False)
    if event is None:
        raise DomainError(ErrorCode.ORDER_NOT_ELIGIBLE, f"{found.order.code} has no webhook of this kind.")
    body = wire.event_body(
        event, encode(step.order), terms.offer(found.shop), now, step.changes, shown_at=stands_at(found)
    )
    return event, body


def _step(found: FoundOrder, kind: TriggerKind, terms: Terms) -> Step:
    """Return the step that causes this webhook. A shop can test its receiver with every demo order, so the step ignores
    most rules for the order's state."""
    now = stands_at(found)
    placed = _place_step(found.order, terms)
    order = placed.order
    match kind:
        case TriggerKind.CREATION:
            return placed
        case TriggerKind.EXTENSION:
            new = replace(
                order,
                expires_at=after(order.expires_at, _EXTENSION),
                dispatch_until=order.dispatch_until and after(order.dispatch_until, _EXTENSION),
            )
            return machine.make_step(machine.Action.EXTEND, order, new)
        case TriggerKind.CANCELLATION:
            return machine.cancel(order)
        case TriggerKind.VOUCHER_UPDATE:
            if order.state is OrderState.OPEN:
                order = machine.accept_express(order, terms.offer(found.shop), now).order
            order = replace(order, courier_voucher=None, courier_tracking_codes=())
            link = terms.voucher_url(DEMO_SHOP_ID, SAMPLE_LINK)
            new = replace(order, courier_voucher=link, courier_tracking_codes=TRACKING_CODES)
            return machine.make_step(machine.Action.ISSUE_VOUCHER, order, new)


def _place_step(order: Order, terms: Terms) -> Step:
    """Return the step that placed the demo order. An order from the warehouse is accepted from the start."""
    if order.fulfilled_by_skroutz:
        return Step(action=machine.Action.PLACE, order=order)
    lines = [OrderedLine(line, line.quantity) for line in order.lines()]
    placement = Placement(order.code, facts_of(order), lines, [line.line.id for line in lines])
    placed = machine.place(placement, terms.settings, order.created_at)
    # Keep the demo order's own deadlines. In the recorded webhooks, a replaced order names its replacement from the
    # first event on.
    new = replace(
        placed.order,
        expires_at=order.expires_at,
        dispatch_until=order.dispatch_until,
        replacements=order.replacements,
    )
    return replace(placed, order=new)
