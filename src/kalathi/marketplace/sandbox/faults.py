"""Seeded faults of API answers and deliveries. Whether a rule applies depends only on the seed, the rule's position in
its set, and the target, so that a run can be repeated."""

import hashlib
import random
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct


class FaultPlace(StrEnum):
    """The places of faults: answers of the API, or deliveries of webhooks."""

    API = "api"
    WEBHOOKS = "webhooks"


class FaultKind(StrEnum):
    """The kinds of faults. The first group delays, replaces or loses an answer. The second group changes one place of a
    JSON body (body_faults.py)."""

    DELAY = "delay"
    ERROR = "error"
    RATE_LIMIT = "rate_limit"
    DROP = "drop"
    TIMEOUT = "timeout"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    SCANNING = "scanning"

    UNKNOWN_MEMBER = "unknown_member"
    NEW_WORD = "new_word"
    ABSENT_MEMBER = "absent_member"
    NULL_MEMBER = "null_member"
    NUMBER_AS_TEXT = "number_as_text"
    TEXT_AS_NUMBER = "text_as_number"
    LAYOUT = "layout"


WEBHOOK_KINDS: Final = frozenset({FaultKind.DUPLICATE, FaultKind.REORDER})
API_KINDS: Final = frozenset({FaultKind.SCANNING})
# The calls to which a kind can apply; other kinds apply to every call.
CALLS_OF_KINDS: Final = {FaultKind.SCANNING: frozenset({"send_batch", "validate_batch"})}
BODY_KINDS: Final = frozenset(
    {
        FaultKind.UNKNOWN_MEMBER,
        FaultKind.NEW_WORD,
        FaultKind.ABSENT_MEMBER,
        FaultKind.NULL_MEMBER,
        FaultKind.NUMBER_AS_TEXT,
        FaultKind.TEXT_AS_NUMBER,
        FaultKind.LAYOUT,
    }
)


class FaultRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule for one kind of fault.

    `probability` applies to each call or attempt; for faults in bodies of webhooks, to each event. `shop_id` and `call`
    limit the rule to one shop, and to one action (`accept`, `show`, `list`) or event type. `seconds` is the length of a
    delay or a timeout, in real time, or the time for which a reordered event is held back. With `after`, the work is
    done and only its answer is lost. `member` limits a fault in a body to one member, such as `payment_method`. With
    `times`, the rule applies to a shop's first matching calls or attempts only; each process counts for itself.
    """

    on: FaultPlace
    kind: FaultKind
    probability: Annotated[float, Meta(gt=0, le=1)] = 1.0
    shop_id: Annotated[str, Meta(max_length=50)] | None = None
    call: Annotated[str, Meta(max_length=50)] | None = None
    seconds: Annotated[float, Meta(ge=0, le=60)] = 1.0
    status: Annotated[int, Meta(ge=400, le=599)] = 503
    retry_after_seconds: Annotated[int, Meta(ge=0, le=3600)] = 5
    after: bool = False
    member: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    times: Annotated[int, Meta(ge=1, le=1000)] | None = None


class Faults(Struct, frozen=True, kw_only=True):
    """A set of fault rules, of the whole marketplace or of one shop. A new set replaces the set before it. With
    `rough`, a mild mixture of faults applies too."""

    seed: int = 1
    rules: Annotated[tuple[FaultRule, ...], Meta(max_length=100)] = ()
    rough: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether no fault can apply."""
        return not self.rules and not self.rough


class Target(NamedTuple):
    """A possible target of a fault: its place, its shop, its call or event type, and a name that is unique in its
    place."""

    on: FaultPlace
    shop_id: str
    call: str
    name: str


class Injection(NamedTuple):
    """A rule that applies to a target. `seed` depends only on the rule's set, the rule's `position` and the target."""

    rule: FaultRule
    seed: str
    position: str

    def make_chance(self) -> random.Random:
        """Return the random source of this injection. It always gives the same numbers."""
        return random.Random(self.seed)  # noqa: S311  (a fault that can be repeated is no secret)


class PlacedRule(NamedTuple):
    """A rule and its position in its set, such as `0`."""

    position: str
    rule: FaultRule


def find_injections(rules: Sequence[PlacedRule], seed: int, target: Target) -> list[Injection]:
    """Return the rules that apply to this target, in their order."""
    found = []
    for position, rule in rules:
        if (
            rule.on is target.on
            and rule.shop_id in {None, target.shop_id}
            and rule.call in {None, target.call}
            and target.call in CALLS_OF_KINDS.get(rule.kind, {target.call})
            and _chance(injection_seed := f"{seed}:{position}:{target.name}") < rule.probability
        ):
            found.append(Injection(rule, injection_seed, position))
    return found


def _chance(injection_seed: str) -> float:
    """Return a pseudo-random number from 0 to 1 that depends only on the argument."""
    digest = hashlib.blake2b(injection_seed.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
