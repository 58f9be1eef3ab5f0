"""The return machine (docs/decisions/0001): every state and transition in one table.

A customer requests a return. The shop reviews it, unless the reason needs no review. Then the goods travel back and may
be inspected. After the review, only the marketplace changes the state. Each command takes the return, facts and `now`,
looks up `next_state`, and returns the new return with its changes. It reads no clock and has no side effects. The
diagram in docs/returns.md is drawn from TRANSITIONS.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import UNSET, Struct
from msgspec.structs import replace

from kalathi.contract.requests import ReviewRequest
from kalathi.contract.webhooks import Change, ReturnChanges
from kalathi.contract.words import ReturnEventType, ReturnState, ReviewWord
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.returns import refusals
from kalathi.marketplace.returns.model import Return, ReturnedGoods, Shipment
from kalathi.marketplace.returns.review import decide, needs_review, options_of


class Action(StrEnum):
    """The actions on a return. Its timeline uses the same words."""

    REQUEST = "request"
    REQUEST_WITHOUT_REVIEW = "request_without_review"
    APPROVE = "approve"
    REFUSE = "refuse"
    SEND_PART = "send_part"
    EXPIRE = "expire"
    CANCEL = "cancel"
    HAND_OVER = "hand_over"
    REASSIGN = "reassign"
    ARRIVE = "arrive"
    TAKE_BACK = "take_back"
    TURN_DOWN = "turn_down"
    # Announces the current state again. Allowed in every state, so the table has no row for it.
    ANNOUNCE = "announce"


_S = ReturnState
TRANSITIONS: Final[dict[tuple[ReturnState | None, Action], ReturnState]] = {
    (None, Action.REQUEST): _S.PENDING_MERCHANT_REVIEW,
    (None, Action.REQUEST_WITHOUT_REVIEW): _S.RETURNING,
    (_S.PENDING_MERCHANT_REVIEW, Action.APPROVE): _S.RETURNING,
    (_S.PENDING_MERCHANT_REVIEW, Action.REFUSE): _S.REJECTED,
    (_S.PENDING_MERCHANT_REVIEW, Action.SEND_PART): _S.CANCELLED,
    (_S.PENDING_MERCHANT_REVIEW, Action.EXPIRE): _S.EXPIRED,
    (_S.PENDING_MERCHANT_REVIEW, Action.CANCEL): _S.CANCELLED,
    (_S.RETURNING, Action.HAND_OVER): _S.RETURNING,
    (_S.RETURNING, Action.REASSIGN): _S.RETURNING,
    (_S.RETURNING, Action.CANCEL): _S.CANCELLED,
    (_S.RETURNING, Action.ARRIVE): _S.PENDING_PHYSICAL_REVIEW,
    (_S.RETURNING, Action.TAKE_BACK): _S.RETURNED,
    (_S.PENDING_PHYSICAL_REVIEW, Action.TAKE_BACK): _S.RETURNED,
    (_S.PENDING_PHYSICAL_REVIEW, Action.TURN_DOWN): _S.REJECTED,
}
# The customer keeps the pieces, and can request another return of them.
CAME_TO_NOTHING: Final = frozenset({_S.REJECTED, _S.EXPIRED, _S.CANCELLED})
_ANSWERS: Final = {ReviewWord.APPROVE: Action.APPROVE, ReviewWord.SEND_MISSING_PART: Action.SEND_PART}


def next_state(state: ReturnState | None, action: Action) -> ReturnState:
    """Return the state after the action. Raises RETURN_STATUS if the table has no such transition."""
    following = TRANSITIONS.get((state, action))
    if following is None:
        raise refuse(refusals.ReturnIs(state, is_final=state not in _STATES_THAT_GO_ON))
    return following


_STATES_THAT_GO_ON: Final = frozenset(state for state, _ in TRANSITIONS)


class Step(Struct, frozen=True, kw_only=True):
    """One transition of a return: the new return, its changes for the webhook, and its entry in the timeline."""

    action: Action
    returned: Return
    changes: ReturnChanges | None = None

    @property
    def event(self) -> ReturnEventType | None:
        """The type of the webhook, or None if no field of the contract's list has changed."""
        if self.changes is None:
            return ReturnEventType.CREATED
        return ReturnEventType.UPDATED if self.changes != _NO_CHANGES else None


_NO_CHANGES: Final = ReturnChanges()


def request(goods: ReturnedGoods, settings: Settings, now: datetime) -> Step:
    """Request a return; one that needs no review travels back at once."""
    created_at = now.astimezone(UTC).replace(microsecond=0)
    reasons = [line.return_reason for line in goods.lines]
    is_reviewed = needs_review(reasons, goods.delivered_at, settings.withdrawal_days, now)
    action = Action.REQUEST if is_reviewed else Action.REQUEST_WITHOUT_REVIEW
    returned = Return(
        return_code=goods.return_code,
        return_uuid=goods.return_uuid,
        shop_id=goods.shop_id,
        order_code=goods.order_code,
        state=next_state(None, action),
        created_at=created_at,
        return_line_items=goods.lines,
        is_virtual=goods.is_virtual,
        is_from_warehouse=goods.is_from_warehouse,
        review_until=created_at + timedelta(hours=settings.review_hours) if is_reviewed else None,
    )
    if not is_reviewed:
        returned = _set_shipment(returned, goods.shipment)
    return Step(action=action, returned=returned)


