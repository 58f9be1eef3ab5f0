"""The bodies that the marketplace posts to a shop (contract, sections 4 and 8)."""

from datetime import datetime
from typing import Generic, TypeVar

from msgspec import UNSET, Struct, UnsetType

from kalathi.contract.codec import UnexpectedShapeError, decode
from kalathi.contract.orders import Order, PickupWindow
from kalathi.contract.returns import Return, ReturningAddress
from kalathi.contract.words import OrderEventType, OrderState, ReturnEventType

T = TypeVar("T")


class Change(Struct, Generic[T], frozen=True, kw_only=True):
    """What a field was and what it has become; both members are always there, null included."""

    old: T
    new: T


class OrderChanges(Struct, frozen=True, kw_only=True):
    """The changed fields of an `order_updated` event, and only those."""

    state: Change[OrderState] | UnsetType = UNSET
    expires_at: Change[datetime | None] | UnsetType = UNSET
    dispatch_until: Change[datetime | None] | UnsetType = UNSET
    courier: Change[str | None] | UnsetType = UNSET
    courier_voucher: Change[str | None] | UnsetType = UNSET
    courier_tracking_codes: Change[list[str]] | UnsetType = UNSET
    fbs_delivery_note: Change[str | None] | UnsetType = UNSET
    fbs_delivery_note_url: Change[str | None] | UnsetType = UNSET
    pickup_window: Change[PickupWindow | None] | UnsetType = UNSET
    number_of_parcels: Change[int | None] | UnsetType = UNSET
    pickup_address: Change[str | None] | UnsetType = UNSET
    is_ready_for_dispatch: Change[bool] | UnsetType = UNSET


class OrderEvent(Struct, frozen=True, kw_only=True):
    """The order webhook (section 4); `changes` on updates only."""

    event_type: OrderEventType
    event_time: datetime
    order: Order
    changes: OrderChanges | UnsetType = UNSET


class ReturnChanges(Struct, frozen=True, kw_only=True):
    """The changed fields of a `merchant_return_updated` event, and only those."""

    state: Change[str] | UnsetType = UNSET
    courier: Change[str | None] | UnsetType = UNSET
    returning_address: Change[ReturningAddress | None] | UnsetType = UNSET
    courier_tracking_ids: Change[list[str] | None] | UnsetType = UNSET


class ReturnEvent(Struct, frozen=True, kw_only=True, rename={"returned": "return"}):
    """The return webhook (section 8); `event_time` is UTC."""

    event_type: ReturnEventType
    event_time: datetime
    returned: Return
    changes: ReturnChanges | UnsetType = UNSET


class _EventHead(Struct, frozen=True):
    event_type: str


def decode_event(body: bytes) -> OrderEvent | ReturnEvent:
    """Either webhook body, told apart by `event_type` as section 4 demands.

    Raises UnreadableBodyError, or UnexpectedShapeError for an event type that the contract does not name.
    """
    event_type = decode(body, _EventHead).event_type
    if event_type in set(OrderEventType):
        return decode(body, OrderEvent)
    if event_type in set(ReturnEventType):
        return decode(body, ReturnEvent)
    raise UnexpectedShapeError(f"Unknown event_type {event_type!r}")
