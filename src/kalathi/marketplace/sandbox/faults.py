"""Seeded faults of API answers and deliveries. Whether a rule applies depends only on the seed, the rule's position in
the list, and its target, so that a run can be repeated."""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from kalathi.marketplace.kernel.errors import invalid_parameter


class FaultPlace(StrEnum):
    """The places of faults: answers of the API, or deliveries of webhooks."""

    API = "api"
    WEBHOOKS = "webhooks"


class FaultKind(StrEnum):
    """The kinds of faults."""

    DELAY = "delay"
    ERROR = "error"
    RATE_LIMIT = "rate_limit"
    DROP = "drop"
    TIMEOUT = "timeout"
    DUPLICATE = "duplicate"
    REORDER = "reorder"


_OF_WEBHOOKS_ONLY: Final = frozenset({FaultKind.DUPLICATE, FaultKind.REORDER})
# A worker that ends waits for its running deliveries, but not for long.
_LONGEST_OF_WEBHOOKS_SECONDS: Final = 8.0


class FaultRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule for one kind of fault.

    `probability` applies to each call or attempt. `shop_id` and `call` limit the rule to one shop, and to one action
    (`accept`, `show`, `list`) or event type. `seconds` is the length of a delay or a timeout, in real time, or the time
    for which a reordered event is held back. With `after`, the work is done and only its answer is lost.
    """

    on: FaultPlace
    kind: FaultKind
    probability: Annotated[float, Meta(gt=0, le=1)] = 1.0
    shop_id: Annotated[str, Meta(max_length=50)] | None = None
    call: Annotated[str, Meta(max_length=50)] | None = None
    seconds: Annotated[float, Meta(ge=0, le=60)] = 1.0
    status: Annotated[int, Meta(ge=500, le=599)] = 503
    retry_after_seconds: Annotated[int, Meta(ge=0, le=3600)] = 5
    after: bool = False


class Faults(Struct, frozen=True, kw_only=True):
    """`PUT /marketplace/faults`: the fault rules, which replace all earlier ones."""

    seed: int = 1
    rules: Annotated[tuple[FaultRule, ...], Meta(max_length=100)] = ()


class Struck(NamedTuple):
    """A possible target of a fault: its place, its shop, its call or event type, and a name that is
    unique in its kind."""

    on: FaultPlace
    shop_id: str
    call: str
    name: str


def check_faults(faults: Faults) -> None:
    """Check the rules. Raises INVALID_PARAMETER for a kind or a duration that a rule's place does not allow."""
    wrong = []
    for place, rule in enumerate(faults.rules):
        if rule.on is FaultPlace.API and rule.kind in _OF_WEBHOOKS_ONLY:
            wrong.append(f"rules[{place}].kind: {rule.kind} is for webhooks only.")
        if rule.on is FaultPlace.WEBHOOKS and rule.seconds > _LONGEST_OF_WEBHOOKS_SECONDS and _waits(rule):
            wrong.append(f"rules[{place}].seconds: at most {_LONGEST_OF_WEBHOOKS_SECONDS:g} on webhooks.")
    if wrong:
        raise invalid_parameter(*wrong[:10])


def strikes(faults: Faults, what: Struck) -> Sequence[FaultRule]:
    """Return the rules that apply to this target, in their order."""
    return [
        rule
        for place, rule in enumerate(faults.rules)
        if rule.on is what.on
        and rule.shop_id in {None, what.shop_id}
        and rule.call in {None, what.call}
        and _chance(faults.seed, place, what.name) < rule.probability
    ]


def _waits(rule: FaultRule) -> bool:
    return rule.kind in {FaultKind.DELAY, FaultKind.TIMEOUT}


def _chance(seed: int, place: int, name: str) -> float:
    """Return a pseudo-random number from 0 to 1 that depends only on the arguments."""
    digest = hashlib.blake2b(f"{seed}:{place}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
