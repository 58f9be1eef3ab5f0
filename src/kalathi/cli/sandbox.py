"""`kalathi clock` and `trigger`: the sandbox of a running marketplace."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kalathi.cli.operating import fail, operate, operator_options, show

if TYPE_CHECKING:
    from kalathi.simulation.operator import OperatorClient
    from kalathi.simulation.outcomes import WebhookOutcome

# Longer than the usual time limit of a webhook.
_OUTCOMES_SECONDS = 15.0
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


@click.command()
@click.argument("scenario", required=False)
@click.option("--list", "lists", is_flag=True, help="List the scenarios, each with one sentence.")
@click.option("--shop", "shop_id", default="", help="The shop's id; optional if there is only one shop.")
@click.option("--set", "values", multiple=True, metavar="PATH=VALUE", help="Another value at a path; may be repeated.")
@click.option("--check", is_flag=True, help="End with status 1 unless every webhook was delivered.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the webhooks, and do not show their outcomes.")
@operator_options
def trigger(
    scenario: str | None,
    lists: bool,
    shop_id: str,
    values: tuple[str, ...],
    check: bool,
    no_wait: bool,
    data: Path,
    url: str,
    token: str,
    as_json: bool,
) -> None:
    """Play a named scenario for a shop, and show the outcome of each webhook.

    \b
    kalathi trigger --list
    kalathi trigger late_cancellation --shop YlpD0KROym
    kalathi trigger new_order --shop YlpD0KROym --check
    kalathi trigger limited_stock --shop YlpD0KROym --set "order.line_items[0].quantity=3"
    """
    if lists or scenario is None:
        entries = operate(data, url, token, lambda operator: operator.scenarios())
        width = max(len(entry["name"]) for entry in entries)
        show(as_json, entries, "\n".join(f"{entry['name']:{width}}  {entry['sentence']}" for entry in entries))
        return
    chosen = shop_id or _only_shop(data, url, token)
    changes = dict(_setting(value) for value in values)
    if check and no_wait:
        fail("--check needs the outcomes, so leave out --no-wait.")

    async def play(operator: "OperatorClient") -> tuple[dict[str, Any], list["WebhookOutcome"]]:
        from kalathi.simulation.outcomes import webhook_outcomes

        played = await operator.play(scenario, chosen, changes)
        subjects = [entry["code"] for entry in [*played["orders"], *played["returns"]]]
        limit_seconds = _OUTCOMES_SECONDS
        outcomes = [] if no_wait else await webhook_outcomes(operator, subjects, limit_seconds=limit_seconds)
        return played, outcomes

    played, outcomes = operate(data, url, token, play)
    lines = [f"{step['do']:18} {step.get('state', '')} {step.get('note', '')}".rstrip() for step in played["steps"]]
    lines += [f"order {order['code']}: {order['state']}" for order in played["orders"]]
    lines += [outcome.line() for outcome in outcomes]
    show(as_json, played | {"webhooks": [outcome._asdict() for outcome in outcomes]}, "\n".join(lines))
    if check and not all(outcome.is_delivered for outcome in outcomes):
        sys.exit(1)


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


def _setting(text: str) -> tuple[str, Any]:
    path, separator, value = text.partition("=")
    if not separator:
        fail(f"--set {text}: give PATH=VALUE, such as order.line_items[0].quantity=3.")
    if not value.startswith(("{", "[", '"')):
        return path, value  # A text or a number; the marketplace decides by the field.
    try:
        return path, json.loads(value)
    except ValueError as error:
        fail(f"--set {text}: the value is not JSON: {error}.")


def _only_shop(data: Path, url: str, token: str) -> str:
    shops = operate(data, url, token, lambda operator: operator.shops())
    if len(shops) != 1:
        fail(f"there are {len(shops)} shops: name one with --shop (kalathi shop list).")
    return str(shops[0]["id"])
