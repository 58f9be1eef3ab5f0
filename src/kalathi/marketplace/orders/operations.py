"""The operations on orders, one row each: of the shop, and of customers, support and couriers.

The merchants' API, the operator's API and the sandbox's scenarios are generated from these two tables. Operations of
customers, support and couriers take effect immediately, regardless of the pickup window.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from kalathi.contract.requests import (
    AcceptRequest,
    RejectRequest,
    RelocateRequest,
    RescheduleRequest,
    TrackingRequest,
)
from kalathi.contract.words import Courier
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.refusals import LinesNamedTwice
from kalathi.marketplace.orders import commands, delivering, machine, pickup, refusals
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.recording import (
    Recorded,
    plan_delivery_note,
    record_ended,
    record_moved,
    record_relabelled,
)
from kalathi.marketplace.orders.replacements import Replace, replace_order


class Nothing(Struct, frozen=True):
    """An empty body."""


class Extend(Struct, frozen=True, kw_only=True):
    """The additional hours; by default the value of the setting `extension_hours`."""

    hours: (
        Annotated[int, Meta(ge=1, le=24 * 60, description="Additional hours; by default the setting extension_hours.")]
        | UnsetType
    ) = UNSET


class SupportRejects(Struct, frozen=True, kw_only=True):
    """The reason of support's rejection. The shop sees it with the actor `skroutz`."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000, description="The reason that the shop sees.")]


class MovePickup(Struct, frozen=True, kw_only=True):
    """The id of a pickup window that is on offer."""

    pickup_window: Annotated[int, Meta(description="The id of a pickup window on offer.")]


class ChangeParcels(Struct, frozen=True, kw_only=True):
    """The new number of parcels."""

    number_of_parcels: Annotated[int, Meta(ge=1, le=99, description="The new number of parcels.")]


class ChangeCourier(Struct, frozen=True, kw_only=True):
    """The new courier."""

    courier: Annotated[Courier, Meta(description="The new courier.")]


class DeliveredLine(Struct, frozen=True, kw_only=True):
    """The delivered quantity of a line."""

    id: Annotated[str, Meta(max_length=50)]
    quantity: Annotated[int, Meta(ge=1)]


class Deliver(Struct, frozen=True, kw_only=True):
    """The delivered lines; by default the whole order."""

    line_items: (
        Annotated[
            tuple[DeliveredLine, ...],
            Meta(min_length=1, max_length=500, description="Delivered lines; by default the whole order."),
        ]
        | UnsetType
    ) = UNSET


class Operation(NamedTuple):
    """One row of a table: the actor, a description, the type of the body, and the function."""

    actor: str
    sentence: str
    body: type[Struct] | None
    run: Callable[[FoundOrder, Any, Facts], Recorded]


def _cancel(found: FoundOrder, _body: Nothing, facts: Facts) -> Recorded:
    return record_ended(found, machine.cancel(found.order), facts)


def _extend(found: FoundOrder, body: Extend, facts: Facts) -> Recorded:
    # The expiry job reads the new deadline when it runs.
    step = machine.extend(found.order, facts.terms.settings, facts.now, body.hours or None)
    return record_moved(found, step, facts)


def _support_rejects(found: FoundOrder, body: SupportRejects, facts: Facts) -> Recorded:
    rejection = machine.reject(
        found.order,
        RejectRequest(rejection_reason_other=body.reason),
        facts.terms.settings,
        facts.now,
        successor_code="",
        line_ids=(),
        actor="skroutz",
    )
    return commands.record_rejection(found, rejection, facts)


def _move_pickup(found: FoundOrder, body: MovePickup, facts: Facts) -> Recorded:
    moment = machine.pickups_from(found.order, facts.now)
    window = facts.terms.schedule.find(body.pickup_window, moment)
    if window is None:
        valid = tuple(offered.id for offered in facts.terms.schedule.offer_windows(moment))
        raise refuse(refusals.UnknownWindow(str(body.pickup_window)[:40], valid))
    return record_moved(found, pickup.reschedule_to(found.order, window), facts)


def _change_parcels(found: FoundOrder, body: ChangeParcels, facts: Facts) -> Recorded:
    return record_relabelled(found, pickup.change_parcels(found.order, body.number_of_parcels), facts)


def _change_courier(found: FoundOrder, body: ChangeCourier, facts: Facts) -> Recorded:
    return record_relabelled(found, pickup.change_courier(found.order, body.courier), facts)


