"""`kalathi trigger --all`: every scenario as a test case of the shop's own system."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from kalathi.cli.junit import Case, Result, render_junit
from kalathi.cli.operating import Market, fail, operate, report_errors
from kalathi.cli.output import echo_json
from kalathi.cli.tables import paint_state
from kalathi.operator_calls import OperatorError
from kalathi.simulation.operator import OperatorClient
from kalathi.simulation.outcomes import FIRST_ATTEMPTS_SECONDS, WebhookOutcome, webhook_outcomes
from kalathi.terminal import in_one_line

_STANDARD_OUTPUT: Final = "-"


def play_suite(market: Market, shop_id: str, *, junit: str | None, as_json: bool) -> None:
    """Play every scenario for the shop and report each result as it ends; with `as_json`, report all results at the
    end. End with status 1 if a scenario failed."""
    if as_json and junit == _STANDARD_OUTPUT:
        fail("--json and --junit - both write to standard output: give --junit a file.")
    file = None if junit in {None, _STANDARD_OUTPUT} else Path(str(junit))
    if file is not None and not file.absolute().parent.is_dir():
        fail(f"--junit {junit}: there is no folder {file.parent}.")

    def report(line: str) -> None:
        if not as_json:
            click.echo(line, err=junit == _STANDARD_OUTPUT)

    cases = operate(*market, lambda operator: _play_all(operator, shop_id, report))
    counts = Counter(case.result for case in cases)
    report(", ".join(f"{counts[result]} {result}" for result in Result))
    if file is not None:
        _write(file, render_junit(cases))
    elif junit == _STANDARD_OUTPUT:
        click.echo(render_junit(cases))
    if as_json:
        echo_json([case._asdict() for case in cases])
        _report_failures(cases)
    if counts[Result.FAILED]:
        sys.exit(1)


def _report_failures(cases: Sequence[Case]) -> None:
    """Print an error envelope with an entry for each failed scenario, if there are any."""
    failures = [f"{case.name}: {case.reason}" for case in cases if case.result is Result.FAILED]
    if failures:
        report_errors("\n".join(failures), [{"code": "scenario_failed", "messages": [text]} for text in failures])


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        fail(f"--junit {file}: the file cannot be written: {error.strerror}.")


async def _play_all(operator: OperatorClient, shop_id: str, report: Callable[[str], None]) -> list[Case]:
    shop = (await operator.call("GET", f"/marketplace/shops/{quote(shop_id, safe='')}"))["shop"]
    cases = []
    for scenario in await operator.scenarios():
        case = await _play_one(operator, scenario, shop)
        report(_progress(case))
        cases.append(case)
    return cases


async def _play_one(operator: OperatorClient, scenario: Mapping[str, Any], shop: Mapping[str, Any]) -> Case:
    name = str(scenario["name"])
    missing = [f"{setting} {value}" for setting, value in scenario["requires"].items() if shop.get(setting) != value]
    if missing:
        return Case(name, Result.SKIPPED, f"The scenario needs a shop with {', '.join(missing)}.")
    began = time.monotonic()
    try:
        played = await operator.play(name, str(shop["id"]), {})
        subjects = [entry["code"] for entry in [*played["orders"], *played["returns"]]]
        outcomes = await webhook_outcomes(operator, subjects, limit_seconds=FIRST_ATTEMPTS_SECONDS)
    except OperatorError as error:
        if error.is_unreachable:
            raise
        return Case(name, Result.FAILED, str(error), duration_seconds=time.monotonic() - began)
    result, reason = _judge(outcomes)
    return Case(name, result, reason, tuple(_line(outcome) for outcome in outcomes), time.monotonic() - began)


def _judge(outcomes: Sequence[WebhookOutcome]) -> tuple[Result, str]:
    """Return the result of a scenario whose steps succeeded, and the reason if it did not pass."""
    lost = [outcome for outcome in outcomes if not (outcome.is_delivered or outcome.has_injected_failure)]
    if not lost:
        return Result.PASSED, ""
    if all(outcome.is_of_returns and outcome.state == "not_sent" for outcome in lost):
        return Result.SKIPPED, "The shop has no URL for return webhooks (kalathi shop edit --help)."
    return Result.FAILED, f"{len(lost)} of {len(outcomes)} webhooks were not delivered, first {_line(lost[0])}"


def _line(outcome: WebhookOutcome) -> str:
    return " ".join(outcome.line().split())


def _progress(case: Case) -> str:
    reason = f"  {in_one_line(case.reason)}" if case.reason else ""
    return f"{paint_state(case.result)}{' ' * (7 - len(case.result))}  {case.name}{reason}"
