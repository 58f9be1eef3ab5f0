"""Pure steps of an accepted order before the courier collects it (docs/contract.md#section-3). They change the pickup's
location and window, the "ready" mark, the voucher and the tracking details, but not the state.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Final

from msgspec.structs import replace

from kalathi.contract.orders import LocationOption, PickupWindow, RescheduleOption
from kalathi.contract.requests import RelocateRequest, RescheduleRequest, TrackingRequest
from kalathi.contract.words import TRACKING_COURIERS, Courier, FulfillmentMode, OrderState
from kalathi.marketplace.couriers.windows import Window, WindowSchedule, day_label
from kalathi.marketplace.kernel.clock import ATHENS, athens
from kalathi.marketplace.kernel.errors import Refusal, refuse
from kalathi.marketplace.orders import refusals
from kalathi.marketplace.orders.machine import TRANSITIONS, Action, Step, make_step, pickups_from, through
from kalathi.marketplace.orders.model import Order
from kalathi.marketplace.shops.model import Location

# A set-as-ready can bring the pickup forward only before this time (Athens) on the day before the planned pickup.
_READY_CALLED_BEFORE: Final = time(21)
_MOST_PARCELS: Final = 99
_LONGEST_TRACKING_CODE: Final = 100


def issue_voucher(order: Order, link: str, tracking_codes: tuple[str, ...]) -> Step:
    """Set the courier's voucher, or replace an outdated one. Raises ORDER_STATUS."""
    new = through(order, Action.ISSUE_VOUCHER)
    if not order.needs_voucher:
        raise refuse(refusals.NeedsNoVoucher())
    if order.courier_voucher is not None and not order.voucher_is_outdated:
        raise refuse(refusals.HasVoucher())
    new = replace(new, courier_voucher=link, courier_tracking_codes=tracking_codes, voucher_is_outdated=False)
    new = replace(new, tracking_codes_issued=order.tracking_codes_issued + len(tracking_codes))
    return make_step(Action.ISSUE_VOUCHER, order, new)


def issue_delivery_note(order: Order, number: str, url: str) -> Step:
    """Set the delivery note of an order sent by the marketplace's warehouse. Raises ORDER_STATUS."""
    new = through(order, Action.ISSUE_DELIVERY_NOTE)
    if not order.fulfilled_by_skroutz or order.fbs_delivery_note is not None:
        raise refuse(refusals.NoDeliveryNote())
    new = replace(new, fbs_delivery_note=number, fbs_delivery_note_url=url)
    return make_step(Action.ISSUE_DELIVERY_NOTE, order, new)


def can_request_voucher(order: Order) -> bool:
    """Whether the order is an accepted preorder without a voucher."""
    return (
        order.state is OrderState.ACCEPTED
        and order.needs_voucher
        and order.courier_voucher is None
        and order.scheduled_shipment is not None
    )


def request_voucher(order: Order, schedule: WindowSchedule, now: datetime) -> Step:
    """Request the voucher of a preorder, before its day or after. The pickup keeps its location and moves to the next
    window.

    Raises ORDER_NOT_ELIGIBLE.
    """
    if not can_request_voucher(order):
        raise refuse(refusals.NoVoucherToRequest())
    new = through(order, Action.REQUEST_VOUCHER)
    window = schedule.offer_windows(now)[0].on_the_wire()
    # From now on the order is handled like any other order.
    return make_step(Action.REQUEST_VOUCHER, order, replace(new, pickup_window=window, scheduled_shipment=None))


def reschedule_options(order: Order, schedule: WindowSchedule, now: datetime) -> list[RescheduleOption]:
    """Return the other days on offer for the pickup; empty if the pickup cannot be moved."""
    if order.state is not OrderState.ACCEPTED or _kind_without_pickup(order) is not None:
        return []
    return [RescheduleOption(date=day, label=day_label(day)) for day in _other_days(order, schedule, now)]


def reschedule(order: Order, request: RescheduleRequest, schedule: WindowSchedule, now: datetime) -> Step:
    """Move the pickup to another day: at the same hours if that day offers them, else in its first window.

    Raises ORDER_STATUS, RESCHEDULE_DATE.
    """
    kind = _kind_without_pickup(order)
    if kind is not None:
        raise refuse(refusals.NotRescheduled(kind))
    new = through(order, Action.RESCHEDULE)
    day = _day(request.reschedule_date)
    if day not in _other_days(order, schedule, now):
        raise refuse(refusals.BadRescheduleDate())
    windows = [window for window in schedule.offer_windows(pickups_from(order, now)) if window.day == day]
    same_hours = [window for window in windows if _hours(window.on_the_wire()) == _hours(order.pickup_window)]
    return _in_window(order, new, (same_hours or windows)[0])


