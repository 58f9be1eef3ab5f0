"""The checks of new fault rules."""

from collections.abc import Iterator
from typing import Final

from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.sandbox.body_faults import list_members, takes_member
from kalathi.marketplace.sandbox.faults import (
    API_KINDS,
    BODY_KINDS,
    CALLS_OF_KINDS,
    WEBHOOK_KINDS,
    FaultKind,
    FaultPlace,
    FaultRule,
    Faults,
)

# A worker that ends waits for its running deliveries, but not for long.
_LONGEST_OF_WEBHOOKS_SECONDS: Final = 8.0
_RATE_LIMITED: Final = 429


def check_faults(faults: Faults, shop_id: str = "") -> None:
    """Check a rule set, of one shop if `shop_id` is given. Raises INVALID_PARAMETER with a sentence for each value that
    a rule's place, kind or shop does not allow."""
    wrong = [
        f"rules[{number}].{member}: {sentence}"
        for number, rule in enumerate(faults.rules)
        for member, sentence in find_rule_mistakes(rule, shop_id)
    ]
    if wrong:
        raise invalid_parameter(*wrong[:10])


def find_rule_mistakes(rule: FaultRule, shop_id: str = "") -> Iterator[tuple[str, str]]:
    """Yield each member whose value the rule's place, kind or shop does not allow, with a sentence that says why.
    `shop_id` names the shop of the rule set, if it is the set of one shop."""
    is_api = rule.on is FaultPlace.API
    if is_api and rule.kind in WEBHOOK_KINDS:
        yield "kind", f"{rule.kind} is for webhooks only."
    if not is_api and rule.kind in API_KINDS:
        yield "kind", f"{rule.kind} is for the API only."
    calls = CALLS_OF_KINDS.get(rule.kind)
    if is_api and calls is not None and rule.call not in {None, *calls}:
        yield "call", f"{rule.kind} applies to {' and '.join(sorted(calls))} only."
    if not is_api and rule.kind in {FaultKind.DELAY, FaultKind.TIMEOUT} and rule.seconds > _LONGEST_OF_WEBHOOKS_SECONDS:
        yield "seconds", f"at most {_LONGEST_OF_WEBHOOKS_SECONDS:g} on webhooks."
    if is_api and rule.kind is FaultKind.ERROR and rule.status == _RATE_LIMITED:
        yield "status", "429 is the kind rate_limit."
    if rule.member is not None and not takes_member(rule.kind, rule.member):
        members = ", ".join(list_members(rule.kind))
        instead = f"it changes {members}" if members else "leave member out"
        yield "member", f"{rule.kind} does not change {rule.member}; {instead}."
    if rule.times is not None and rule.kind in BODY_KINDS:
        yield "times", f"{rule.kind} changes a body, and a body is the same at each attempt; leave times out."
    if shop_id and rule.shop_id not in {None, shop_id}:
        yield "shop_id", f"these are the rules of shop {shop_id}; leave shop_id out."
