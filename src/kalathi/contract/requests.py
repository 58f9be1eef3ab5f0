"""What a shop sends to act on an order (contract, section 3).

Real clients send whole numbers as numbers or as digit strings, so those fields take both and are read by
`whole_number`; which values are valid depends on the order and is decided where the order is known.
"""

from msgspec import Struct


class AcceptRequest(Struct, frozen=True, kw_only=True):
    """`POST /orders/:code/accept`"""

    pickup_location: str | int | None = None
    pickup_window: int | str | None = None
    number_of_parcels: int | str | None = None


class RejectedLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a rejection; `available_quantity` goes with reason 4 only."""

    id: str | int
    reason_id: int | str | None = None
    available_quantity: int | str | None = None


class RejectRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST /orders/:code/reject`: either form, never both."""

    line_items: list[RejectedLine] | None = None
    rejection_reason_other: str | None = None


class RescheduleRequest(Struct, frozen=True, kw_only=True):
    """`POST /orders/:code/reschedule_pickup`; a date `YYYY-MM-DD` of reschedule_options."""

    reschedule_date: str | None = None


class RelocateRequest(Struct, frozen=True, kw_only=True):
    """`POST /orders/:code/relocate_pickup`; an id of relocate_options."""

    pickup_location: str | int | None = None


class TrackingDetail(Struct, frozen=True, kw_only=True):
    """One parcel of an order that the shop sends by itself; `courier` is one of words.TRACKING_COURIERS."""

    courier: str | None = None
    tracking_code: str | int | None = None


class TrackingRequest(Struct, frozen=True, kw_only=True):
    """`POST /orders/:code/tracking_details`, for orders fulfilled by the merchant."""

    tracking_details: list[TrackingDetail] | None = None


def whole_number(value: int | str | None) -> int | None:
    """The integer that a client meant by `2` or `"2"`, or None when it meant none."""
    if isinstance(value, str):
        # Nine digits hold every number of the contract and fit the columns of every database.
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
    return value