def reschedule_to(order: Order, window: Window) -> Step:
    """Move the pickup to any window on offer, for support. Raises ORDER_STATUS."""
    new = through(order, Action.RESCHEDULE)
    if order.pickup_window is None:
        raise refuse(refusals.NoPickupToMove())
    return _in_window(order, new, window)


def relocate_options(order: Order, locations: Sequence[Location]) -> list[LocationOption]:
    """Return the shop's other locations; empty if the pickup cannot be moved."""
    if order.state is not OrderState.ACCEPTED or not _can_be_relocated(order, locations):
        return []
    return [
        LocationOption(id=place.id, label=place.label()) for place in locations if place.id != order.pickup_location_id
    ]


def relocate(order: Order, request: RelocateRequest, locations: Sequence[Location]) -> Step:
    """Move the pickup to another location, in the same window. A voucher with the old location becomes outdated.

    Raises ORDER_STATUS, PICKUP_LOCATION.
    """
    if not _can_be_relocated(order, locations):
        raise refuse(refusals.NotRelocated())
    new = through(order, Action.RELOCATE)
    chosen = next((place for place in locations if place.id == str(request.pickup_location)), None)
    if chosen is None or chosen.id == order.pickup_location_id:
        raise refuse(refusals.BadPickupLocation())
    new = replace(
        new,
        pickup_location_id=chosen.id,
        pickup_address=chosen.label(),
        voucher_is_outdated=order.courier_voucher is not None,
    )
    return make_step(Action.RELOCATE, order, new)


def can_set_as_ready(order: Order) -> bool:
    """Whether the shop can mark the order as ready: the marketplace's own courier collects it, and it has no mark."""
    return (
        order.state is OrderState.ACCEPTED
        and not order.is_ready_for_dispatch
        and order.needs_voucher
        and order.courier == Courier.SKROUTZ_LAST_MILE
    )


def set_as_ready(order: Order, schedule: WindowSchedule, now: datetime) -> Step:
    """Mark the order as ready. Before 21:00 (Athens) on the day before the pickup, this moves the pickup to an earlier
    window if there is one. Raises ORDER_NOT_ELIGIBLE."""
    if not can_set_as_ready(order):
        raise refuse(refusals.CannotBeReady())
    new = replace(through(order, Action.SET_AS_READY), is_ready_for_dispatch=True)
    planned = order.pickup_window
    if planned is not None and now < _last_call(planned):
        earlier = schedule.offer_windows(pickups_from(order, now))[0].on_the_wire()
        if earlier.start < planned.start:
            new = replace(new, pickup_window=earlier, window_before_ready=planned)
    return make_step(Action.SET_AS_READY, order, new)


def mark_ready_by_download(order: Order) -> Step | None:
    """Mark the order of a shop that is not enrolled in set-as-ready as ready. Return None if nothing changes."""
    if order.state is not OrderState.ACCEPTED or order.set_as_ready_required or order.is_ready_for_dispatch:
        return None
    if order.voucher_is_outdated:
        return None
    return make_step(
        Action.SET_AS_READY, order, replace(through(order, Action.SET_AS_READY), is_ready_for_dispatch=True)
    )


def can_set_as_not_ready(order: Order) -> bool:
    """Whether the order is marked as ready, and the courier has not collected it."""
    return order.state is OrderState.ACCEPTED and order.is_ready_for_dispatch


def set_as_not_ready(order: Order, now: datetime) -> Step:
    """Undo the "ready" mark. The pickup returns to its original window if that has not started.

    Raises ORDER_NOT_ELIGIBLE.
    """
    if not can_set_as_not_ready(order):
        raise refuse(refusals.CannotBeUndone())
    new = replace(
        through(order, Action.SET_AS_NOT_READY),
        is_ready_for_dispatch=False,
        window_before_ready=None,
    )
    first = order.window_before_ready
    if first is not None and now < first.start:
        new = replace(new, pickup_window=first)
    return make_step(Action.SET_AS_NOT_READY, order, new)


def change_parcels(order: Order, number_of_parcels: int) -> Step:
    """Change the number of parcels, for support. A voucher for the old number is outdated. Raises ORDER_STATUS."""
    new = _outdate_voucher(order, through(order, Action.CHANGE_PARCELS))
    if number_of_parcels == order.number_of_parcels:
        raise refuse(refusals.HasParcels(number_of_parcels))
    return make_step(Action.CHANGE_PARCELS, order, replace(new, number_of_parcels=number_of_parcels))