def _miss_pickup(found: FoundOrder, _body: Nothing, facts: Facts) -> Recorded:
    step = pickup.miss_pickup(found.order, facts.terms.schedule, facts.now)
    return record_moved(found, step, facts)


def _bring_back(found: FoundOrder, _body: Nothing, facts: Facts) -> Recorded:
    return record_ended(found, delivering.bring_back(found.order), facts)


def _hand_over(found: FoundOrder, _body: Nothing, facts: Facts) -> Recorded:
    recorded = record_moved(found, delivering.hand_over(found.order), facts)
    return plan_delivery_note(recorded, found, facts) if found.order.fulfilled_by_skroutz else recorded


def _collect(found: FoundOrder, _body: Nothing, facts: Facts) -> Recorded:
    return record_moved(found, delivering.collect(found.order, facts.now), facts)


def _deliver(found: FoundOrder, body: Deliver, facts: Facts) -> Recorded:
    pieces = None
    if body.line_items is not UNSET:
        pieces = {line.id: line.quantity for line in body.line_items}
        if len(pieces) < len(body.line_items):
            raise refuse(LinesNamedTwice())
    return record_moved(found, delivering.deliver(found.order, facts.now, pieces), facts)


def _fail_delivery(found: FoundOrder, _body: Nothing, facts: Facts) -> Recorded:
    return record_moved(found, delivering.fail_delivery(found.order), facts)


SHOP_ACTIONS: Final[dict[str, Operation]] = {
    "accept": Operation(
        "shop",
        "Takes the order with a location, a window and a number of parcels on offer.",
        AcceptRequest,
        commands.accept,
    ),
    "reject": Operation(
        "shop",
        "Rejects by line items or by a free text; the available pieces can become a new order.",
        RejectRequest,
        commands.reject,
    ),
    "reschedule_pickup": Operation(
        "shop",
        "Moves the pickup to another day of reschedule_options; the hours stay if that day offers them.",
        RescheduleRequest,
        commands.reschedule,
    ),
    "relocate_pickup": Operation(
        "shop",
        "Moves the pickup to another location of relocate_options; date and hours stay, a voucher is made again.",
        RelocateRequest,
        commands.relocate,
    ),
    "set_as_ready": Operation(
        "shop", "Marks the parcel as packed; the courier may come in an earlier window.", None, commands.set_as_ready
    ),
    "set_as_not_ready": Operation(
        "shop", "Undoes set_as_ready while the courier has not picked up.", None, commands.set_as_not_ready
    ),
    "request_voucher": Operation(
        "shop",
        "Requests the voucher of an accepted preorder that has none; it comes by webhook.",
        None,
        commands.request_voucher,
    ),
    "tracking_details": Operation(
        "shop",
        "Reports the courier and the tracking codes of an order that the merchant sends.",
        TrackingRequest,
        commands.track,
    ),
}

OPERATIONS: Final[dict[str, Operation]] = {
    "cancel": Operation(
        "customer, support",
        "Cancels at any stage; the parcel of a dispatched order travels back.",
        Nothing,
        _cancel,
    ),
    "extend": Operation("support", "Gives the shop more time to answer.", Extend, _extend),
    "reject": Operation(
        "support", "Rejects an open order for a reason that the shop sees.", SupportRejects, _support_rejects
    ),
    "reschedule": Operation("support", "Moves the pickup to a window on offer.", MovePickup, _move_pickup),
    "change_parcels": Operation(
        "support",
        "Changes the number of parcels of an accepted order; its voucher is made again.",
        ChangeParcels,
        _change_parcels,
    ),
    "change_courier": Operation(
        "support",
        "Gives an accepted order to another courier; its voucher is made again.",
        ChangeCourier,
        _change_courier,
    ),
    "miss_pickup": Operation("courier", "Misses the pickup, which moves to the next window.", Nothing, _miss_pickup),
    "hand_over": Operation("courier", "Picks the parcels up: the order is dispatched.", Nothing, _hand_over),
    "collect": Operation("customer", "Collects a store pickup.", Nothing, _collect),
    "deliver": Operation("courier", "Delivers all of it, or the lines that are named.", Deliver, _deliver),
    "fail_delivery": Operation("courier", "Cannot deliver: the parcel travels back.", Nothing, _fail_delivery),
    "bring_back": Operation(
        "courier",
        "Returns a parcel to the shop after a failed delivery, or after a cancellation on its way.",
        Nothing,
        _bring_back,
    ),
    "replace": Operation("support", "Sends a new order in place of one that was delivered.", Replace, replace_order),
}
