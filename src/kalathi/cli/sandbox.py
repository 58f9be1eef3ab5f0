"""`kalathi clock` and `faults`: the sandbox of a running marketplace."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from kalathi.cli.operating import fail, operate, operator_options, show

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.command()
@click.argument("move", required=False)
@operator_options
def clock(move: str | None, data: Path, url: str, token: str, as_json: bool) -> None:
    """Show business time, or move it forward. Everything due in that time runs before the command returns.

    \b
    kalathi clock                              the time that it is
    kalathi clock +90s                         also +30m, +24h, +3d
    kalathi clock 2026-12-01T12:00:00+02:00    a time with its offset
    """
    body = None if move is None else _move(move)
    answer = operate(data, url, token, lambda operator: operator.clock(body))
    show(as_json, answer, answer["now"])


@click.group()
def faults() -> None:
    """Inject faults into the sandbox: into the API's answers and into deliveries."""


@faults.command("list")
@operator_options
def faults_list(data: Path, url: str, token: str, as_json: bool) -> None:
    """List the fault rules."""
    laid = operate(data, url, token, lambda operator: operator.faults())
    show(as_json, laid, _as_lines(laid))


@faults.command("add")
@click.argument("place", type=click.Choice(["api", "webhooks"]))
@click.argument("kind", type=click.Choice(["delay", "error", "rate_limit", "drop", "timeout", "duplicate", "reorder"]))
@click.option("--shop", "shop_id", default=None, help="Only this shop.")
@click.option("--call", default=None, help="Only this call (accept, show, list) or event type (new_order).")
@click.option("--probability", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 60),
    default=1.0,
    show_default=True,
    help="Duration of delay, timeout and reorder.",
)
@click.option("--status", type=click.IntRange(500, 599), default=503, show_default=True, help="Status of error.")
@click.option("--retry-after", "retry_after_seconds", type=click.IntRange(0, 3600), default=5, show_default=True)
@click.option("--after", is_flag=True, help="Do the work, then lose the answer.")
@click.option("--seed", type=int, default=None, help="A new seed for all rules.")
@operator_options
def faults_add(
    place: str, kind: str, seed: int | None, data: Path, url: str, token: str, as_json: bool, **facts: Any
) -> None:
    """Add a rule.

    \b
    kalathi faults add api error --status 502 --probability 0.2
    kalathi faults add webhooks drop --after --shop YlpD0KROym
    """
    rule = {"on": place, "kind": kind} | {name: value for name, value in facts.items() if value is not None}

    async def add(operator: Any) -> Any:
        laid = await operator.faults()
        return await operator.lay_down(laid["seed"] if seed is None else seed, [*laid["rules"], rule])

    laid = operate(data, url, token, add)
    show(as_json, laid, _as_lines(laid))


@faults.command("clear")
@operator_options
def faults_clear(data: Path, url: str, token: str, as_json: bool) -> None:
    """Remove all fault rules."""
    laid = operate(data, url, token, lambda operator: operator.lay_down(1, []))
    show(as_json, laid, _as_lines(laid))


def _as_lines(laid: dict[str, Any]) -> str:
    rules = [" ".join(f"{name}={value}" for name, value in rule.items()) for rule in laid["rules"]]
    return "\n".join([*rules, f"seed {laid['seed']}"]) if rules else "Nothing goes wrong on purpose."


def _move(text: str) -> dict[str, Any]:
    number, unit = text[1:-1], text[-1]
    if text.startswith("+") and unit in _UNITS and number.isascii() and number.isdigit():
        return {"advance_seconds": int(number) * _UNITS[unit]}
    try:
        has_offset = datetime.fromisoformat(text).utcoffset() is not None
    except ValueError:
        has_offset = False
    if not has_offset:
        fail(
            f"{text} is neither a move of the clock such as +90s, +30m, +24h or +3d nor a time with its offset such as"
            " 2026-12-01T12:00:00+02:00."
        )
    return {"now": text}
