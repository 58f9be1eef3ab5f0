"""Webhooks of the demo return, sent on demand to a shop's return webhook URL. The contract has no such trigger
(section 5). This one follows the rule of section 8 for created events, so that a shop can test it."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from kalathi.contract.requests import ReviewRequest
from kalathi.contract.returns import ReturningAddress
from kalathi.contract.words import Courier, ReturnEventType, ReviewWord
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, refuse
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.returns import machine, wire
from kalathi.marketplace.returns.machine import Step
from kalathi.marketplace.returns.model import ReturnedGoods, Shipment
from kalathi.marketplace.returns.refusals import NoReturnHook
from kalathi.marketplace.sandbox.demo_return import DEMO_RETURN, DEMO_RETURN_CODE
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.webhooks.listeners import url_for
from kalathi.marketplace.webhooks.openings import announce_following, reaches
from kalathi.marketplace.webhooks.store import announce, last_sequence


class ReturnTriggerKind(StrEnum):
    """The webhooks of the demo return, in the order of its life."""

    CREATION = "creation"
    SHIPMENT = "shipment"
    TRACKING = "tracking"
    COURIER = "courier"
    STATE = "state"


def trigger_return_event(shop: Shop, kind: ReturnTriggerKind, facts: Facts) -> ChangeSet:
    """Return the rows of a triggered webhook. Raises RETURN_HOOK without a URL, or for an update before a creation."""
    view, settings = facts.view, facts.terms.settings
    url = url_for(view, shop, ReturnEventType.CREATED)
    if url is None:
        raise refuse(NoReturnHook())
    step = _step(kind, settings)
    event = step.event or ReturnEventType.UPDATED
    if event is ReturnEventType.UPDATED and not reaches(view, shop.id, DEMO_RETURN_CODE, url):
        raise DomainError(
            ErrorCode.RETURN_HOOK,
            "Trigger creation first: an update is sent only to a URL that a created event has reached.",
        )
    body = wire.event_body(event, step.returned, facts.now, step.changes)
    at_millis = to_millis(facts.now + timedelta(seconds=settings.trigger_delay_seconds))
    sequence = last_sequence(view, shop.id, DEMO_RETURN_CODE) + 1
    name = (shop.id, DEMO_RETURN_CODE, sequence)
    if event is ReturnEventType.CREATED:
        return ChangeSet(*announce(*name, event_type=event, body=body, at_millis=at_millis, has_url=True))
    rows = announce_following(view, *name, event_type=event, body=body, at_millis=at_millis, url=url)
    return ChangeSet(*rows)


def sample_body(settings: Settings, now: datetime) -> bytes:
    """Render the created event of the demo return, for testing a shop's URL."""
    return wire.event_body(ReturnEventType.CREATED, _step(ReturnTriggerKind.CREATION, settings).returned, now, None)


_SHIPMENT: Final = Shipment(str(DEMO_RETURN.courier), DEMO_RETURN.returning_address or ReturningAddress())


def _step(kind: ReturnTriggerKind, settings: Settings) -> Step:
    """Return the machine's step for this webhook, on the demo return or a new request of it."""
    now = DEMO_RETURN.created_at
    goods = ReturnedGoods(
        return_code=DEMO_RETURN_CODE,
        return_uuid=DEMO_RETURN.return_uuid,
        shop_id=DEMO_RETURN.shop_id,
        order_code=DEMO_RETURN.order_code,
        lines=DEMO_RETURN.return_line_items,
        delivered_at=now,
        is_virtual=False,
        is_from_warehouse=False,
        shipment=_SHIPMENT,
    )
    requested = machine.request(goods, settings, now)
    approval = ReviewRequest(option=ReviewWord.APPROVE)
    match kind:
        case ReturnTriggerKind.CREATION:
            return requested
        case ReturnTriggerKind.SHIPMENT:
            return machine.review(requested.returned, approval, _SHIPMENT, now)
        case ReturnTriggerKind.TRACKING:
            without = replace(DEMO_RETURN, courier_tracking_ids=())
            return machine.hand_over(without, DEMO_RETURN.courier_tracking_ids)
        case ReturnTriggerKind.COURIER:
            return machine.reassign(DEMO_RETURN, Courier.SPEEDEX, ())
        case ReturnTriggerKind.STATE:
            return machine.take_back(DEMO_RETURN)
