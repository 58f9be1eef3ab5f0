"""`kalathi faults`: the fault rules of a running sandbox, of the whole marketplace or of one shop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from kalathi.cli.completing import complete_shops
from kalathi.cli.operating import operate, operator_options, show

T = TypeVar("T", bound=Callable[..., Any])

# The kinds of `FaultKind`; a test compares them.
KINDS: Final = (
    *("delay", "error", "rate_limit", "drop", "timeout", "duplicate", "reorder", "scanning"),
    *("unknown_member", "new_word", "absent_member", "null_member", "number_as_text", "text_as_number", "layout"),
)

_shop_option = click.option(
    "--shop", "shop_id", default=None, help="Show or change the rules of this shop only.", shell_complete=complete_shops
)


@click.group()
def faults() -> None:
    """Inject faults into the sandbox: into the API's answers and into webhooks.

    Without --shop, the commands show and change the rules of the whole marketplace. With --shop, they show and change
    the shop's own rules, which have their own seed.
    """


@faults.command("list")
@_shop_option
@operator_options
def faults_list(shop_id: str | None, data: Path, url: str, token: str, as_json: bool) -> None:
    """List the fault rules."""
    answer = operate(data, url, token, lambda operator: operator.faults(shop_id))
    show(as_json, answer, _as_lines(answer, shop_id))


@faults.command("add")
@click.argument("place", type=click.Choice(["api", "webhooks"]))
@click.argument("kind", type=click.Choice(KINDS))
@_shop_option
@click.option("--call", default=None, help="Only this call (accept, show, list) or event type (new_order).")
@click.option("--probability", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 60),
    default=1.0,
    show_default=True,
    help="Duration of delay, timeout and reorder.",
)
@click.option("--status", type=click.IntRange(400, 599), default=503, show_default=True, help="Status of error.")
@click.option("--retry-after", "retry_after_seconds", type=click.IntRange(0, 3600), default=5, show_default=True)
@click.option("--after", is_flag=True, help="Do the work, then lose the answer.")
@click.option("--member", default=None, help="Change only this member of the body, such as payment_method.")
@click.option("--seed", type=int, default=None, help="A new seed for all rules.")
@operator_options
def faults_add(
    place: str,
    kind: str,
    shop_id: str | None,
    seed: int | None,
    data: Path,
    url: str,
    token: str,
    as_json: bool,
    **members: Any,
) -> None:
    """Add a rule. It replaces the rough mixture.

    \b
    kalathi faults add api error --status 502 --probability 0.2
    kalathi faults add api new_word --member payment_method
    kalathi faults add webhooks drop --after --shop YlpD0KROym
    """
    # Only the members that the caller set, so that `list` shows no defaults.
    source = click.get_current_context().get_parameter_source
    rule = {"on": place, "kind": kind}
    rule |= {name: value for name, value in members.items() if source(name) is not ParameterSource.DEFAULT}

    async def add(operator: Any) -> Any:
        answer = await operator.faults(shop_id)
        chosen = answer["seed"] if seed is None else seed
        return await operator.replace_rules(chosen, [*answer["rules"], rule], shop_id=shop_id)

    answer = operate(data, url, token, add)
    show(as_json, answer, _as_lines(answer, shop_id))


@faults.command("rough")
@_shop_option
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed gives other faults.")
@operator_options
def faults_rough(shop_id: str | None, seed: int, data: Path, url: str, token: str, as_json: bool) -> None:
    """Turn on the rough mixture: a mild mixture of faults, as with `kalathi serve --rough`. It replaces the rules."""
    answer = operate(data, url, token, lambda operator: operator.replace_rules(seed, [], rough=True, shop_id=shop_id))
    show(as_json, answer, _as_lines(answer, shop_id))


@faults.command("clear")
@_shop_option
@operator_options
def faults_clear(shop_id: str | None, data: Path, url: str, token: str, as_json: bool) -> None:
    """Remove all rules, and turn off the rough mixture. Without --shop, the rules of single shops stay."""
    answer = operate(data, url, token, lambda operator: operator.replace_rules(1, [], shop_id=shop_id))
    show(as_json, answer, _as_lines(answer, shop_id))


def _as_lines(answer: dict[str, Any], shop_id: str | None) -> str:
    lines = [" ".join(f"{name}={value}" for name, value in rule.items()) for rule in answer["rules"]]
    if answer["rough"]:
        clear = "kalathi faults clear" if shop_id is None else f"kalathi faults clear --shop {shop_id}"
        lines.append(f"The rough mixture is on: a mild mixture of faults. `{clear}` turns it off.")
    lines = [*lines, f"seed {answer['seed']}"] if lines else ["There are no fault rules."]
    shops = answer.get("shops", ())
    others = [f"Shop {name} has rules of its own: kalathi faults list --shop {name}" for name in shops]
    return "\n".join([*lines, *others])
