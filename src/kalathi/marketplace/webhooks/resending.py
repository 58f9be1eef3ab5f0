"""Send events again by hand (docs/contract.md#section-4): the frozen bytes, whatever their earlier outcome."""

from kalathi.marketplace.kernel.due import DueKind, bring_forward, find_planned, plan
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.webhooks import store


def plan_latest_resend(view: View, shop_id: str, subject: str, now_millis: int) -> tuple[ChangeSet, str]:
    """Make the latest event of a subject due now, and return the name of its delivery. Raises NOT_FOUND if there is no
    event."""
    sequence = store.last_sequence(view, shop_id, subject)
    if not sequence:
        raise DomainError(ErrorCode.NOT_FOUND, "Nothing was told of this yet.")
    return plan_resend(view, shop_id, subject, sequence, now_millis), store.delivery_id(shop_id, subject, sequence)


def plan_resend(view: View, shop_id: str, subject: str, sequence: int, now_millis: int) -> ChangeSet:
    """Make an event due now. Its attempts are counted on, so an event that has used up its attempts gets exactly one
    more. If the event waits for the event that opens its subject, that one is made due now instead, and this one
    follows it."""
    opening = store.opening_under_way(view, shop_id, subject)
    if opening is not None and opening.sequence < sequence:
        return bring_forward(opening, now_millis) if opening.kind is DueKind.DELIVERY else ChangeSet()
    waiting = find_planned(view, DueKind.DELIVERY, shop_id, subject, sequence)
    if waiting is not None:
        return bring_forward(waiting, now_millis)
    attempts = store.count_attempts(view, shop_id, subject, sequence)
    return ChangeSet(
        plan(DueKind.DELIVERY, shop_id, subject, sequence, due_at=now_millis, anchor_at=now_millis, attempts=attempts)
    )
