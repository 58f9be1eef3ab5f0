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
from kalathi.marketplace.kernel.errors import Refusal, refuse
from kalathi.marketplace.kernel.refusals import NotOnOffer
from kalathi.marketplace.orders import refusals
from kalathi.marketplace.shops.model import Location

_LONGEST_REASON = 1000
# A person reads the sentences and sees the next ones after correcting these. The limit also keeps the answer small.
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
        """Return accept_options as JSON (docs/contract.md#section-2); encoded again only if the windows change."""
        windows = self.schedule.options(now)
        if windows is not self._windows:
            self._options = self._encode_windows(cast(list[WindowOption], windows))
            self._windows = windows
        return self._options

    def store_options(self) -> msgspec.Raw:
        """Return the accept_options of a store pickup. No courier collects it, so there are no windows."""
        return self._encode_windows([])

    def _encode_windows(self, windows: list[WindowOption]) -> msgspec.Raw:
        locations = [LocationOption(id=place.id, label=place.label()) for place in self.locations]
        options = AcceptOptions(
            number_of_parcels=list(self.parcel_counts), pickup_location=locations, pickup_window=windows
        )
        return msgspec.Raw(encode(options))


class Choice(NamedTuple):
    """The checked choice of an accept. A store pickup has no window."""

    location: Location
    window: Window | None
    number_of_parcels: int


class LineRejection(NamedTuple):
    """A line that the shop rejects, and its available quantity (None if the reason needs none)."""

    line: LineItem
    reason: RejectionReason
    available_quantity: int | None


def choose(request: AcceptRequest, offer: Offer, now: datetime, *, store_pickup: bool = False) -> Choice:
    """Check the choice of an accept. Raises INVALID_PARAMETER with the valid values of each parameter not on offer.

    A store pickup needs no window, and no location when there is only one.
    """
    wrong: list[Refusal] = []
    location = _location(request, offer, store_pickup=store_pickup)
    if location is None:
        wrong.append(
            NotOnOffer("pickup_location", request.pickup_location, tuple(place.id for place in offer.locations))
        )
    window = None
    if not store_pickup:
        window_id = whole_number(request.pickup_window)
        window = None if window_id is None else offer.schedule.find(window_id, now)
        if window is None:
            valid = tuple(window.id for window in offer.schedule.offer_windows(now))
            wrong.append(NotOnOffer("pickup_window", request.pickup_window, valid))
    parcels = 1 if _is_blank(request.number_of_parcels) else whole_number(request.number_of_parcels)
    if parcels not in offer.parcel_counts:
        wrong.append(NotOnOffer("number_of_parcels", request.number_of_parcels, tuple(offer.parcel_counts)))
    if location is None or parcels is None or wrong:
        raise refuse(*wrong)
    return Choice(location, window, parcels)


def first_choice(offer: Offer, now: datetime, *, store_pickup: bool) -> Choice:
    """Return the marketplace's own choice for an express order: the first of each option."""
    window = None if store_pickup else offer.schedule.offer_windows(now)[0]
    return Choice(offer.locations[0], window, offer.parcel_counts[0])


def _location(request: AcceptRequest, offer: Offer, *, store_pickup: bool) -> Location | None:
    if _is_blank(request.pickup_location) and store_pickup and len(offer.locations) == 1:
        return offer.locations[0]
    return next((place for place in offer.locations if place.id == str(request.pickup_location)), None)


def free_text(request: RejectRequest) -> str | None:
    """Return the free-text reason, or None if lines are named. Raises INVALID_PARAMETER for both forms or neither."""
    text = (request.rejection_reason_other or "").strip()
    if text and request.line_items:
        raise refuse(refusals.TwoFormsOfRejection())
    if not text and not request.line_items:
        raise refuse(refusals.NoRejection(tuple(_REASONS_BY_ID)))
    if len(text) > _LONGEST_REASON:
        raise refuse(refusals.LongReason(_LONGEST_REASON))
    return text or None


def check_rejections(request: RejectRequest, lines: Sequence[LineItem]) -> dict[str, LineRejection]:
    """Return the rejections by line id. Raises INVALID_PARAMETER with a reason for each fault."""
    rejections, wrong = read_rejections(request, lines)
    if wrong:
        raise refuse(*wrong[:_MOST_SENTENCES])
    return rejections


def read_rejections(
    request: RejectRequest, lines: Sequence[LineItem]
) -> tuple[dict[str, LineRejection], list[Refusal]]:
    """Return the rejections by line id, and a refusal for each fault."""
    named_lines = request.line_items or []
    if len(named_lines) > len(lines):
        return {}, [refusals.TooManyLines(len(named_lines), len(lines))]
    by_id = {line.id: line for line in lines}
    rejections: dict[str, LineRejection] = {}
    wrong: list[Refusal] = []
    for named in named_lines:
        line = by_id.get(str(named.id))
        if line is None:
            wrong.append(NotOnOffer("line_items.id", named.id, tuple(by_id)))
        elif line.id in rejections:
            wrong.append(refusals.LineNamedTwice(line.id))
        else:
            rejection = _line_rejection(named, line)
            if isinstance(rejection, Refusal):
                wrong.append(rejection)
            else:
                rejections[line.id] = rejection
    return rejections, wrong


def _line_rejection(named: RejectedLine, line: LineItem) -> LineRejection | Refusal:
    reason_id = whole_number(named.reason_id)
    reason = None if reason_id is None else _REASONS_BY_ID.get(reason_id)
    if reason is None:
        return NotOnOffer("line_items.reason_id", named.reason_id, tuple(_REASONS_BY_ID))
    if not reason.requires_available_quantity:
        return LineRejection(line, reason, None)
    quantity = whole_number(named.available_quantity)
    if quantity is None or not 0 <= quantity < line.quantity:
        return refusals.NeedsAvailablePieces(reason.id, line.id, line.quantity - 1, named.available_quantity)
    return LineRejection(line, reason, quantity)


def _is_blank(given: object) -> bool:
    return given is None or not str(given).strip()
