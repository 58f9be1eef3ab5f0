"""Decide how to answer a return request: a pure function of the return and the shop's policy."""

from collections.abc import Sequence
from typing import NamedTuple

from kalathi.contract.returns import Return
from kalathi.contract.words import ReturnReason, ReturnState, ReviewWord


class ReturnPolicy(NamedTuple):
    """The rules for decisions without a person. By default there are none.

    Approve a return if the reason of every line is in `approved_reasons`. With `rejects_late_withdrawals`, reject
    withdrawals that the marketplace's policy does not cover. Nothing else is rejected.
    """

    approved_reasons: frozenset[str] = frozenset()
    rejects_late_withdrawals: bool = False


class Review(NamedTuple):
    """One of the return's review_options."""

    option: str


class WaitForPerson(NamedTuple):
    """The policy does not decide this return. The sentence describes it for a person and names the possible answers."""

    reason: str


class NothingToReview(NamedTuple):
    """The return is not waiting for a review."""


ReturnDecision = Review | WaitForPerson | NothingToReview


def decide_return(returned: Return, policy: ReturnPolicy) -> ReturnDecision:
    """Return the decision on a return. A return with an unknown state or reason is left to a person."""
    if returned.state not in set(ReturnState):
        return WaitForPerson(f'its state "{returned.state}" is unknown to this version: check what it means')
    if returned.state != ReturnState.PENDING_MERCHANT_REVIEW:
        return NothingToReview()
    options = [entry.option for entry in returned.review_options or ()]
    reasons = [line.return_reason for line in returned.return_line_items]
    if reasons and ReviewWord.APPROVE in options and all(reason in policy.approved_reasons for reason in reasons):
        return Review(ReviewWord.APPROVE)
    late = ReviewWord.OUT_OF_POLICY_WITHDRAWAL
    withdrawn = bool(reasons) and all(reason == ReturnReason.WITHDRAWAL for reason in reasons)
    if policy.rejects_late_withdrawals and withdrawn and late in options:
        return Review(late)
    return WaitForPerson(_describe(returned, options))


def _describe(returned: Return, options: Sequence[str]) -> str:
    lines = []
    for line in returned.return_line_items:
        reason = line.return_reason or "no reason given"
        comment = f', "{line.user_comment[:200]}"' if line.user_comment else ""
        photos = f", {len(line.user_photos)} photos" if line.user_photos else ""
        lines.append(f"{line.returning_quantity} of {line.product_name} ({reason}{comment}{photos})")
    answers = f"can be answered with {', '.join(options)}" if options else "shows no options to answer with"
    return f"of order {returned.order_code}: {'; '.join(lines)}; {answers}."
