"""The commands of customers, shops and the clock on returns, one function each. Each returns one change set with the
return, its order, and the events of both: all or nothing."""

from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec import UNSET
from msgspec.structs import replace

from kalathi.contract.requests import ReviewRequest
from kalathi.contract.returns import ReturningAddress, ReturnLineItem
from kalathi.contract.words import Courier, ReturnState
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.due import DueKind, plan
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.refusals import LinesNamedTwice
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Insert
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import machine as order_machine
from kalathi.marketplace.orders import returning
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.model import FoundOrder, Order
from kalathi.marketplace.orders.recording import record_moved
from kalathi.marketplace.orders.refusals import OrderNotFound
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.returns import machine, refusals, store, wire
from kalathi.marketplace.returns.machine import Step
from kalathi.marketplace.returns.model import FoundReturn, NewReturn, NewReturnLine, Return, ReturnedGoods, Shipment
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.webhooks import openings
from kalathi.marketplace.webhooks.listeners import url_for
from kalathi.marketplace.webhooks.resending import plan_latest_resend, plan_resend
from kalathi.marketplace.webhooks.store import announce


class Recorded(NamedTuple):
    """The change set of a command, and the resulting return."""

    changes: ChangeSet
    returned: Return


def request(found: FoundOrder, new: NewReturn, facts: Facts) -> Recorded:
    """Request a return of delivered pieces, for a customer. The order changes too, so that two concurrent returns never
    contain the same piece. Raises ORDER_STATUS, INVALID_PARAMETER."""
    order = found.order
    if order.anonymised:
        raise refuse(refusals.CustomerRemoved())
    pieces = {line.id: line.quantity for line in new.line_items}
    if len(pieces) < len(new.line_items):
        raise refuse(LinesNamedTwice())
    requested = returning.request_return(order, pieces)
    goods = ReturnedGoods(
        return_code=facts.keys.return_code(facts.now, order.shop_id),
        return_uuid=facts.keys.opaque_id(),
        shop_id=order.shop_id,
        order_code=order.code,
        lines=_lines(order, new),
        delivered_at=order.delivered_at,
        is_virtual=new.virtual,
        is_from_warehouse=order.fulfilled_by_skroutz,
        shipment=_shipment(order, found.shop, facts.terms),
    )
    step = machine.request(goods, facts.terms.settings, facts.now)
    returned = step.returned
    if returned.has_shipment:
        shipped = returning.ship_return(requested.order, returned.return_uuid, ())
        requested = replace(shipped, action=requested.action)
    changes = record_moved(found, requested, facts).changes
    changes.extend([store.insert_return(step, to_millis(facts.now), facts.actor)])
    if returned.review_until is not None:
        changes.add(
            plan(
                DueKind.REVIEW,
                returned.shop_id,
                returned.return_code,
                1,
                due_at=to_millis(returned.review_until),
                anchor_at=to_millis(facts.now),
            )
        )
    changes.add(*_announce_creation(found.shop, step, 1, facts.now))
    return Recorded(changes, returned)


def review(found: FoundReturn, answer: ReviewRequest, facts: Facts) -> Recorded:
    """Record the shop's decision. Raises RETURN_STATUS, REVIEW_OPTION, REVIEW_COMMENT, REVIEW_COMMENT_LENGTH."""
    # This check comes before reading the order, because the demo return has no order.
    machine.check_under_review(found.returned, facts.now)
    order = _order_of(facts.view, found)
    shipment = _shipment(order.order, found.shop, facts.terms)
    return record(found, machine.review(found.returned, answer, shipment, facts.now), facts)


def record(found: FoundReturn, step: Step, facts: Facts) -> Recorded:
    """Record a step: the return at its next version, its order if the step changes it, and the event."""
    now_millis = to_millis(facts.now)
    changes = store.update_return(found, step, now_millis, facts.actor)
    order = _order_of(facts.view, found)
    moved = _effect(order.order, found.returned, step.returned)
    if moved is not None:
        changes.extend([record_moved(order, moved, facts).changes])
    event = step.event
    if event is not None and step.changes is not None:
        body = wire.event_body(event, step.returned, facts.now, step.changes)
        rows = openings.announce_following(
            facts.view,
            found.returned.shop_id,
            found.returned.return_code,
            found.version + 1,
            event_type=event,
            body=body,
            at_millis=now_millis,
            url=found.shop.returns_url,
        )
        changes.add(*rows)
    return Recorded(changes, step.returned)


