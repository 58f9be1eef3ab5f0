"""The refusals of the sandbox that its console shows as well."""

from kalathi.marketplace.kernel.errors import ErrorCode, Refusal


class UnknownScenario(Refusal, frozen=True):
    """No scenario has this name. `close` are similar names, `all` the existing ones."""

    close: tuple[str, ...]
    all: tuple[str, ...]
    CODE = ErrorCode.NOT_FOUND

    def on_the_wire(self) -> str:
        """Return the sentence with the similar names, or with all."""
        rest = f"did you mean {' or '.join(self.close)}?" if self.close else f"there are: {', '.join(self.all)}."
        return f"There is no scenario of this name; {rest}"


class NeedsAnotherShop(Refusal, frozen=True):
    """The scenario needs a shop with another setting."""

    scenario: str
    member: str
    wanted: str
    shop: str
    SENTENCE = (
        "Scenario {scenario} needs a shop with {member} {wanted}: PATCH /marketplace/shops/{shop}"
        ' {{"{member}": "{wanted}"}}, or take another shop.'
    )


class StepRefused(Refusal, frozen=True):
    """A step of a scenario was refused, for this reason."""

    number: int
    action: str
    reason: Refusal | str
    SENTENCE = "step {number} ({action}): {reason}"
