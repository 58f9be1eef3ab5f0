"""From a step of the machine to the rows that record it: the order, its timeline, its webhook's frozen body, its stock,
and its due jobs. They are one change set: all or nothing."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from kalathi.contract.codec import encode
from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.changes import ChangeSet
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.due import DueKind, plan
from kalathi.marketplace.orders import machine, store, wire
from kalathi.marketplace.orders.lines import StockMove
from kalathi.marketplace.orders.machine import Step
from kalathi.marketplace.orders.model import FoundOrder, Order
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.warehouse import store as warehouse
from kalathi.marketplace.webhooks.store import announce


class Recorded(NamedTuple):
    """The change set of a command, and the resulting order."""

    changes: ChangeSet
    document: bytes


def record_placed(step: Step, shop: Shop, terms: Terms, now: datetime) -> Recorded:
    """The rows of a new order: itself, its webhook, its expiry; an express order is soon accepted for the shop."""
    order = step.order
    document = encode(order)
    changes = store.insert_order(step, document, to_millis(now))
    _tell(changes, step, document, shop, 1, terms, now)
    if order.state is not OrderState.OPEN:
        return Recorded(changes, document)
    expires_at, now_millis = to_millis(order.expires_at), to_millis(now)
    changes.add(plan(DueKind.EXPIRY, order.shop_id, order.code, 1, due_at=expires_at, anchor_at=now_millis))
    if order.express:
        due_at = to_millis(now + timedelta(seconds=terms.settings.express_accept_seconds))
        changes.add(plan(DueKind.EXPRESS, order.shop_id, order.code, 1, due_at=due_at, anchor_at=now_millis))
    return Recorded(changes, document)


def record_moved(found: FoundOrder, step: Step, terms: Terms, now: datetime) -> Recorded:
    """The rows of a move: the order at its next version, and its webhook."""
    document = encode(step.order)
    changes = store.update_order(found, step, document, to_millis(now))
    _tell(changes, step, document, found.shop, found.version + 1, terms, now)
    return Recorded(changes, document)


def record_ended(found: FoundOrder, step: Step, terms: Terms, now: datetime) -> Recorded:
    """The same, with the pieces that go back to their listings."""
    recorded = record_moved(found, step, terms, now)
    move_stock(recorded.changes, step.order, machine.stock_to_return(step))
    return recorded


def plan_voucher(recorded: Recorded, found: FoundOrder, due_at: datetime, now: datetime) -> Recorded:
    """The worker makes the voucher at this time; the move's version keeps two such plans apart."""
    order = found.order
    row = plan(
        DueKind.VOUCHER,
        order.shop_id,
        order.code,
        found.version,
        due_at=to_millis(due_at),
        anchor_at=to_millis(now),
    )
    recorded.changes.add(row)
    return recorded


def plan_delivery_note(recorded: Recorded, found: FoundOrder, terms: Terms, now: datetime) -> Recorded:
    """The worker makes the note of an order that has left the warehouse."""
    order, now_millis = found.order, to_millis(now)
    due_at = to_millis(now + timedelta(seconds=terms.settings.voucher_delay_seconds))
    recorded.changes.add(plan(DueKind.DELIVERY_NOTE, order.shop_id, order.code, 1, due_at=due_at, anchor_at=now_millis))
    return recorded


def move_stock(changes: ChangeSet, order: Order, moves: Sequence[StockMove]) -> None:
    """Move pieces back to where they came from: the warehouse, or listings, which may also be set to the shop's
    count."""
    shop_id = order.shop_id
    for move in moves:
        if order.fulfilled_by_skroutz:
            changes.add(warehouse.give_back(shop_id, move.shop_uid, move.pieces))
        elif move.counted:
            changes.add(shops.set_stock(shop_id, move.shop_uid, move.pieces))
        else:
            changes.add(shops.give_back_stock(shop_id, move.shop_uid, move.pieces))


def _tell(
    changes: ChangeSet, step: Step, document: bytes, shop: Shop, version: int, terms: Terms, now: datetime
) -> None:
    event = step.event(tells_deliveries=terms.settings.tell_deliveries)
    if event is None:
        return
    body = wire.event_body(event, document, terms.offer(shop), now, step.changes)
    changes.add(
        *announce(
            shop.id,
            step.order.code,
            version,
            event_type=event,
            body=body,
            at_millis=to_millis(now),
            has_url=shop.orders_url is not None,
        )
    )
