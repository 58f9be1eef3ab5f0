"""The bodies that the marketplace posts to a shop (docs/contract.md#section-4 and #section-8)."""

import re
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar

from msgspec import UNSET, Struct, UnsetType

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError, decode
from kalathi.contract.orders import Order, PickupWindow
from kalathi.contract.reading import convert, plain_json
from kalathi.contract.returns import Return, ReturningAddress
from kalathi.contract.words import OrderEventType, OrderStateText, ReturnEventType

T = TypeVar("T")


class Change(Struct, Generic[T], frozen=True, kw_only=True):
    """The old and the new value of a field; both members are always present, null included."""

    old: T
    new: T


class OrderChanges(Struct, frozen=True, kw_only=True):
    """The changed fields of an `order_updated` event, and only those."""

    state: Change[OrderStateText] | UnsetType = UNSET
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
    """The order webhook (section 4). Only `order_updated` events have `changes`."""

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
    """Decode the body of either webhook, by its `event_type` (docs/contract.md#section-4).

    Raises UnreadableBodyError, or UnexpectedShapeError for an event type that the contract does not name.
    """
    event_type = decode(body, _EventHead).event_type
    if event_type in set(OrderEventType):
        return decode(body, OrderEvent)
    if event_type in set(ReturnEventType):
        return decode(body, ReturnEvent)
    raise UnexpectedShapeError(f"Unknown event_type {event_type!r}")


# These patterns find a code in bytes that are not JSON, such as a truncated body.
_ORDER_CODE: Final = re.compile(rb"(?<![\w-])\d{6}-\d{4,}(?:-\d+)?(?![\w-])")
_RETURN_CODE: Final = re.compile(rb"(?<![\w-])R-\d{6}-\d{4,}(?![\w-])")
_RETURN_EVENT: Final = b"merchant_return_"


class EventHead(NamedTuple):
    """The part of an event that the merchant's side needs (docs/contract.md#section-11), with the code of its order or
    return.

    `expires_at` is the order's deadline. `states` are the states in the event, the current one first.
    """

    is_return: bool
    code: str
    expires_at: datetime | None = None
    states: tuple[str, ...] = ()


class _OrderHead(Struct, frozen=True, kw_only=True):
    code: str
    state: str = ""
    expires_at: datetime | None = None


class _ReturnHead(Struct, frozen=True, kw_only=True):
    return_code: str
    state: str = ""


def read_event_head(body: bytes) -> EventHead:
    """Read the code of an event's order or return, even if the rest is unreadable.

    If the bytes are not JSON or lack the member, search them for a code. Raises UnexpectedShapeError if there is none.
    """
    try:
        content = plain_json(body)
    except UnreadableBodyError:
        content = None
    if isinstance(content, dict):
        names_return = str(content.get("event_type") or "").startswith(_RETURN_EVENT.decode())
        readers = (_return_head, _order_head) if names_return else (_order_head, _return_head)
        for read_head in readers:
            head = read_head(content)
            if head is not None and head.code:
                return head
    return _head_of_bytes(body)


def _order_head(content: dict[str, Any]) -> EventHead | None:
    try:
        order = convert(content.get("order"), _OrderHead).value
    except UnexpectedShapeError:
        return None
    return EventHead(
        is_return=False,
        code=order.code,
        expires_at=order.expires_at,
        states=(order.state, _state_before(content)),
    )


def _return_head(content: dict[str, Any]) -> EventHead | None:
    try:
        returned = convert(content.get("return"), _ReturnHead).value
    except UnexpectedShapeError:
        return None
    return EventHead(is_return=True, code=returned.return_code, states=(returned.state, _state_before(content)))


def _state_before(content: dict[str, Any]) -> str:
    changes = content.get("changes")
    change = changes.get("state") if isinstance(changes, dict) else None
    before = change.get("old") if isinstance(change, dict) else None
    return before if isinstance(before, str) else ""


def _head_of_bytes(body: bytes) -> EventHead:
    returned = _RETURN_CODE.search(body)
    if returned and _RETURN_EVENT in body:
        return EventHead(is_return=True, code=returned[0].decode())
    order = _ORDER_CODE.search(body)
    if order:
        return EventHead(is_return=False, code=order[0].decode())
    raise UnexpectedShapeError("it names no order and no return")
