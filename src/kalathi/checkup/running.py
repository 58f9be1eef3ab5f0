"""A whole run: preflight, then every claimed check, one after the other."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
from msgspec import to_builtins
from msgspec.structs import replace

from kalathi.checkup import sentences
from kalathi.checkup.cast import Terms
from kalathi.checkup.checking import Checked, make_result, run_check
from kalathi.checkup.preflight import Preflight
from kalathi.checkup.products import Product, products_of
from kalathi.checkup.stage import Stage
from kalathi.marketplace.sandbox.checks import Check
from kalathi.marketplace.sandbox.checkup_report import CheckResult, Report, Text, Verdict
from kalathi.marketplace.sandbox.scenario import Scenario, scenarios
from kalathi.operator_calls import OperatorError

# The scenario of the preflight's order, which is also the first check.
FIRST_ORDER: Final = "exactly_200"
_MOST_WITHOUT_CONTACT: Final = 3
_TRIED: Final = frozenset({Verdict.PASSED, Verdict.FAILED, Verdict.WARNED, Verdict.NOT_SEEN})
# JSON of the marketplace's calls escapes nothing but quotes, and a body may have 1,000,000 bytes.
_MOST_STORED_BYTES: Final = 900_000


class PlannedCheck(NamedTuple):
    """A scenario that is a check."""

    scenario: Scenario
    check: Check


def list_checks() -> list[PlannedCheck]:
    """Return all checks in the order of a run."""
    found = [PlannedCheck(entry, entry.check) for entry in scenarios().values() if entry.check is not None]
    return sorted(found, key=lambda planned: planned.check.place)


def choose_checks(only: Sequence[str]) -> list[PlannedCheck]:
    """Return these checks, or all, each after the check that it needs. Raises KeyError with an unknown id."""
    every = list_checks()
    unknown = [name for name in only if name not in {planned.scenario.name for planned in every}]
    if unknown:
        raise KeyError(unknown[0])
    wanted = set(only)
    wanted |= {planned.check.needs for planned in every if planned.scenario.name in wanted and planned.check.needs}
    return [planned for planned in every if not only or planned.scenario.name in wanted]


def list_products(checks: Iterable[PlannedCheck], seed: str) -> list[Product]:
    """Return the products that the shop must know, those of the preflight included."""
    chosen = {planned.scenario.name: planned.scenario for planned in checks}
    chosen.setdefault(FIRST_ORDER, scenarios()[FIRST_ORDER])
    return [product for scenario in chosen.values() for product in products_of(scenario, seed)]


class Run:
    """One run for one shop. `changed` gets the report after the preflight and after each check."""

    def __init__(
        self,
        stage: Stage,
        terms: Terms,
        checks: Sequence[PlannedCheck],
        *,
        known: Mapping[str, str] | None = None,
        changed: Callable[[Report], None] = lambda report: None,
        command: str = "",
    ) -> None:
        """`known` are the accepted failures: the comment of each by its check. `command` is the line that repeats the
        run."""
        self._stage = stage
        self._terms = terms
        self._checks = checks
        self._known = known or {}
        self._changed = changed
        self._command = command

    async def run(self) -> Report:
        """Run everything, and return the report. If the marketplace stops answering, the report says so. Raises
        OperatorError if it does not answer at the start."""
        shop = await self._stage.show_shop()
        self._report = Report(
            shop_id=self._stage.shop_id,
            webhook_url=shop["webhook_url"] or "",
            claims=tuple(sorted(self._terms.claims)),
            seed=self._terms.seed,
            has_probe=self._terms.probe is not None,
            planned=len(self._checks),
            command=self._command or f"kalathi checkup --shop {self._stage.shop_id}",
            began_at=datetime.now(UTC),
        )
        await self._publish()
        try:
            await self._run_all()
        except OperatorError as error:
            await self._end(sentences.marketplace_left(str(error)))
        except asyncio.CancelledError:
            await self._end(sentences.INTERRUPTED)
            raise
        else:
            await self._end(self._report.stopped)
        return self._report

    async def _end(self, stopped: Text | None) -> None:
        self._report = replace(self._report, stopped=stopped, ended_at=datetime.now(UTC))
        await self._publish()

    async def _run_all(self) -> None:
        preflight = Preflight(self._stage, self._terms, scenarios()[FIRST_ORDER])
        await preflight.run()
        self._report = replace(self._report, notices=tuple(preflight.notices))
        await self._publish()
        if not self._report.is_set_up:
            return
        silent = 0
        for planned in self._checks:
            checked = await self._run_one(planned)
            verdict = checked.result.verdict
            silent = 0 if checked.has_contact else silent + int(verdict in _TRIED)
            self._report = replace(self._report, results=(*self._report.results, self._mark_known(checked.result)))
            if silent == _MOST_WITHOUT_CONTACT:
                self._report = replace(self._report, stopped=sentences.STOPPED)
            await self._publish()

    async def _run_one(self, planned: PlannedCheck) -> Checked:
        check, report = planned.check, self._report
        if check.claim not in self._terms.claims:
            reason = sentences.NOT_CLAIMED
            return Checked(_unjudged(planned, Verdict.NOT_CLAIMED, reason), has_contact=False)
        if report.stopped is not None:
            return Checked(_unjudged(planned, Verdict.NOT_TRIED, report.stopped), has_contact=False)
        needed = next((result for result in report.results if result.id == check.needs), None)
        if needed is not None and needed.verdict not in {Verdict.PASSED, Verdict.WARNED}:
            reason = sentences.needs_other(check.needs)
            return Checked(_unjudged(planned, Verdict.NOT_TRIED, reason), has_contact=False)
        return await run_check(self._stage, planned.scenario, check, self._terms)

    def _mark_known(self, result: CheckResult) -> CheckResult:
        comment = self._known.get(result.id)
        return result if comment is None else replace(result, known=True, comment=comment)

    async def _publish(self) -> None:
        """Show the report, and store it for the page. A report that the marketplace does not take is no reason to end
        the run."""
        self._changed(self._report)
        with contextlib.suppress(OperatorError):
            await self._stage.put_report(to_builtins(fit_report(self._report)))


def fit_report(report: Report) -> Report:
    """Return the report without the webhooks and calls of its findings if it is too large for a call."""
    if len(msgspec.json.encode(report)) < _MOST_STORED_BYTES:
        return report
    results = [
        replace(result, findings=tuple(replace(finding, exchanges=()) for finding in result.findings))
        for result in report.results
    ]
    return replace(report, results=tuple(results))


def _unjudged(planned: PlannedCheck, verdict: Verdict, reason: Text) -> CheckResult:
    return make_result(planned.scenario.name, planned.check, verdict, reason=reason)
