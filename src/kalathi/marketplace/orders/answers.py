"""Pure checks of accept and reject requests (docs/contract.md#section-3)."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, cast

import msgspec

from kalathi.contract.codec import encode
from kalathi.contract.orders import AcceptOptions, LineItem, LocationOption, WindowOption
from kalathi.contract.requests import AcceptRequest, RejectedLine, RejectRequest, whole_number
from kalathi.contract.words import REJECTION_REASONS, RejectionReason
from kalathi.marketplace.couriers.windows import Window, WindowSchedule
from kalathi.marketplace.kernel.errors import DomainError, invalid_parameter
from kalathi.marketplace.shops.model import Location

_LONGEST_REASON = 1000
# A person reads them; the rest shows when these are mended. The bound also keeps the answer small.
_MOST_SENTENCES = 10
_REASONS_BY_ID = {reason.id: reason for reason in REJECTION_REASONS}


class Offer:
    """The valid choices of an accept for one shop."""

    __slots__ = ("_options", "_windows", "locations", "parcel_counts", "schedule")

    def __init__(self, locations: Sequence[Location], schedule: WindowSchedule, parcel_counts: Sequence[int]) -> None:
        self.locations = locations
        self.schedule = schedule
        self.parcel_counts = parcel_counts
        self._windows = msgspec.Raw()
        self._options = msgspec.Raw()

    def accept_options(self, now: datetime) -> msgspec.Raw:
        """accept_options as JSON (docs/contract.md#section-2), made anew only when the windows have changed."""
        windows = self.schedule.options(now)
        if windows is not self._windows:
            self._options = self._encode_windows(cast(list[WindowOption], windows))
            self._windows = windows
        return self._options

    def store_options(self) -> msgspec.Raw:
        """accept_options of an order that the customer collects: no courier comes, so there is no window."""
        return self._encode_windows([])

    def _encode_windows(self, windows: list[WindowOption]) -> msgspec.Raw:
        locations = [LocationOption(id=place.id, label=place.label()) for place in self.locations]
        options = AcceptOptions(
            number_of_parcels=list(self.parcel_counts), pickup_location=locations, pickup_window=windows
        )
        return msgspec.Raw(encode(options))


class Choice(NamedTuple):
    """The choice of an accept; all of it was on offer. No window for a store pickup."""

    location: Location
    window: Window | None
    number_of_parcels: int


class LineRejection(NamedTuple):
    """A line that the shop rejects, and how many pieces it still has (None where the reason asks for none)."""

    line: LineItem
    reason: RejectionReason
    available_quantity: int | None


def choose(request: AcceptRequest, offer: Offer, now: datetime, *, store_pickup: bool = False) -> Choice:
    """Raises INVALID_PARAMETER, one sentence for each parameter that was not on offer, with the valid values.

    A store pickup needs no window, and no location when there is only one.
    """
    wrong = []
    location = _location(request, offer, store_pickup=store_pickup)
    if location is None:
        wrong.append(_not_on_offer("pickup_location", request.pickup_location, [place.id for place in offer.locations]))
    window = None
    if not store_pickup:
        window_id = whole_number(request.pickup_window)
        window = None if window_id is None else offer.schedule.find(window_id, now)
        if window is None:
            valid = [window.id for window in offer.schedule.offer_windows(now)]
            wrong.append(_not_on_offer("pickup_window", request.pickup_window, valid))
    parcels = 1 if _is_blank(request.number_of_parcels) else whole_number(request.number_of_parcels)
    if parcels not in offer.parcel_counts:
        wrong.append(_not_on_offer("number_of_parcels", request.number_of_parcels, offer.parcel_counts))
    if location is None or parcels is None or wrong:
        raise invalid_parameter(*wrong)
    return Choice(location, window, parcels)


def first_choice(offer: Offer, now: datetime, *, store_pickup: bool) -> Choice:
    """The choice of the marketplace when it accepts for the shop: the first of everything."""
    window = None if store_pickup else offer.schedule.offer_windows(now)[0]
    return Choice(offer.locations[0], window, offer.parcel_counts[0])


def _location(request: AcceptRequest, offer: Offer, *, store_pickup: bool) -> Location | None:
    if _is_blank(request.pickup_location) and store_pickup and len(offer.locations) == 1:
        return offer.locations[0]
    return next((place for place in offer.locations if place.id == str(request.pickup_location)), None)


def free_text(request: RejectRequest) -> str | None:
    """The free-text reason, or None when lines are named. Raises INVALID_PARAMETER for both forms and for neither."""
    text = (request.rejection_reason_other or "").strip()
    if text and request.line_items:
        raise invalid_parameter("Give line_items or rejection_reason_other, not both.")
    if not text and not request.line_items:
        raise invalid_parameter(
            "Give line_items, each with id and reason_id (valid reasons: "
            f"{_join(_REASONS_BY_ID)}), or give rejection_reason_other with a text."
        )
    if len(text) > _LONGEST_REASON:
        raise invalid_parameter(f"rejection_reason_other is too long (maximum is {_LONGEST_REASON} characters).")
    return text or None


def check_rejections(request: RejectRequest, lines: Sequence[LineItem]) -> dict[str, LineRejection]:
    """The rejections by line id. Raises INVALID_PARAMETER with a sentence for each fault, naming the valid values."""
    named_lines = request.line_items or []
    if len(named_lines) > len(lines):
        raise invalid_parameter(f"line_items: {len(named_lines)} lines are named, the order has {len(lines)}.")
    by_id = {line.id: line for line in lines}
    rejections: dict[str, LineRejection] = {}
    wrong: list[str] = []
    for named in named_lines:
        line = by_id.get(str(named.id))
        if line is None:
            wrong.append(_not_on_offer("line_items.id", named.id, list(by_id)))
        elif line.id in rejections:
            wrong.append(f"line_items.id: {line.id} is named twice; name each line once.")
        else:
            try:
                rejections[line.id] = _line_rejection(named, line)
            except DomainError as error:
                wrong += error.messages
    if wrong:
        raise invalid_parameter(*wrong[:_MOST_SENTENCES])
    return rejections


def _line_rejection(named: RejectedLine, line: LineItem) -> LineRejection:
    reason_id = whole_number(named.reason_id)
    reason = None if reason_id is None else _REASONS_BY_ID.get(reason_id)
    if reason is None:
        raise invalid_parameter(_not_on_offer("line_items.reason_id", named.reason_id, list(_REASONS_BY_ID)))
    if not reason.requires_available_quantity:
        return LineRejection(line, reason, None)
    quantity = whole_number(named.available_quantity)
    if quantity is None or not 0 <= quantity < line.quantity:
        raise invalid_parameter(
            f"line_items.available_quantity: reason {reason.id} needs how many pieces of line {line.id} are available, "
            f"from 0 to {line.quantity - 1}; {_quote(named.available_quantity)}."
        )
    return LineRejection(line, reason, quantity)


def _is_blank(given: object) -> bool:
    return given is None or not str(given).strip()


def _not_on_offer(parameter: str, given: object, valid: Sequence[object]) -> str:
    return f"{parameter}: {_quote(given)}; valid values: {_join(valid)}."


def _quote(given: object) -> str:
    if _is_blank(given):
        return "it is missing"
    text = str(given)
    return f"{text if len(text) <= 40 else text[:40] + '…'} is not valid"


def _join(values: object) -> str:
    listed = list(values) if isinstance(values, list | tuple | dict) else []
    return ", ".join(str(value) for value in listed) or "none"
