"""The orders and returns of a running check, the terms of the run, and the two early ends of a check."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct, field

from kalathi.checkup.probes import Probe
from kalathi.marketplace.sandbox.checks import Claim
from kalathi.marketplace.sandbox.checkup_report import Finding, Text


class Cast(Struct):
    """The orders and returns of a running check, oldest first, and the code of a forged webhook."""

    orders: list[str] = field(default_factory=list)
    returns: list[str] = field(default_factory=list)
    forged: str = ""

    def list_judged(self) -> list[tuple[str, bool]]:
        """Return every order and return that is judged, each with whether it is a return."""
        return [(code, False) for code in self.orders] + [(code, True) for code in self.returns]

    def list_codes(self) -> list[str]:
        """Return the code of each order and return, and that of a forged webhook."""
        return [*self.orders, *self.returns, *([self.forged] if self.forged else [])]

    def find_subjects(self, on: str) -> list[tuple[str, bool]]:
        """Return the orders or returns of a step or an expectation, each with whether it is a return."""
        match on:
            case "all":
                return [(code, False) for code in self.orders]
            case "newest":
                return [(self.orders[-1], False)]
            case "return":
                return [(self.returns[-1], True)]
            case "first_return":
                return [(self.returns[0], True)]
            case "forged":
                return [(self.forged, False)]
            case _:
                return [(self.orders[0], False)]


class Terms(NamedTuple):
    """The terms of a run: the claimed abilities, the seed of its products, and the probe. `has_products`: the shop's
    system knows the products of the run, with their pieces."""

    claims: frozenset[Claim]
    seed: str
    probe: Probe | None = None
    has_products: bool = True


class Ended(Exception):  # noqa: N818  (it ends a check, it is not an error)
    """The check cannot go on: the shop did not act. `findings` say why."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__()
        self.findings = tuple(findings)


class NotPossible(Exception):  # noqa: N818  (it ends a check, it is not an error)
    """The check cannot be judged, for this reason."""

    def __init__(self, reason: Text) -> None:
        super().__init__()
        self.reason = reason
