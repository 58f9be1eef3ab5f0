"""Run one check: play the marketplace's steps, wait for the shop's, judge the expectations."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from kalathi.checkup import sentences
from kalathi.checkup.evidence import Evidence, Probed
from kalathi.checkup.exchanges import show_exchanges
from kalathi.checkup.judging import MET, Miss, NotSeen, Outcome, calls_of, judge
from kalathi.checkup.probes import Probe
from kalathi.checkup.products import overrides_of, products_of, rename_uid
from kalathi.checkup.stage import Stage
from kalathi.marketplace.sandbox.checks import (
    Answered,
    AnyExpectation,
    Called,
    Check,
    Claim,
    InShop,
    is_expectation,
    is_waited_for,
    read_expectation,
)
from kalathi.marketplace.sandbox.checkup_report import CheckResult, Finding, Text, Verdict
from kalathi.marketplace.sandbox.faults import FaultKind
from kalathi.marketplace.sandbox.scenario import Scenario
from kalathi.operator_calls import OperatorError

# The steps of the shop that change the state of the order, with the state that they lead to.
_STATE_AFTER: Final = {"accept": "accepted", "reject": "rejected"}
# The names of the other steps' calls in the request log.
_CALLS: Final = {"review": "review_return"}
_OPEN: Final = "open"
_ORDER_STEPS: Final = frozenset(_STATE_AFTER)


class Cast(Struct):
    """The orders and returns of a running check, oldest first, and the code of a forged webhook."""

    orders: list[str] = field(default_factory=list)
    returns: list[str] = field(default_factory=list)
    forged: str = ""

    def codes(self) -> list[tuple[str, bool]]:
        """Every code, and whether it is a return's."""
        return [(code, False) for code in self.orders] + [(code, True) for code in self.returns]

    def subjects(self, on: str) -> list[tuple[str, bool]]:
        """The orders or returns of a step or an expectation, each with whether it is a return."""
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
    """The terms of a run: the claimed abilities, the seed of its products, and the probe."""

    claims: frozenset[Claim]
    seed: str
    probe: Probe | None = None


