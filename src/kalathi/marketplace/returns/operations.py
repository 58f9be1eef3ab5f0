"""The operations of customers, couriers and support on returns, one row each; the operator's API and the scenarios are
made from this table. The shop's operation is its review."""

from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta, Struct

from kalathi.contract.words import Courier
from kalathi.marketplace.couriers.tracking import tracking_codes
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.returns import machine
from kalathi.marketplace.returns.commands import Recorded, record
from kalathi.marketplace.returns.machine import Step
from kalathi.marketplace.returns.model import FoundReturn

_TrackingId = Annotated[str, Meta(min_length=1, max_length=100)]


class Nothing(Struct, frozen=True):
    """An empty body."""


class HandOver(Struct, frozen=True, kw_only=True):
    """The courier's tracking ids; by default a generated one."""

    tracking_ids: Annotated[
        tuple[_TrackingId, ...],
        Meta(max_length=50, description="The courier's tracking ids; by default a generated one."),
    ] = ()


class Reassign(Struct, frozen=True, kw_only=True):
    """The new courier, and optionally its tracking ids."""

    courier: Annotated[Courier, Meta(description="The new courier.")]
    tracking_ids: Annotated[
        tuple[_TrackingId, ...], Meta(max_length=50, description="The new courier's tracking ids.")
    ] = ()


class Inspect(Struct, frozen=True, kw_only=True):
    """The result of the inspection: whether the goods are taken back."""

    accepted: Annotated[bool, Meta(description="Whether the goods are taken back.")] = True


class Operation(NamedTuple):
    """One row of the table: the actor, a description, the type of the body, and the function."""

    actor: str
    sentence: str
    body: type[Struct]
    step: Callable[[FoundReturn, Any], Step]

    def run(self, found: FoundReturn, body: Any, facts: Facts) -> Recorded:
        """Run the operation and return its rows. Raises RETURN_STATUS."""
        return record(found, self.step(found, body), facts)


def _hand_over(found: FoundReturn, body: HandOver) -> Step:
    returned = found.returned
    ids = (
        body.tracking_ids or returned.courier_tracking_ids or _make_tracking_ids(returned.courier, returned.return_code)
    )
    return machine.hand_over(returned, ids)


def _make_tracking_ids(courier: str | None, return_code: str) -> tuple[str, ...]:
    """Make a tracking id from the return's own code; none without a courier."""
    return () if courier is None else tracking_codes(courier, return_code.removeprefix("R-"), 1)


def _inspect(found: FoundReturn, body: Inspect) -> Step:
    return machine.inspect(found.returned, accepted=body.accepted)


OPERATIONS: Final[dict[str, Operation]] = {
    "hand_over": Operation("customer", "Gives it to the courier: its tracking ids are known.", HandOver, _hand_over),
    "reassign": Operation(
        "courier",
        "Another courier carries it.",
        Reassign,
        lambda found, body: machine.reassign(found.returned, body.courier, body.tracking_ids),
    ),
    "arrive": Operation(
        "courier", "Brings it to the shop, which inspects it.", Nothing, lambda found, _: machine.arrive(found.returned)
    ),
    "inspect": Operation("shop", "Takes what has arrived back, or turns it down.", Inspect, _inspect),
    "take_back": Operation(
        "shop",
        "Takes it back without an inspection; also ends a virtual return.",
        Nothing,
        lambda found, _: machine.take_back(found.returned),
    ),
    "cancel": Operation(
        "customer, support", "Ends it before it has arrived.", Nothing, lambda found, _: machine.cancel(found.returned)
    ),
}
