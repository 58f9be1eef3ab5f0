"""Pages ask which actions are possible: a possible action succeeds, another one is refused."""

from collections.abc import Callable
from datetime import date
from itertools import product

import pytest
from msgspec.structs import replace

from kalathi.contract.requests import TrackingDetail, TrackingRequest
from kalathi.contract.words import TRACKING_COURIERS, Courier, FulfillmentMode, OrderState
from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.orders import pickup
from kalathi.marketplace.orders.model import Order
from tests.unit.orders import NOW, OFFER, open_order

TRACKING = TrackingRequest(
    tracking_details=[TrackingDetail(courier=next(iter(TRACKING_COURIERS)), tracking_code="AB123")]
)
ACTIONS: dict[str, tuple[Callable[[Order], bool], Callable[[Order], object]]] = {
    "set_as_ready": (pickup.can_set_as_ready, lambda order: pickup.set_as_ready(order, OFFER.schedule, NOW)),
    "set_as_not_ready": (pickup.can_set_as_not_ready, lambda order: pickup.set_as_not_ready(order, NOW)),
    "request_voucher": (pickup.can_request_voucher, lambda order: pickup.request_voucher(order, OFFER.schedule, NOW)),
    "tracking_details": (pickup.can_track, lambda order: pickup.track(order, TRACKING)),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_is_possible_exactly_when_it_succeeds(action: str) -> None:
    can, move = ACTIONS[action]
    answers = set()
    orders = product(
        OrderState, FulfillmentMode, (Courier.SKROUTZ_LAST_MILE, Courier.ACS), (True, False), (None, date(2026, 12, 9))
    )
    for state, mode, courier, is_ready, ships_on in orders:
        order = replace(
            open_order(),
            state=state,
            mode=mode,
            courier=courier,
            is_ready_for_dispatch=is_ready,
            scheduled_shipment=ships_on,
        )
        answers.add(can(order))
        assert can(order) == _succeeds(move, order), (state, mode, courier, is_ready, ships_on)
    assert answers == {True, False}


def _succeeds(move: Callable[[Order], object], order: Order) -> bool:
    try:
        move(order)
    except DomainError:
        return False
    return True