class Ended(Exception):  # noqa: N818  (it ends a check, it is not an error)
    """The check cannot go on: the shop did not act. `findings` say why."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__()
        self.findings = tuple(findings)


class RunningCheck:
    """One check while it runs."""

    def __init__(self, stage: Stage, scenario: Scenario, check: Check, terms: Terms) -> None:
        self._stage = stage
        self._scenario = scenario
        self._check = check
        self._seed = terms.seed
        self._probe = terms.probe
        self._claims = terms.claims
        self._values = overrides_of(scenario, terms.seed)
        self._stock: Mapping[str, int] = {}
        rules = (*scenario.faults, *check.faults)
        self._delay_seconds = sum(rule.seconds for rule in rules if rule.kind is FaultKind.DELAY)
        self.cast = Cast()
        self.findings: list[Finding] = []
        self.unseen: Text | None = None
        self.has_contact = False

    async def run(self) -> None:
        """Run all steps. Raises Ended, OperatorError."""
        steps = self._scenario.steps
        self._stock = await self._read_stock()
        await self._play(0, 0)  # The order is placed.
        for number, step in enumerate(steps):
            if is_expectation(step):
                await self._judge(read_expectation(step))
            elif self._waits_for(step):
                await self._wait_for_shop(step)
            else:
                # In real life time passes between two steps, in which the shop handles the webhooks of the first.
                await self._stage.settle(self.cast.codes())
                await self._play(number, number + 1)

    def _waits_for(self, step: Mapping[str, Any]) -> bool:
        """Whether the shop does this step. A shop that does not claim to answer orders has them answered for it."""
        if step.get("do") in _ORDER_STEPS and Claim.ORDERS not in self._claims:
            return False
        return is_waited_for(dict(step))

    async def _play(self, first: int, end: int) -> None:
        """Play steps of the marketplace."""
        cast = self.cast
        played = await self._stage.play(self._scenario.name, self._values, first, end, cast.orders, cast.returns)
        cast.orders = [order["code"] for order in played["orders"]]
        cast.returns = [returned["code"] for returned in played["returns"]]
        cast.forged = next((step["code"] for step in played["steps"] if step["do"] == "forged_event"), cast.forged)

    async def _wait_for_shop(self, step: Mapping[str, Any]) -> None:
        """Wait until the shop did this step. Raises Ended if it did not, or if it answered the order otherwise."""
        action = str(step["do"])
        (code, is_return), began = self.cast.subjects(str(step.get("on", "")))[0], time.monotonic()
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
        self.has_contact |= bool(evidence.calls) or any(
            webhook["state"] == "delivered" for webhook in evidence.webhooks
        )
        wanted = _STATE_AFTER.get(action)
        if not has_acted(evidence):
            miss = Miss(sentences.shop_acts(action), sentences.shop_did_not(action, time.monotonic() - began))
        elif wanted is not None and evidence.state == _STATE_AFTER["reject"] != wanted:
            miss = Miss(
                sentences.shop_acts(action), sentences.shop_answered_otherwise(evidence.state, _reason(evidence))
            )
        else:
            if not self._scenario.faults and not self._check.faults:
                self._stage.note_reaction(time.monotonic() - began)
            await self._add_successor(code, action)
            return
        miss = miss._replace(webhooks=tuple(evidence.webhooks), calls=tuple(evidence.calls))
        raise Ended([await self._find(miss)])

    async def _add_successor(self, code: str, action: str) -> None:
        """Add the new order for the rest of a rejected order, if there is one."""
        rejection = (await self._stage.operator.order(code))["rejection"] if action == "reject" else None
        if rejection and rejection["successor"]:
            self.cast.orders.append(rejection["successor"])

    async def _judge(self, expectation: AnyExpectation) -> None:
        """Judge an expectation, and keep its findings."""
        if isinstance(expectation, InShop | Called):
            await self._stage.settle(self.cast.codes())
        for code, is_return in self._subjects_of(expectation):
            await self._judge_one(expectation, code, is_return=is_return)

    def _subjects_of(self, expectation: AnyExpectation) -> list[tuple[str, bool]]:
        # Webhooks are judged for every order and return of the check.
        return self.cast.codes() if isinstance(expectation, Answered) else self.cast.subjects(expectation.on)

    async def _judge_one(self, expectation: AnyExpectation, code: str, *, is_return: bool) -> None:
        began = time.monotonic()
        is_probed = isinstance(expectation, InShop)

        async def look() -> tuple[Evidence, Outcome]:
            evidence = await self._stage.gather(code, is_return=is_return, has_subject=code != self.cast.forged)
            if is_probed and self._probe is not None:
                evidence = evidence._replace(probed=await self._ask_probe(self._probe, code))
            return evidence, judge(expectation, evidence, time.monotonic() - began)

        def is_met(found: tuple[Evidence, Outcome]) -> bool:
            return found[1] == MET or isinstance(found[1], NotSeen)

        if not is_probed or self._probe is not None:
            await self._wait_quietly(expectation)
        evidence, outcome = await self._stage.wait_with_sweeps(
            look, is_met, lambda found: _webhooks_for(expectation, found[0])
        )
        self.has_contact |= bool(evidence.calls) or any(
            webhook["state"] == "delivered" for webhook in evidence.webhooks
        )
        if isinstance(outcome, NotSeen):
            self.unseen = outcome.reason
            return
        for miss in outcome:
            self.findings.append(replace(await self._find(miss), warns=expectation.warn))

    async def _wait_quietly(self, expectation: AnyExpectation) -> None:
        """Wait until the shop has done what it wants to do, before judging something that must not happen."""
        is_limit = isinstance(expectation, Called) and expectation.most is not None
        if is_limit or isinstance(expectation, InShop):
            await asyncio.sleep(self._stage.quiet_seconds)

    async def _read_stock(self) -> Mapping[str, int]:
        """Return the pieces of the check's products in the shop's own system, by their uids in this run."""
        if self._probe is None:
            return {}
        uids = [product.uid for product in products_of(self._scenario, self._seed)]
        return (await self._probe.ask("", self._stocked(uids))).stock

    def _stocked(self, uids: Sequence[str]) -> list[str]:
        """Return those of the products whose pieces an expectation names."""
        named = {
            rename_uid(self._seed, self._check.place, uid)
            for step in self._scenario.steps
            if is_expectation(step)
            for uid in (step.get("stock") or {})
        }
        return [uid for uid in uids if uid in named]

    async def _ask_probe(self, probe: Probe, code: str) -> Probed:
        answer = await probe.ask(code, list(self._stock))
        moved = {}
        for step in self._scenario.steps:
            for uid in step.get("stock") or {} if is_expectation(step) else ():
                named = rename_uid(self._seed, self._check.place, uid)
                if named in answer.stock and named in self._stock:
                    moved[uid] = answer.stock[named] - self._stock[named]
        return Probed(answer, moved)

    async def _find(self, miss: Miss) -> Finding:
        exchanges = await show_exchanges(self._stage, miss.webhooks, miss.calls)
        return Finding(expected=miss.expected, seen=miss.seen, exchanges=exchanges)


def _webhooks_for(expectation: AnyExpectation, evidence: Evidence) -> Sequence[Mapping[str, Any]]:
    """Return the webhooks whose retries can still meet the expectation."""
    event = expectation.event if isinstance(expectation, Answered) else None
    return [webhook for webhook in evidence.webhooks if event in {None, webhook["event_type"]}]


def _reason(evidence: Evidence) -> str:
    info = evidence.subject.get("rejection_info") or {}
    lines = [line.get("rejection_reason") for line in evidence.subject.get("line_items", [])]
    return str(info.get("reason") or ", ".join(dict.fromkeys(reason for reason in lines if reason)))


class Checked(NamedTuple):
    """The result of a check, and whether the shop answered anything at all."""

    result: CheckResult
    has_contact: bool


async def run_check(stage: Stage, scenario: Scenario, check: Check, terms: Terms) -> Checked:
    """Run a check, and return its result. The shop's settings and faults are afterwards as before. Raises
    OperatorError if the marketplace does not answer, and ProbeError."""
    began = time.monotonic()
    running = RunningCheck(stage, scenario, check, terms)
    shop, faults = await stage.show_shop(), await stage.faults()
    wanted = scenario.requires | check.settings
    changed = {name: value for name, value in wanted.items() if shop[name] != value}
    reason: Text | None = None
    try:
        await stage.change_shop(changed)
        if check.faults:
            await stage.replace_faults(faults, [*faults["rules"], *map(to_builtins, check.faults)])
        await running.run()
    except Ended as ended:
        running.findings.extend(ended.findings)
    except OperatorError as error:
        if error.is_unreachable:
            raise
        reason = sentences.step_failed(str(error))
    if check.faults or scenario.faults:
        await stage.replace_faults(faults, faults["rules"])
    await stage.tidy(running.cast.codes())
    await stage.change_shop({name: shop[name] for name in changed})
    verdict = _verdict_of(running, reason)
    result = make_result(
        scenario.name,
        check,
        verdict,
        reason=running.unseen if verdict is Verdict.NOT_SEEN else reason,
        codes=tuple(code for code, _ in running.cast.codes()),
        findings=tuple(running.findings),
        duration_seconds=round(time.monotonic() - began, 3),
    )
    return Checked(result, running.has_contact)


def _verdict_of(running: RunningCheck, reason: Text | None) -> Verdict:
    if any(not finding.warns for finding in running.findings):
        return Verdict.FAILED
    if reason is not None:
        return Verdict.NOT_TRIED
    if running.unseen is not None:
        return Verdict.NOT_SEEN
    return Verdict.WARNED if running.findings else Verdict.PASSED


def make_result(id: str, check: Check, verdict: Verdict, **members: Any) -> CheckResult:  # noqa: A002  (a field's name)
    """Return a result with the texts of the check. `members` are the other members of the result."""
    return CheckResult(
        id=id,
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
