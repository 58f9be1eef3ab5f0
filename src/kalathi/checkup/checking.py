"""Run one check: play the marketplace's steps, wait for the shop's, judge the expectations."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from kalathi.checkup import sentences
from kalathi.checkup.cast import Cast, Ended, NotPossible, Terms
from kalathi.checkup.evidence import Evidence, Probed, are_tried
from kalathi.checkup.exchanges import show_exchanges
from kalathi.checkup.judging import calls_of, judge
from kalathi.checkup.outcomes import MET, Miss, NotSeen, Outcome
from kalathi.checkup.probes import Probe, ProbeError
from kalathi.checkup.products import overrides_of, products_of, rename_uid
from kalathi.checkup.stage import Stage
from kalathi.marketplace.sandbox.checks import (
    Answered,
    AnyExpectation,
    Called,
    Check,
    Claim,
    InShop,
    Published,
    Reached,
    is_expectation,
    is_waited_for,
    read_expectation,
)
from kalathi.marketplace.sandbox.checkup_report import CheckResult, Finding, Text, Verdict
from kalathi.marketplace.sandbox.faults import FaultKind, FaultPlace, FaultRule
from kalathi.marketplace.sandbox.scenario import Scenario
from kalathi.operator_calls import OperatorError

# The steps of the shop that change the state of the order, with the state that they lead to.
_STATE_AFTER: Final = {"accept": "accepted", "reject": "rejected"}
# The names of the other steps' calls in the request log.
_CALLS: Final = {"review": "review_return"}
_OPEN: Final = "open"
_ACCEPTED: Final = Reached(state="accepted")
# A check with more findings has one cause.
_MOST_FINDINGS: Final = 5
# Steps without work for the shop, and steps whose effect has a wait of its own.
_WITHOUT_EFFECT: Final = frozenset({"advance", "end_faults", "confirm", "resend"})
# The step that is possible only before the shop's answer.
_EXTEND: Final = "extend"
_VALUE_SECONDS: Final = 1.0
_ORDER_STEPS: Final = frozenset(_STATE_AFTER)


class RunningCheck:
    """One check, or one recipe, while it runs. Steps run in their order: `begin`, then `run_step` for each."""

    def __init__(self, stage: Stage, scenario: Scenario, terms: Terms, cast: Cast | None = None) -> None:
        """`cast` has the orders and returns of the steps before, if a recipe is continued."""
        self._stage = stage
        self._scenario = scenario
        self._seed = terms.seed
        self._probe = terms.probe
        self._claims = terms.claims
        self._has_products = terms.has_products
        self._values = overrides_of(scenario, terms.seed)
        self._delay_seconds = sum(_delay_of(rule) for rule in faults_of(scenario))
        # Whether the shop had time to react to everything so far.
        self._is_quiet = True
        self._began_at = ""
        # The number of steps that were played together with the placing.
        self._begun = 0
        self.cast = cast or Cast()
        # The pieces of the products before the first step, by their uids in this run.
        self.stock: Mapping[str, int] = {}
        self.findings: list[Finding] = []
        self.unseen: Text | None = None
        self.has_contact = False

    async def begin(self) -> None:
        """Read the stock, and place the order. Raises OperatorError, ProbeError."""
        self._began_at = await self._stage.now()
        self.stock = await self._read_stock()
        steps = self._scenario.steps
        # Without a pause: a shop that polls may answer the order at any moment, and then it cannot be extended.
        self._begun = 1 if steps and steps[0].get("do") == _EXTEND else 0
        await self._play(0, self._begun)

    async def run_step(self, number: int) -> None:
        """Run a step. Raises Ended if the shop does not do its step, NotPossible, OperatorError, ProbeError."""
        step = self._scenario.steps[number]
        if number < self._begun:
            return
        if is_expectation(step):
            expectation = read_expectation(step)
            if Claim.ORDERS not in self._claims and expectation == _ACCEPTED:
                await self._accept_for_shop()
            await self._judge(expectation)
        elif self.waits_for(step):
            await self._wait_for_shop(step)
        else:
            await self._stage.settle(self.cast.list_codes())
            if step.get("do") not in _WITHOUT_EFFECT:
                # In real life time passes between two events, in which the shop handles the first.
                await self._be_quiet()
            await self._play(number, number + 1)

    async def _accept_for_shop(self) -> None:
        """Accept the order for a shop whose people answer orders, unless they have done so."""
        code = self.cast.orders[0]
        if (await self._stage.operator.order(code))["order"]["state"] == _OPEN:
            # The first step of the scenario `accept` is the acceptance with the first location and window.
            await self._stage.play("accept", {}, 0, 1, [code])

    def waits_for(self, step: Mapping[str, Any]) -> bool:
        """Whether the shop does this step. A shop that does not claim to answer orders has them answered for it."""
        if step.get("do") in _ORDER_STEPS and Claim.ORDERS not in self._claims:
            return False
        return is_waited_for(step)

    async def _play(self, first: int, end: int) -> None:
        """Play steps of the marketplace."""
        cast = self.cast
        played = await self._stage.play(self._scenario.name, self._values, first, end, cast.orders, cast.returns)
        # The placed order alone needs no pause: the next step is meant to come before the shop's answer.
        self._is_quiet &= first == end
        cast.orders = [order["code"] for order in played["orders"]]
        cast.returns = [returned["code"] for returned in played["returns"]]
        cast.forged = next((step["code"] for step in played["steps"] if step["do"] == "forged_event"), cast.forged)

    async def _wait_for_shop(self, step: Mapping[str, Any]) -> None:
        """Wait until the shop did this step. Raises Ended if it did not, or if it answered the order otherwise."""
        action = str(step["do"])
        self._is_quiet = False
        (code, is_return), began = self.cast.find_subjects(str(step.get("on", "")))[0], time.monotonic()
        call = _CALLS.get(action, action)

        def has_acted(evidence: Evidence) -> bool:
            if action in _STATE_AFTER:
                return evidence.state != _OPEN
            return bool(calls_of(evidence, call, "2xx"))

        async def look() -> Evidence:
            return await self._stage.gather(code, is_return=is_return)

        evidence = await self._stage.wait_with_sweeps(
            look, has_acted, lambda found: found.webhooks, delay_seconds=self._delay_seconds
        )
        seconds = time.monotonic() - began
        if action == "reject" and evidence.state == _STATE_AFTER["accept"] and not self._has_products:
            raise NotPossible(sentences.products_unknown(self._list_scarce(), self._seed))
        wanted = _STATE_AFTER.get(action)
        is_otherwise = wanted is not None and evidence.state in _STATE_AFTER.values() and evidence.state != wanted
        if has_acted(evidence) and not is_otherwise:
            self._note_contact(evidence)
            if not faults_of(self._scenario):
                self._stage.note_reaction(seconds)
            await self._add_successor(code, action)
            return
        # The log has the last attempts and calls once each webhook was tried.
        await self._stage.settle(self.cast.list_codes())
        evidence = await look()
        self._note_contact(evidence)
        seen = (
            sentences.shop_answered_otherwise(evidence.state, _reason(evidence), self._list_scarce())
            if is_otherwise
            else sentences.shop_did_not(call, seconds, [entry["status"] for entry in calls_of(evidence, call)])
        )
        miss = Miss(sentences.shop_acts(action), seen, tuple(evidence.webhooks), tuple(evidence.calls))
        raise Ended([await self._find(miss)])

    async def _add_successor(self, code: str, action: str) -> None:
        """Add the new order for the rest of a rejected order, if there is one."""
        rejection = (await self._stage.operator.order(code))["rejection"] if action == "reject" else None
        if rejection and rejection["successor"]:
            self.cast.orders.append(rejection["successor"])

    async def _judge(self, expectation: AnyExpectation) -> None:
        """Judge an expectation, and keep its findings."""
        # Webhooks are judged for every order and return of the check.
        is_answers, began = isinstance(expectation, Answered), time.monotonic()
        subjects = self.cast.list_judged() if is_answers else self.cast.find_subjects(expectation.on)

        async def look() -> list[tuple[Evidence, Outcome]]:
            found = [await self._gather(expectation, code, is_return=is_return) for code, is_return in subjects]
            return [(evidence, judge(expectation, evidence, time.monotonic() - began)) for evidence in found]

        def is_ended(found: list[tuple[Evidence, Outcome]]) -> bool:
            # A value that the shop's system does not show yet may come a moment later.
            has_no_value = self._probe is None or time.monotonic() - began > _VALUE_SECONDS
            return all(
                outcome == MET
                or (isinstance(outcome, NotSeen) and has_no_value)
                or _cannot_improve(expectation, evidence)
                for evidence, outcome in found
            )

        def list_retried(found: list[tuple[Evidence, Outcome]]) -> list[Mapping[str, Any]]:
            return [webhook for evidence, _ in found for webhook in _list_retried(expectation, evidence)]

        await self._wait_quietly(expectation)
        for evidence, outcome in await self._stage.wait_with_sweeps(look, is_ended, list_retried):
            self._note_contact(evidence)
            if isinstance(outcome, NotSeen):
                self.unseen = outcome.reason
                continue
            for miss in outcome[: _MOST_FINDINGS - len(self.findings)]:
                self.findings.append(replace(await self._find(miss), warns=expectation.warn))

    async def _gather(self, expectation: AnyExpectation, code: str, *, is_return: bool) -> Evidence:
        evidence = await self._stage.gather(code, is_return=is_return, has_subject=code != self.cast.forged)
        if isinstance(expectation, InShop) and self._probe is not None:
            return evidence._replace(probed=await self._ask_probe(self._probe, code))
        if isinstance(expectation, Published):
            batches = await self._stage.list_batches(self._began_at)
            names = {expectation.product: rename_uid(self._scenario, self._seed, expectation.product)}
            return evidence._replace(batches=batches, names=names)
        return evidence

    def _note_contact(self, evidence: Evidence) -> None:
        """Remember whether the shop reacted at all, by a call or by an answer to a webhook."""
        is_delivered = any(webhook["state"] == "delivered" for webhook in evidence.webhooks)
        self.has_contact |= bool(evidence.calls) or is_delivered

    async def _wait_quietly(self, expectation: AnyExpectation) -> None:
        """Wait until the shop is idle, before judging that an event did not happen."""
        is_limit = isinstance(expectation, Called) and expectation.most is not None
        is_probed = isinstance(expectation, InShop) and self._probe is not None
        is_of_batches = isinstance(expectation, Published) and expectation.most_repeats is not None
        if is_limit or is_probed or is_of_batches:
            await self._stage.settle(self.cast.list_codes())
            await self._be_quiet()

    async def _be_quiet(self) -> None:
        """Give the shop the time to react, unless it had that time since the last event."""
        if not self._is_quiet:
            await asyncio.sleep(self._stage.quiet_seconds)
            self._is_quiet = True

    async def _read_stock(self) -> Mapping[str, int]:
        """Return the pieces of the check's products in the shop's own system, by their uids in this run."""
        if self._probe is None:
            return {}
        uids = [product.uid for product in products_of(self._scenario, self._seed)]
        return (await self._probe.ask("", self._list_stocked(uids))).stock

    def _list_scarce(self) -> list[str]:
        """Return the products of which the check needs few pieces in the shop."""
        check = self._scenario.check
        return [rename_uid(self._scenario, self._seed, uid) for uid in (check.stock if check else ())]

    def _list_stocked(self, uids: Sequence[str]) -> list[str]:
        """Return those of the products whose pieces an expectation names."""
        named = {
            rename_uid(self._scenario, self._seed, uid)
            for step in self._scenario.steps
            if is_expectation(step)
            for uid in (step.get("stock") or {})
        }
        return [uid for uid in uids if uid in named]

    async def _ask_probe(self, probe: Probe, code: str) -> Probed:
        answer = await probe.ask(code, list(self.stock))
        moved = {uid: answer.stock[uid] - before for uid, before in self.stock.items() if uid in answer.stock}
        names = {
            uid: rename_uid(self._scenario, self._seed, uid)
            for step in self._scenario.steps
            for uid in step.get("stock") or ()
        }
        return Probed(answer, moved, names)

    async def _find(self, miss: Miss) -> Finding:
        exchanges = await show_exchanges(self._stage, miss.webhooks, miss.calls)
        return Finding(expected=miss.expected, seen=miss.seen, exchanges=exchanges)


def _list_retried(expectation: AnyExpectation, evidence: Evidence) -> Sequence[Mapping[str, Any]]:
    """Return the webhooks whose retries can still meet the expectation."""
    event = expectation.event if isinstance(expectation, Answered) else None
    return [webhook for webhook in evidence.webhooks if event in {None, webhook["event_type"]}]


def _cannot_improve(expectation: AnyExpectation, evidence: Evidence) -> bool:
    """Whether waiting is useless: the first attempts are over, and only they count."""
    return isinstance(expectation, Answered) and expectation.at_once and are_tried(evidence.webhooks)


def _reason(evidence: Evidence) -> str:
    info = evidence.subject.get("rejection_info") or {}
    lines = [line.get("rejection_reason") for line in evidence.subject.get("line_items", [])]
    return str(info.get("reason") or ", ".join(dict.fromkeys(reason for reason in lines if reason)))


class Checked(NamedTuple):
    """The result of a check, and whether the shop answered anything at all."""

    result: CheckResult
    has_contact: bool


def faults_of(scenario: Scenario) -> tuple[FaultRule, ...]:
    """Return every fault rule of a check: its own, and those of the scenario."""
    return (*scenario.faults, *(scenario.check.faults if scenario.check else ()))


def _delay_of(rule: FaultRule) -> float:
    """Return by how many seconds a fault slows the shop down, at the least."""
    if rule.kind is FaultKind.DELAY:
        return rule.seconds
    is_asked_to_wait = rule.kind in {FaultKind.ERROR, FaultKind.RATE_LIMIT} and rule.on is FaultPlace.API
    return float(rule.retry_after_seconds) if is_asked_to_wait and rule.times is not None else 0.0


async def run_check(stage: Stage, scenario: Scenario, check: Check, terms: Terms) -> Checked:
    """Run a check, and return its result. The shop's settings and faults are afterwards as before. Raises
    OperatorError if the marketplace does not answer."""
    began = time.monotonic()
    running = RunningCheck(stage, scenario, terms)
    reason: Text | None = None
    async with stage.prepared(scenario.requires | check.settings, check.faults, has_faults=bool(faults_of(scenario))):
        try:
            await running.begin()
            for number in range(len(scenario.steps)):
                await running.run_step(number)
        except Ended as ended:
            running.findings.extend(ended.findings)
        except NotPossible as end:
            reason = end.reason
        except ProbeError as error:
            reason = Text(str(error), str(error))
        except OperatorError as error:
            if error.is_unreachable:
                raise
            # The shop has brought the order into a state in which the step is not possible.
            running.findings.append(Finding(expected=sentences.STEP_POSSIBLE, seen=Text(str(error), str(error))))
    await stage.tidy(running.cast.list_codes())
    verdict = judge_findings(running.findings, reason, running.unseen)
    result = make_result(
        scenario.name,
        check,
        verdict,
        reason=running.unseen if verdict is Verdict.NOT_SEEN else reason,
        codes=tuple(code for code, _ in running.cast.list_judged()),
        findings=tuple(running.findings),
        duration_seconds=round(time.monotonic() - began, 3),
    )
    return Checked(result, running.has_contact)


def judge_findings(findings: Sequence[Finding], not_tried: Text | None, unseen: Text | None) -> Verdict:
    """Return the verdict of a check: by its findings, the reason why a step was not possible, and the reason why an
    expectation could not be seen."""
    if any(not finding.warns for finding in findings):
        return Verdict.FAILED
    if not_tried is not None:
        return Verdict.NOT_TRIED
    if unseen is not None:
        return Verdict.NOT_SEEN
    return Verdict.WARNED if findings else Verdict.PASSED


def make_result(name: str, check: Check, verdict: Verdict, **members: Any) -> CheckResult:
    """Return a result with the texts of the check. `members` are the other members of the result."""
    return CheckResult(
        id=name,
        claim=check.claim,
        severity=check.severity,
        title=Text(check.title, check.title_el),
        consequence=Text(check.consequence, check.consequence_el),
        section=check.section,
        source=check.source,
        fell=check.fell,
        verdict=verdict,
        **members,
    )