def resend(found: FoundReturn, facts: Facts, sequence: int | None = None) -> Recorded:
    """Send the latest event again, or the one with this sequence, with the same bytes. If no created event has reached
    the shop's current URL and none is being delivered, send a new created event with the current state instead
    (docs/contract.md#section-8). Raises RETURN_HOOK without a URL."""
    shop, returned, view = found.shop, found.returned, facts.view
    now_millis = to_millis(facts.now)
    url = url_for(view, shop, openings.OPENING)
    if url is None:
        raise refuse(refusals.NoReturnHook())
    known = openings.reaches(view, shop.id, returned.return_code, url)
    if known:
        if sequence is None:
            changes, _ = plan_latest_resend(view, shop.id, returned.return_code, now_millis)
        else:
            changes = plan_resend(view, shop.id, returned.return_code, sequence, now_millis)
        return Recorded(changes, returned)
    step = machine.announce(returned)
    changes = store.update_return(found, step, now_millis, facts.actor)
    changes.add(*_announce_creation(shop, step, found.version + 1, facts.now))
    return Recorded(changes, returned)


def _announce_creation(shop: Shop, step: Step, version: int, now: datetime) -> list[Insert]:
    event = step.event
    if event is None:
        return []
    return announce(
        shop.id,
        step.returned.return_code,
        version,
        event_type=event,
        body=wire.event_body(event, step.returned, now, None),
        at_millis=to_millis(now),
        has_url=shop.returns_url is not None,
    )


def _effect(order: Order, before: Return, after: Return) -> order_machine.Step | None:
    """Return a step's effect on its order (docs/contract.md#section-6); most steps have none."""
    if after.state is not before.state:
        if after.state is ReturnState.RETURNED:
            return returning.take_back(order, after.pieces(), after.reasons())
        if after.state in machine.CAME_TO_NOTHING:
            return returning.drop_return(order, after.pieces())
    if (before.has_shipment, before.courier_tracking_ids) != (after.has_shipment, after.courier_tracking_ids):
        return returning.ship_return(order, after.return_uuid, after.courier_tracking_ids)
    return None


def _order_of(view: View, found: FoundReturn) -> FoundOrder:
    order = orders.by_code(view, found.returned.order_code)
    if order is None:
        raise refuse(OrderNotFound())
    return order


def _lines(order: Order, new: NewReturn) -> tuple[ReturnLineItem, ...]:
    by_id = {line.id: line for line in order.lines()}
    lines = []
    for requested in new.line_items:
        line = by_id[requested.id]
        _check_photos(requested)
        lines.append(
            ReturnLineItem(
                id=line.id,
                ean=line.ean,
                product_name=line.product_name,
                returning_quantity=requested.quantity,
                return_reason=requested.reason,
                user_comment=requested.comment,
                user_photos=list(requested.photos) or UNSET,
            )
        )
    return tuple(lines)


def _check_photos(line: NewReturnLine) -> None:
    for photo in line.photos:
        try:
            parts = urlsplit(photo)
        except ValueError:
            parts = urlsplit("")
        if not photo.isprintable() or parts.scheme not in {"http", "https"} or not parts.netloc:
            raise refuse(refusals.BadPhotos())


def _shipment(order: Order, shop: Shop, terms: Terms) -> Shipment:
    """Return the shipment: by the order's courier to the pickup location, or to the warehouse that sent the order."""
    courier = str(order.courier or shop.courier or Courier.SKROUTZ_LAST_MILE)
    if order.fulfilled_by_skroutz:
        return Shipment(courier, terms.warehouse_address)
    place = shop.location(order.pickup_location_id or "") or shop.locations[0]
    address = ReturningAddress(
        street_name=place.street_name,
        street_number=place.street_number,
        zip=place.zip,
        city=place.city,
        region=place.region,
        country_code="GR",
    )
    return Shipment(courier, address)
