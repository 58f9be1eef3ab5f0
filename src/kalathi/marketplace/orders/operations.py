"""What customers, support and couriers do to orders, one row each: the operator's API and the sandbox's scenarios are
made from this table. Each happens at once, whatever the pickup window says."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from kalathi.contract.requests import RejectRequest
from kalathi.marketplace.kernel.database import View
from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.orders import commands, machine, pickup
from kalathi.marketplace.orders.commands import FreshKeys
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.placing import Replace, replace_order
from kalathi.marketplace.orders.recording import Recorded, record_ended, record_moved
from kalathi.marketplace.orders.terms import Terms


class Nothing(Struct, frozen=True):
    """No body is needed."""


class Extend(Struct, frozen=True, kw_only=True):
    """How many hours more; without, as many as the settings say."""

    hours: Annotated[int, Meta(ge=1, le=24 * 60)] | UnsetType = UNSET


class SupportRejects(Struct, frozen=True, kw_only=True):
    """Why support rejects the order; the shop sees it with the actor `skroutz`."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


class MovePickup(Struct, frozen=True, kw_only=True):
    """The id of a pickup window that is on offer."""

    pickup_window: int


class DeliveredLine(Struct, frozen=True, kw_only=True):
    """How many pieces of a line the customer has got."""

    id: Annotated[str, Meta(max_length=50)]
    quantity: Annotated[int, Meta(ge=1)]


class Deliver(Struct, frozen=True, kw_only=True):
    """Without lines, all of it; with them, only what they name."""

    line_items: Annotated[tuple[DeliveredLine, ...], Meta(min_length=1, max_length=500)] | UnsetType = UNSET


class Facts(NamedTuple):
    """What an operation may need beside the order: the database as it is, fresh keys, the terms, the time."""

    view: View
    keys: FreshKeys
    terms: Terms
    now: datetime


class Operation(NamedTuple):
    """One row: who does it, what the body says, and how it is done."""

    actor: str
    sentence: str
    body: type[Struct]
    run: Callable[[FoundOrder, Any, Facts], Recorded]


def _cancel(found: FoundOrder, _body: Nothing, facts: Facts) -> Recorded:
    return record_ended(found, machine.cancel(found.order), facts.terms, facts.now)


def _extend(found: FoundOrder, body: Extend, facts: Facts) -> Recorded:
    # Its expiry row finds the new deadline when it comes due.
    step = machine.extend(found.order, facts.terms.settings, facts.now, body.hours or None)
    return record_moved(found, step, facts.terms, facts.now)


def _reject(found: FoundOrder, body: SupportRejects, facts: Facts) -> Recorded:
    rejection = machine.reject(
        found.order,
        RejectRequest(rejection_reason_other=body.reason),
        facts.terms.settings,
        facts.now,
        successor_code="",
        line_ids=(),
        actor="skroutz",
    )
    return commands.record_rejection(found, rejection, facts.terms, facts.now)


def _reschedule(found: FoundOrder, body: MovePickup, facts: Facts) -> Recorded:
    window = facts.terms.schedule.find(body.pickup_window, facts.now)
    if window is None:
        valid = ", ".join(str(offered.id) for offered in facts.terms.schedule.offered(facts.now))
        raise invalid_parameter(f"pickup_window: {body.pickup_window} is not on offer; valid values: {valid}.")
    return record_moved(found, pickup.reschedule_to(found.order, window), facts.terms, facts.now)


def _hand_over(found: FoundOrder, _body: Nothing, facts: Facts) -> Recorded:
    return record_moved(found, machine.hand_over(found.order), facts.terms, facts.now)


def _collect(found: FoundOrder, _body: Nothing, facts: Facts) -> Recorded:
    return record_moved(found, machine.collect(found.order), facts.terms, facts.now)


def _deliver(found: FoundOrder, body: Deliver, facts: Facts) -> Recorded:
    pieces = None
    if body.line_items is not UNSET:
        pieces = {line.id: line.quantity for line in body.line_items}
        if len(pieces) < len(body.line_items):
            raise invalid_parameter("line_items: name each line once.")
    return record_moved(found, machine.deliver(found.order, pieces), facts.terms, facts.now)


def _fail_delivery(found: FoundOrder, _body: Nothing, facts: Facts) -> Recorded:
    return record_moved(found, machine.fail_delivery(found.order), facts.terms, facts.now)


def _replace(found: FoundOrder, body: Replace, facts: Facts) -> Recorded:
    return replace_order(facts.view, found, body, facts.keys, facts.terms, facts.now)


OPERATIONS: Final[dict[str, Operation]] = {
    "cancel": Operation(
        "customer, support", "Cancels at any stage; a dispatched order travels back.", Nothing, _cancel
    ),
    "extend": Operation("support", "Gives the shop more time to answer.", Extend, _extend),
    "reject": Operation("support", "Rejects an open order for a reason that the shop sees.", SupportRejects, _reject),
    "reschedule": Operation("support", "Moves the pickup to a window on offer.", MovePickup, _reschedule),
    "hand_over": Operation("courier", "Picks the parcels up: the order is dispatched.", Nothing, _hand_over),
    "collect": Operation("customer", "Collects a store pickup.", Nothing, _collect),
    "deliver": Operation("courier", "Delivers all of it, or the lines that are named.", Deliver, _deliver),
    "fail_delivery": Operation("courier", "Cannot deliver: the parcel travels back.", Nothing, _fail_delivery),
    "replace": Operation("support", "Sends a new order in place of one that was delivered.", Replace, _replace),
}
