"""The rows that record a step of the machine: the order, its timeline, the webhook with its final body, stock and due
jobs. They are one change set: all or nothing."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from kalathi.contract.codec import encode
from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.due import DueKind, plan
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Update
from kalathi.marketplace.orders import machine, store, wire
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.lines import StockMove
from kalathi.marketplace.orders.machine import Step
from kalathi.marketplace.orders.model import FoundOrder, Order
from kalathi.marketplace.orders.search.store import insert_words, replace_shipping_words
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.warehouse import store as warehouse
from kalathi.marketplace.webhooks.store import announce


class Recorded(NamedTuple):
    """The change set of a command, the resulting order, and the codes of the new orders that the command placed."""

    changes: ChangeSet
    document: bytes
    placed: tuple[str, ...] = ()


def record_placed(step: Step, shop: Shop, facts: Facts) -> Recorded:
    """Record a new order, its webhook and its expiry job. An express order also gets a job that accepts it."""
    order = step.order
    document = encode(order)
    now_millis = to_millis(facts.now)
    changes = store.insert_order(step, document, now_millis, facts.actor)
    changes.add(insert_words(order))
    _announce(changes, step, document, shop, 1, facts)
    if order.state is not OrderState.OPEN:
        return Recorded(changes, document, (order.code,))
    expires_at = to_millis(order.expires_at)
    changes.add(plan(DueKind.EXPIRY, order.shop_id, order.code, 1, due_at=expires_at, anchor_at=now_millis))
    if order.express:
        due_at = to_millis(facts.now + timedelta(seconds=facts.terms.settings.express_accept_seconds))
        changes.add(plan(DueKind.EXPRESS, order.shop_id, order.code, 1, due_at=due_at, anchor_at=now_millis))
    return Recorded(changes, document, (order.code,))


def record_moved(found: FoundOrder, step: Step, facts: Facts) -> Recorded:
    """Record a transition: the order at its next version, and its webhook."""
    document = encode(step.order)
    changes = store.update_order(found, step, document, to_millis(facts.now), facts.actor)
    changes.extend([replace_shipping_words(found.order, step.order)])
    _announce(changes, step, document, found.shop, found.version + 1, facts)
    return Recorded(changes, document)


def record_ended(found: FoundOrder, step: Step, facts: Facts) -> Recorded:
    """Record a transition that ends the order, with the pieces that return to stock."""
    recorded = record_moved(found, step, facts)
    move_stock(recorded.changes, step.order, machine.stock_to_return(step), facts)
    return recorded


def record_relabelled(found: FoundOrder, step: Step, facts: Facts) -> Recorded:
    """Record a transition, and plan a new voucher if the order already had one."""
    recorded = record_moved(found, step, facts)
    return plan_voucher(recorded, found, facts.voucher_at, facts) if step.order.voucher_is_outdated else recorded


def plan_voucher(recorded: Recorded, found: FoundOrder, due_at: datetime, facts: Facts) -> Recorded:
    """Plan the voucher's job at this business time. The order's version distinguishes several plans of one order."""
    order = found.order
    row = plan(
        DueKind.VOUCHER,
        order.shop_id,
        order.code,
        found.version,
        due_at=to_millis(due_at),
        anchor_at=to_millis(facts.now),
    )
    recorded.changes.add(row)
    return recorded


def plan_delivery_note(recorded: Recorded, found: FoundOrder, facts: Facts) -> Recorded:
    """Plan the delivery note's job for an order sent by the warehouse."""
    order, now_millis = found.order, to_millis(facts.now)
    due_at = to_millis(facts.voucher_at)
    recorded.changes.add(plan(DueKind.DELIVERY_NOTE, order.shop_id, order.code, 1, due_at=due_at, anchor_at=now_millis))
    return recorded


def move_stock(changes: ChangeSet, order: Order, moves: Sequence[StockMove], facts: Facts) -> None:
    """Return pieces to the warehouse or to their listings. A counted move sets a listing, or its variation, to the
    given quantity."""
    shop_id = order.shop_id
    varied = {move.shop_uid for move in moves if move.variation_id}
    variations = {} if order.fulfilled_by_skroutz else shops.variations(facts.view, shop_id, varied)
    removed: Counter[str] = Counter()
    for move in moves:
        if order.fulfilled_by_skroutz:
            changes.add(warehouse.give_back(shop_id, move.shop_uid, move.pieces))
        elif move.counted and move.variation_id in variations.get(move.shop_uid, {}):
            removed[move.shop_uid] += variations[move.shop_uid][move.variation_id].quantity - move.pieces
            changes.add(shops.set_variation_stock(shop_id, move.shop_uid, move.variation_id, move.pieces))
        elif move.counted:
            changes.add(shops.set_stock(shop_id, move.shop_uid, move.pieces))
        else:
            changes.add(shops.give_back_stock(shop_id, move.shop_uid, move.pieces))
            if move.variation_id in variations.get(move.shop_uid, {}):
                changes.add(shops.give_back_variation(shop_id, move.shop_uid, move.variation_id, move.pieces))
    for shop_uid, pieces in removed.items():
        changes.add(_take_from_product(shop_id, shop_uid, pieces, facts))


def _take_from_product(shop_id: str, shop_uid: str, removed: int, facts: Facts) -> Update:
    """Take the pieces that variations have lost from their listing, which counts the pieces of all its variations.
    `removed` is negative if they have more pieces now."""
    if removed <= 0:
        return shops.give_back_stock(shop_id, shop_uid, -removed)
    present = shops.listings(facts.view, shop_id, [shop_uid]).get(shop_uid)
    return shops.take_stock(shop_id, shop_uid, min(removed, 0 if present is None else present.quantity))


def _announce(changes: ChangeSet, step: Step, document: bytes, shop: Shop, version: int, facts: Facts) -> None:
    event = step.event(tells_deliveries=facts.terms.settings.tell_deliveries)
    if event is None:
        return
    body = wire.event_body(event, document, facts.terms.offer(shop), facts.now, step.changes)
    changes.add(
        *announce(
            shop.id,
            step.order.code,
            version,
            event_type=event,
            body=body,
            at_millis=to_millis(facts.now),
            has_url=shop.orders_url is not None,
        )
    )
