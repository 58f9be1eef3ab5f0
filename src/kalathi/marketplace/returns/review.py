"""The merchant's review of a return request (docs/contract.md#section-7): its options, and checks of an answer."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from msgspec import UNSET, UnsetType

from kalathi.contract.requests import ReviewRequest
from kalathi.contract.returns import ReviewOption
from kalathi.contract.words import ReturnReason, ReviewWord
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.returns import refusals
from kalathi.marketplace.returns.model import Decision, Return

_LONGEST_COMMENT: Final = 1000
_LONGEST_URL: Final = 2000
_OUT_OF_POLICY: Final = "Η αίτηση υπαναχώρησης υποβλήθηκε μετά τη λήξη της προθεσμίας."


def _rejects(word: ReviewWord, *, comment: bool = False, url: bool = False) -> ReviewOption:
    return ReviewOption(option=word, comment_required=comment, supports_proposed_part_url_required=url)


_W = ReviewWord
_APPROVE: Final = ReviewOption(option=_W.APPROVE)
_SEND_PART: Final = ReviewOption(option=_W.SEND_MISSING_PART)
# The three lists of the contract, in its order.
FAULTY: Final = (
    _APPROVE,
    _rejects(_W.CONTACT_MANUFACTURER, comment=True),
    _rejects(_W.RESOLVED_VIA_CUSTOMER_COMMUNICATION),
    _rejects(_W.USABILITY_SUGGESTIONS, comment=True),
    _rejects(_W.NOT_FAULTY, comment=True),
)
MISSING_PART: Final = (
    _APPROVE,
    _SEND_PART,
    _rejects(_W.RESOLVED_VIA_CUSTOMER_COMMUNICATION),
    _rejects(_W.PART_NOT_INCLUDED, comment=True, url=True),
    _rejects(_W.INCORRECT_SKROUTZ_CONTENT, comment=True),
)
WITHDRAWAL: Final = (_APPROVE, _rejects(_W.OUT_OF_POLICY_WITHDRAWAL))


def needs_review(
    reasons: Collection[str | None | UnsetType], delivered_at: datetime | None, policy_days: int, now: datetime
) -> bool:
    """Whether the shop must review a return with these reasons. Only withdrawals need no review, within `policy_days`
    of the delivery."""
    if any(reason != ReturnReason.WITHDRAWAL for reason in reasons):
        return True
    return delivered_at is None or now > delivered_at + timedelta(days=policy_days)


def options_of(returned: Return) -> tuple[ReviewOption, ...]:
    """Return the valid options of a review. With several lines, the most serious reason chooses the list: a fault of a
    product, then a missing part, then a withdrawal."""
    reasons = {line.return_reason for line in returned.return_line_items}
    if reasons == {ReturnReason.WITHDRAWAL}:
        return WITHDRAWAL
    if reasons <= {ReturnReason.MISSING_PART, ReturnReason.WITHDRAWAL}:
        # The shop cannot complete goods that the marketplace has sent.
        return tuple(option for option in MISSING_PART if not (returned.is_from_warehouse and option is _SEND_PART))
    return FAULTY


def decide(request: ReviewRequest, options: Collection[ReviewOption]) -> Decision:
    """Return the shop's decision. Raises REVIEW_OPTION, then REVIEW_COMMENT, then REVIEW_COMMENT_LENGTH."""
    option = next((option for option in options if option.option == request.option), None)
    if option is None:
        raise refuse(refusals.BadOption())
    word = ReviewWord(option.option)
    if option.comment_required is UNSET:
        return Decision(option=word)
    comment = request.comment.strip() if isinstance(request.comment, str) else ""
    if option.comment_required and not comment:
        raise refuse(refusals.NoComment())
    if len(comment) > _LONGEST_COMMENT:
        raise refuse(refusals.LongComment(_LONGEST_COMMENT))
    if word is ReviewWord.OUT_OF_POLICY_WITHDRAWAL:
        comment = comment or _OUT_OF_POLICY
    url = request.proposed_part_url if option.supports_proposed_part_url_required else None
    return Decision(
        option=word,
        comment=comment,
        proposed_part_url=url[:_LONGEST_URL] if isinstance(url, str) and url.strip() else None,
    )