def change_courier(order: Order, courier: Courier) -> Step:
    """Change the courier, for support. A voucher of the old courier is outdated. Raises ORDER_STATUS."""
    new = _outdate_voucher(order, through(order, Action.CHANGE_COURIER))
    if courier == order.courier:
        raise refuse(refusals.HasCourier(courier))
    return make_step(Action.CHANGE_COURIER, order, replace(new, courier=courier))


def miss_pickup(order: Order, schedule: WindowSchedule, now: datetime) -> Step:
    """Record a missed pickup, and move the pickup to the next window. Raises ORDER_STATUS."""
    through(order, Action.MISS_PICKUP)
    if order.pickup_window is None:
        raise refuse(refusals.NoPickupToMiss())
    following = schedule.offer_windows(max(now, order.pickup_window.end))[0].on_the_wire()
    return make_step(Action.MISS_PICKUP, order, replace(order, pickup_window=following, window_before_ready=None))


def _outdate_voucher(order: Order, new: Order) -> Order:
    """Return the order with its voucher marked as outdated, if it has one. Raises ORDER_STATUS."""
    if not order.needs_voucher:
        raise refuse(refusals.NeedsNoVoucher())
    return replace(new, voucher_is_outdated=order.courier_voucher is not None)


def can_track(order: Order) -> bool:
    """Whether the shop sends the order with its own courier, and its state allows tracking details."""
    return order.mode is FulfillmentMode.MERCHANT and (order.state, Action.TRACK) in TRANSITIONS


def track(order: Order, request: TrackingRequest) -> Step:
    """Set the tracking details of an order that the shop sends with its own courier. Raises ORDER_NOT_ELIGIBLE,
    ORDER_STATUS, INVALID_PARAMETER."""
    if order.mode is not FulfillmentMode.MERCHANT:
        raise refuse(refusals.NotSentByShop())
    new = through(order, Action.TRACK)
    details = request.tracking_details or []
    if not 1 <= len(details) <= _MOST_PARCELS:
        raise refuse(refusals.BadTracking(_MOST_PARCELS))
    wrong: list[Refusal] = []
    for detail in details:
        if detail.courier not in TRACKING_COURIERS:
            wrong.append(refusals.BadTrackingCourier(str(detail.courier)[:40], tuple(TRACKING_COURIERS)))
        if not 1 <= len(str(detail.tracking_code or "").strip()) <= _LONGEST_TRACKING_CODE:
            wrong.append(refusals.BadTrackingCode(_LONGEST_TRACKING_CODE))
    if wrong:
        raise refuse(*dict.fromkeys(wrong))
    new = replace(
        new,
        courier=TRACKING_COURIERS[str(details[0].courier)],
        courier_tracking_codes=tuple(str(detail.tracking_code).strip() for detail in details),
    )
    return make_step(Action.TRACK, order, new)


def _in_window(order: Order, new: Order, window: Window) -> Step:
    # After a reschedule, undoing set-as-ready must not restore an older window.
    return make_step(
        Action.RESCHEDULE, order, replace(new, pickup_window=window.on_the_wire(), window_before_ready=None)
    )


def _can_be_relocated(order: Order, locations: Sequence[Location]) -> bool:
    has_another = any(place.id != order.pickup_location_id for place in locations)
    return _kind_without_pickup(order) is None and has_another


def _kind_without_pickup(order: Order) -> str | None:
    """Return the kind of an order with a pickup that the shop cannot move, or None."""
    if order.fulfilled_by_skroutz:
        return '"Fulfilled by Skroutz"'
    if order.mode is FulfillmentMode.MERCHANT:
        return '"Fulfilled by Merchant"'
    if order.store_pickup:
        return "store pickup"
    if order.express:
        return "express"
    return None


def _other_days(order: Order, schedule: WindowSchedule, now: datetime) -> list[date]:
    present = None if order.pickup_window is None else athens(order.pickup_window.start).date()
    offered = schedule.offer_windows(pickups_from(order, now))
    return [day for day in dict.fromkeys(window.day for window in offered) if day != present]


def _day(text: str | None) -> date | None:
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    # `date.fromisoformat` also accepts `20260925` and `2026-W39-5`; the contract allows one form only.
    return day if day.isoformat() == text else None


def _hours(window: PickupWindow | None) -> tuple[int, int] | None:
    return None if window is None else (athens(window.start).hour, athens(window.end).hour)


def _last_call(planned: PickupWindow) -> datetime:
    day_before = athens(planned.start).date() - timedelta(days=1)
    return datetime.combine(day_before, _READY_CALLED_BEFORE, tzinfo=ATHENS)
