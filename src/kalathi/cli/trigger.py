"""`kalathi trigger`: scenarios in the sandbox of a running marketplace."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kalathi.cli.completing import complete_scenarios
from kalathi.cli.operating import Market, fail, operate, operator_options, show
from kalathi.cli.shop_choice import find_only_shop, shop_option
from kalathi.cli.tables import paint_state, render_table
from kalathi.terminal import in_one_line

if TYPE_CHECKING:
    from kalathi.simulation.operator import OperatorClient
    from kalathi.simulation.outcomes import WebhookOutcome


class _Options(NamedTuple):
    """The options of the command's action."""

    scenario: str | None
    lists: bool
    shows: bool
    plays_all: bool
    values: tuple[str, ...]
    check: bool
    no_wait: bool
    junit: str | None


@click.command()
@click.argument("scenario", required=False, shell_complete=complete_scenarios)
@click.option("--list", "lists", is_flag=True, help="List the scenarios, each with one sentence.")
@click.option("--show", "shows", is_flag=True, help="Print the scenario's document with the paths that --set takes.")
@click.option("--all", "plays_all", is_flag=True, help="Play every scenario. End with status 1 if one failed.")
@click.option("--junit", metavar="FILE", help="With --all: write the results as JUnit XML; - is standard output.")
@shop_option
@click.option("--set", "values", multiple=True, metavar="PATH=VALUE", help="Another value at a path; may be repeated.")
@click.option("--check", is_flag=True, help="End with status 1 unless every webhook was delivered.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the webhooks, and do not show their outcomes.")
@operator_options
def trigger(shop_id: str, data: Path, url: str, token: str, as_json: bool, **given: Any) -> None:
    """Play a named scenario for a shop, and show the outcome of each webhook.

    \b
    kalathi trigger --list
    kalathi trigger --show limited_stock
    kalathi trigger late_cancellation --shop YlpD0KROym
    kalathi trigger new_order --shop YlpD0KROym --check
    kalathi trigger limited_stock --shop YlpD0KROym --set "order.line_items[0].quantity=3"
    kalathi trigger --all --shop YlpD0KROym --junit results.xml
    """
    options, market = _Options(**given), Market(data, url, token)
    _check_options(options)
    if options.plays_all:
        from kalathi.cli.scenario_suite import play_suite

        play_suite(market, shop_id or find_only_shop(market), junit=options.junit, as_json=as_json)
    elif options.lists or options.scenario is None:
        _list_scenarios(market, as_json)
    elif options.shows:
        _show_scenario(market, options.scenario, as_json)
    else:
        changes = dict(_setting(value) for value in options.values)
        _play(market, options, options.scenario, shop_id or find_only_shop(market), changes, as_json)


def _check_options(options: _Options) -> None:
    """End with a message if two options contradict each other."""
    if options.check and options.no_wait:
        fail("--check needs the outcomes, so leave out --no-wait.")
    if options.shows and options.scenario is None:
        fail("--show prints one scenario: give its name (kalathi trigger --list).")
    if options.plays_all and (options.scenario or options.values or options.no_wait or options.shows):
        fail("--all plays every scenario as it is: leave out the name, --set, --show and --no-wait.")
    if options.junit is not None and not options.plays_all:
        fail("--junit writes the results of --all: add --all.")


def _list_scenarios(market: Market, as_json: bool) -> None:
    entries = operate(*market, lambda operator: operator.scenarios())
    width = max(len(entry["name"]) for entry in entries)
    show(as_json, entries, "\n".join(f"{entry['name']:{width}}  {entry['sentence']}" for entry in entries))


def _show_scenario(market: Market, name: str, as_json: bool) -> None:
    document = operate(*market, lambda operator: operator.scenario(name))
    rows = [(path, _value_text(value)) for path, value in document["values"].items()]
    needs = ", ".join(f"{setting} {value}" for setting, value in document["requires"].items())
    lines = [document["name"], document["sentence"], *([f"It needs a shop with {needs}."] if needs else [])]
    hint = "Set another value with --set PATH=VALUE. A path may also be a member that the order does not have yet."
    show(as_json, document, "\n\n".join(["\n".join(lines), render_table(("path", "value"), rows), hint]))


def _value_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _play(
    market: Market, options: _Options, scenario: str, shop_id: str, changes: Mapping[str, Any], as_json: bool
) -> None:
    async def play(operator: "OperatorClient") -> tuple[dict[str, Any], list["WebhookOutcome"]]:
        from kalathi.simulation.outcomes import FIRST_ATTEMPTS_SECONDS, webhook_outcomes

        played = await operator.play(scenario, shop_id, dict(changes))
        subjects = [entry["code"] for entry in [*played["orders"], *played["returns"]]]
        limit_seconds = FIRST_ATTEMPTS_SECONDS
        outcomes = [] if options.no_wait else await webhook_outcomes(operator, subjects, limit_seconds=limit_seconds)
        return played, outcomes

    played, outcomes = operate(*market, play)
    lines = [_step_line(step) for step in played["steps"]]
    lines += [f"order {order['code']}: {paint_state(order['state'])}" for order in played["orders"]]
    lines += [in_one_line(outcome.line()) for outcome in outcomes]
    show(as_json, played | {"webhooks": [outcome._asdict() for outcome in outcomes]}, "\n".join(lines))
    if options.check and not all(outcome.is_delivered for outcome in outcomes):
        sys.exit(1)


def _step_line(step: Mapping[str, str]) -> str:
    action, note = in_one_line(step["do"]), in_one_line(step.get("note", ""))
    return f"{action:18} {paint_state(step.get('state', ''))} {note}".rstrip()


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