def review(returned: Return, answer: ReviewRequest, shipment: Shipment, now: datetime) -> Step:
    """Record the shop's only decision on a return. Raises RETURN_STATUS, REVIEW_OPTION, REVIEW_COMMENT,
    REVIEW_COMMENT_LENGTH, in this order (docs/contract.md#section-7)."""
    check_under_review(returned, now)
    decision = decide(answer, options_of(returned))
    action = _ANSWERS.get(decision.option, Action.REFUSE)
    new = replace(_through(returned, action), decision=decision)
    return _make_step(action, returned, _set_shipment(new, shipment) if action is Action.APPROVE else new)


def check_under_review(returned: Return, now: datetime) -> None:
    """Check that the return waits for the shop's review and its deadline has not passed. Raises RETURN_STATUS."""
    if returned.state is not ReturnState.PENDING_MERCHANT_REVIEW or _is_late(returned, now):
        raise refuse(refusals.NotInReview())


def expire(returned: Return, now: datetime) -> Step:
    """Expire a return without a decision. Raises RETURN_STATUS, also before its time."""
    new = _through(returned, Action.EXPIRE)
    if not _is_late(returned, now):
        raise refuse(refusals.StillInReview())
    return _make_step(Action.EXPIRE, returned, new)


def cancel(returned: Return) -> Step:
    """Cancel the return: the customer keeps the goods. Raises RETURN_STATUS."""
    return _make_step(Action.CANCEL, returned, _through(returned, Action.CANCEL))


def hand_over(returned: Return, tracking_ids: Sequence[str]) -> Step:
    """Record the hand-over to the courier, with its tracking ids. Raises RETURN_STATUS."""
    new = _through(returned, Action.HAND_OVER)
    _check_shipment(returned)
    known = tuple(dict.fromkeys((*returned.courier_tracking_ids, *tracking_ids)))
    return _make_step(Action.HAND_OVER, returned, replace(new, courier_tracking_ids=known))


def reassign(returned: Return, courier: str, tracking_ids: Sequence[str]) -> Step:
    """Change the courier. Without new tracking ids, the old ones remain. Raises RETURN_STATUS."""
    new = _through(returned, Action.REASSIGN)
    _check_shipment(returned)
    known = tuple(dict.fromkeys(tracking_ids)) or returned.courier_tracking_ids
    return _make_step(Action.REASSIGN, returned, replace(new, courier=courier, courier_tracking_ids=known))


def arrive(returned: Return) -> Step:
    """Record the arrival; an inspection follows. Raises RETURN_STATUS."""
    new = _through(returned, Action.ARRIVE)
    _check_shipment(returned)
    return _make_step(Action.ARRIVE, returned, new)


def take_back(returned: Return) -> Step:
    """Complete the return: the shop takes the goods back. Raises RETURN_STATUS."""
    return _make_step(Action.TAKE_BACK, returned, _through(returned, Action.TAKE_BACK))


def inspect(returned: Return, *, accepted: bool) -> Step:
    """Inspect the arrived goods: take them back, or turn them down. Raises RETURN_STATUS."""
    if returned.state is not ReturnState.PENDING_PHYSICAL_REVIEW:
        next_state(returned.state, Action.TURN_DOWN)
    action = Action.TAKE_BACK if accepted else Action.TURN_DOWN
    return _make_step(action, returned, _through(returned, action))


def announce(returned: Return) -> Step:
    """Announce the return with a new created event, in its current state (docs/contract.md#section-8)."""
    return Step(action=Action.ANNOUNCE, returned=returned)


def _through(returned: Return, action: Action) -> Return:
    return replace(returned, state=next_state(returned.state, action))


def _set_shipment(returned: Return, shipment: Shipment) -> Return:
    if returned.is_virtual:
        return returned
    return replace(returned, courier=shipment.courier, returning_address=shipment.address)


def _check_shipment(returned: Return) -> None:
    if not returned.has_shipment:
        raise refuse(refusals.NoShipment())


def _is_late(returned: Return, now: datetime) -> bool:
    return returned.review_until is not None and now >= returned.review_until


def _make_step(action: Action, old: Return, new: Return) -> Step:
    """Return the step from one return to the next. `changes` has those of the contract's four fields that differ. An
    empty old value becomes null. Tracking ids appear only if the new return has some."""
    changes = ReturnChanges(
        state=Change(old=old.state, new=new.state) if old.state != new.state else UNSET,
        courier=Change(old=old.courier, new=new.courier) if old.courier != new.courier else UNSET,
        returning_address=Change(old=old.returning_address, new=new.returning_address)
        if old.returning_address != new.returning_address
        else UNSET,
        courier_tracking_ids=Change(old=list(old.courier_tracking_ids) or None, new=list(new.courier_tracking_ids))
        if new.courier_tracking_ids and old.courier_tracking_ids != new.courier_tracking_ids
        else UNSET,
    )
    return Step(action=action, returned=new, changes=changes)
