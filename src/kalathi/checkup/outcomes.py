"""The outcomes of an expectation: met, missed, or not to be judged."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kalathi.marketplace.sandbox.checkup_report import Text


class Miss(NamedTuple):
    """An expectation that is not met: the expected and the seen, and the webhooks and calls that show it."""

    expected: Text
    seen: Text
    webhooks: tuple[Mapping[str, Any], ...] = ()
    calls: tuple[Mapping[str, Any], ...] = ()


class NotSeen(NamedTuple):
    """An expectation that cannot be judged, with the reason."""

    reason: Text


Outcome = tuple[Miss, ...] | NotSeen
MET: Final[Outcome] = ()
