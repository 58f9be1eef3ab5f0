"""The mixture of faults of `kalathi serve --rough`.

It is mild: every call and webhook succeeds within a few attempts, and a client that follows the contract answers each
order. So it has no 4xx except 429, because a client may give up after one (a scan of a feed is a 422); new words only
of the payment method, because an order in an unknown state waits for a person; and only ids change between text and
number, because the contract promises numbers for everything else.
"""

from typing import Final

from kalathi.marketplace.sandbox.faults import FaultKind, FaultPlace, FaultRule

_API, _HOOKS = FaultPlace.API, FaultPlace.WEBHOOKS
_BODIES: Final = (
    (FaultKind.UNKNOWN_MEMBER, 0.2, None),
    (FaultKind.NEW_WORD, 0.05, "payment_method"),
    (FaultKind.ABSENT_MEMBER, 0.05, None),
    (FaultKind.NULL_MEMBER, 0.05, None),
    (FaultKind.NUMBER_AS_TEXT, 0.05, "id"),
    (FaultKind.LAYOUT, 0.1, None),
)

ROUGH: Final[tuple[FaultRule, ...]] = (
    FaultRule(on=_API, kind=FaultKind.DELAY, probability=0.05, seconds=0.3),
    FaultRule(on=_API, kind=FaultKind.ERROR, probability=0.03, retry_after_seconds=1),
    FaultRule(on=_API, kind=FaultKind.RATE_LIMIT, probability=0.02, retry_after_seconds=1),
    FaultRule(on=_API, kind=FaultKind.DROP, probability=0.01),
    FaultRule(on=_API, kind=FaultKind.DROP, probability=0.02, after=True),
    FaultRule(on=_HOOKS, kind=FaultKind.DELAY, probability=0.05, seconds=0.3),
    FaultRule(on=_HOOKS, kind=FaultKind.DUPLICATE, probability=0.1),
    FaultRule(on=_HOOKS, kind=FaultKind.REORDER, probability=0.05, seconds=2),
    FaultRule(on=_HOOKS, kind=FaultKind.ERROR, probability=0.02),
    FaultRule(on=_HOOKS, kind=FaultKind.DROP, probability=0.02, after=True),
    *(
        FaultRule(on=place, kind=kind, probability=probability, member=member)
        for place in FaultPlace
        for kind, probability, member in _BODIES
    ),
)
