"""The sandbox's console: the clock and coming jobs, faults as switches, scenarios, demo orders. Production mode has
none."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any, Final, NamedTuple

from msgspec import structs

from kalathi.contract.words import OrderEventType
from kalathi.marketplace.kernel.actors import SCENARIO
from kalathi.marketplace.kernel.clock import athens, from_millis
from kalathi.marketplace.kernel.due import DueKind, DueRow, list_coming
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.search.words import split_words
from kalathi.marketplace.panel.operator.overview import mark_place
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import (
    NoClockMove,
    NoOrdersHook,
    NoShare,
    NoSuchDemoOrder,
    NoSuchPage,
    NothingDue,
)
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.returns import store as returns
from kalathi.marketplace.sandbox.faults import FaultKind, FaultPlace, FaultRule, Faults
from kalathi.marketplace.sandbox.player import Played, ScenarioPlayer
from kalathi.marketplace.sandbox.return_triggers import ReturnTriggerKind, trigger_return_event
from kalathi.marketplace.sandbox.scenario import Scenario, ScenarioGroup, find_scenario, scenarios
from kalathi.marketplace.sandbox.triggers import TriggerKind, trigger_event
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.commands import find_shop
from kalathi.marketplace.web.traffic import TrafficEntry, TrafficScope, read_traffic
from kalathi.marketplace.webhooks.listeners import url_for

CONSOLE: Final = "/operator/sandbox"
_COMING: Final = 20
_HOUR_SECONDS: Final = 3600
_WHOLE: Final = 100
_STEPS: Final = {"hour": _HOUR_SECONDS, "day": 24 * _HOUR_SECONDS}
_RETURN: Final = "DEMO-RETURN:return"


class SwitchGroup(StrEnum):
    """The targets of the faults that can be switched on and off."""

    API = "api"
    WEBHOOKS = "webhooks"
    BODIES = "bodies"


class Switch(NamedTuple):
    """A fault that can be switched on and off. Its rules have the usual share of calls or webhooks."""

    group: SwitchGroup
    sentence: str
    rules: tuple[FaultRule, ...]

    def with_share(self, percent: int) -> tuple[FaultRule, ...]:
        """Return the rules for this share of calls or webhooks."""
        return tuple(structs.replace(rule, probability=percent / 100) for rule in self.rules)

    @property
    def usual_percent(self) -> int:
        """The usual share."""
        return round(self.rules[0].probability * 100)

    def find_percent(self, faults: Faults) -> int | None:
        """Return the share with which the fault is on; None if it is off."""
        shares = {rule.probability for rule in faults.rules if self.has(rule)}
        found = [share for share in shares if set(self.with_share(round(share * 100))) <= set(faults.rules)]
        return round(found[0] * 100) if found else None

    def has(self, rule: FaultRule) -> bool:
        """Whether this is one of the switch's rules, with any share."""
        return any(structs.replace(rule, probability=own.probability) == own for own in self.rules)


def _on_api(sentence: str, kind: FaultKind, **members: Any) -> Switch:
    return Switch(SwitchGroup.API, sentence, (FaultRule(on=FaultPlace.API, kind=kind, **members),))


def _on_webhooks(sentence: str, kind: FaultKind, **members: Any) -> Switch:
    return Switch(SwitchGroup.WEBHOOKS, sentence, (FaultRule(on=FaultPlace.WEBHOOKS, kind=kind, **members),))


def _in_half_of_the_bodies(sentence: str, kind: FaultKind) -> Switch:
    return Switch(
        SwitchGroup.BODIES, sentence, tuple(FaultRule(on=place, kind=kind, probability=0.5) for place in FaultPlace)
    )


SWITCHES: Final[dict[str, Switch]] = {
    "api_slow": _on_api("Calls of the API take two seconds longer", FaultKind.DELAY, seconds=2),
    "api_errors": _on_api("Calls fail with 503", FaultKind.ERROR, probability=0.5),
    "api_refused": _on_api("Calls are refused with 422", FaultKind.ERROR, probability=0.1, status=422),
    "api_limits": _on_api("Calls are refused with 429", FaultKind.RATE_LIMIT, probability=0.2),
    "api_lost": _on_api("Calls are done, and their answers are lost", FaultKind.DROP, probability=0.2, after=True),
    "api_scanning": _on_api("Batches of stock and prices meet a scan of the XML", FaultKind.SCANNING, probability=0.5),
    "webhooks_slow": _on_webhooks("Webhooks come three seconds late", FaultKind.DELAY, seconds=3),
    "webhooks_errors": _on_webhooks("Webhooks fail with 503", FaultKind.ERROR, probability=0.5),
    "webhooks_lost": _on_webhooks("Webhooks are lost on their way", FaultKind.DROP, probability=0.33),
    "webhooks_unheard": _on_webhooks(
        "Webhooks arrive, and their answers are lost",
        FaultKind.TIMEOUT,
        probability=0.33,
        seconds=1,
        after=True,
    ),
    "webhooks_twice": _on_webhooks("Webhooks arrive twice", FaultKind.DUPLICATE, probability=0.5),
    "webhooks_order": _on_webhooks(
        "Webhooks arrive after the ones that follow them", FaultKind.REORDER, probability=0.33, seconds=30
    ),
    "bodies_unknown": _in_half_of_the_bodies("Answers and webhooks have an unknown member", FaultKind.UNKNOWN_MEMBER),
    "bodies_words": _in_half_of_the_bodies(
        "Answers and webhooks have an unknown value, such as a new payment method", FaultKind.NEW_WORD
    ),
    "bodies_absent": _in_half_of_the_bodies("Answers and webhooks lack an optional member", FaultKind.ABSENT_MEMBER),
    "bodies_null": _in_half_of_the_bodies(
        "Answers and webhooks have null for an optional member", FaultKind.NULL_MEMBER
    ),
    "bodies_texts": _in_half_of_the_bodies("Answers and webhooks have a number as text", FaultKind.NUMBER_AS_TEXT),
    "bodies_numbers": _in_half_of_the_bodies(
        "Answers and webhooks have a text of digits as a number", FaultKind.TEXT_AS_NUMBER
    ),
    "bodies_layout": _in_half_of_the_bodies(
        "Answers and webhooks have extra whitespace and reordered members", FaultKind.LAYOUT
    ),
}


class Coming(NamedTuple):
    """A due job, with its time and the time left."""

    kind: str
    subject: str
    shop_id: str
    at: datetime
    left: str
    is_return: bool


async def show_console(visit: Visit) -> Answer:
    """Show the controls of a sandbox."""
    return await _console(visit, None)


async def move_clock(visit: Visit) -> Answer:
    """Move the clock by an hour, by a day, or to the next due job; answer when all due jobs are done.

    Raises INVALID_PARAMETER if nothing is due, UNAVAILABLE.
    """
    _check_sandbox(visit)
    mover, step = visit.context.mover, visit.form.text("step")
    if step in _STEPS:
        await mover.advance(_STEPS[step])
    elif step == "next":
        now = visit.context.clock.now()
        expected = await visit.context.database.read_list(_list_due)
        later = [row for row in expected if from_millis(row.due_at) > now]
        if not later:
            raise refuse(NothingDue())
        await mover.move_to(from_millis(later[0].due_at))
    else:
        raise refuse(NoClockMove())
    return See(CONSOLE, done="clock")


async def replace_fault_rules(visit: Visit) -> Answer:
    """Set the fault rules of the marketplace to the switches that are on and, unless removed, the rules from other
    sources."""
    _check_sandbox(visit)
    faults = visit.context.faults.faults
    chosen = [
        rule
        for name, switch in SWITCHES.items()
        if visit.form.has(name)
        for rule in switch.with_share(_read_share(visit, name, switch))
    ]
    others = () if visit.form.has("end_others") else _others(faults)
    rules, rough = (*others, *chosen), visit.form.has("rough")
    await visit.context.faults.replace_rules(Faults(seed=faults.seed, rules=rules, rough=rough))
    return See(CONSOLE, done="faults")


def _read_share(visit: Visit, name: str, switch: Switch) -> int:
    """Return `share_NAME=` in percent; the usual share without one. Raises INVALID_PARAMETER."""
    text = visit.form.text(f"share_{name}") or str(switch.usual_percent)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:4]) <= _WHOLE:
        raise refuse(NoShare())
    return int(text)


async def play_scenario(visit: Visit) -> Answer:
    """Play a scenario for a shop, and show its result. Raises NOT_FOUND and the errors of its steps."""
    _check_sandbox(visit)
    context = visit.context
    player = ScenarioPlayer(
        context.database,
        context.commands.acting_as(SCENARIO),
        context.clock,
        context.terms,
        context.mover,
        context.faults,
    )
    played = await player.play(find_scenario(visit.form.text("scenario")), visit.form.text("shop_id"))
    codes = [*(order.code for order in played.orders), *(returned.code for returned in played.returns)]
    found = [
        entry
        for code in codes
        for entry in await read_traffic(context.database, context.request_log, TrafficScope(played.shop_id, code))
    ]
    return await _console(visit, played, sorted(found, key=lambda entry: entry.at))


async def trigger(visit: Visit) -> Answer:
    """Send a webhook of a demo order, or of the demo return, to a shop. Raises NOT_FOUND, ORDER_NOT_ELIGIBLE,
    RETURN_HOOK."""
    _check_sandbox(visit)
    context = visit.context
    code, _, kind = visit.form.text("trigger").rpartition(":")
    is_return = code == _RETURN

    def command(facts: Facts) -> tuple[ChangeSet, None]:
        shop = find_shop(facts.view, visit.form.text("shop_id"))
        if is_return and kind in set(ReturnTriggerKind):
            return trigger_return_event(shop, ReturnTriggerKind(kind), facts), None
        found = context.demo.find(code)
        if found is None or kind not in set(TriggerKind):
            raise refuse(NoSuchDemoOrder())
        if url_for(facts.view, shop, OrderEventType.NEW_ORDER) is None:
            raise refuse(NoOrdersHook())
        return trigger_event(shop, found, TriggerKind(kind), facts), None

    await visit.commands.run(command)
    return See(CONSOLE, done="trigger")


async def _console(visit: Visit, played: Played | None, traffic: Sequence[TrafficEntry] = ()) -> Answer:
    _check_sandbox(visit)
    context, mark = visit.context, mark_place(visit, "sandbox")
    now = context.clock.now()

    def query(view: View) -> dict[str, Any]:
        return {
            "coming": _group_by_day(visit, [_coming(visit, row, now) for row in _list_due(view)]),
            "shops": sorted(shops.shops(view), key=lambda shop: shop.name.casefold()),
        }

    content = await context.database.read_list(query)
    faults, own = context.faults.faults, set(context.faults.list_shops())
    demo = [(code, found.order.state.value) for code in context.demo.codes() if (found := context.demo.find(code))]
    more = {
        "problems": visit.problems,
        "moment": athens(now),
        "faults": faults,
        "switches": [(group.value, _list_switches(group, faults)) for group in SwitchGroup],
        "others": [str(rule) for rule in _others(faults)],
        "own": [shop.name for shop in content["shops"] if shop.id in own],
        "scenarios": _list_scenarios(visit),
        "search": _search_of(visit),
        "traffic": traffic,
        "demo": demo,
        "kinds": tuple(kind.value for kind in TriggerKind),
        "demo_return": _RETURN,
        "return_kinds": tuple(kind.value for kind in ReturnTriggerKind),
        "played": played,
        "shop_id": visit.form.text("shop_id"),
        "seen": mark,
    }
    return Shown("operator/sandbox.html", content | more)


def _list_due(view: View) -> list[DueRow]:
    """The next due jobs that will have an effect: an expiry does nothing to an answered order."""
    only = {
        DueKind.EXPIRY: orders.STILL_OPEN,
        DueKind.EXPRESS: orders.STILL_OPEN,
        DueKind.REVIEW: returns.STILL_UNDER_REVIEW,
    }
    return list_coming(view, _COMING, only)


def _coming(visit: Visit, row: DueRow, now: datetime) -> Coming:
    at = from_millis(row.due_at)
    return Coming(
        kind=row.kind.value,
        subject=row.subject,
        shop_id=row.shop_id,
        at=athens(at),
        left=visit.words.time_left(at, now),
        is_return=row.subject.startswith("R-"),
    )


def _group_by_day(visit: Visit, coming: list[Coming]) -> list[tuple[str, list[Coming]]]:
    """Return the coming events by day in Athens, with the name of each day."""
    days = groupby(coming, key=lambda entry: entry.at.date())
    return [(visit.words.day(day), list(entries)) for day, entries in days]


def _list_switches(group: SwitchGroup, faults: Faults) -> list[tuple[str, str, bool, int]]:
    """Return the switches of a group: the name, the sentence, whether it is on, and its share in percent."""
    found = []
    for name, switch in SWITCHES.items():
        if switch.group is group:
            percent = switch.find_percent(faults)
            found.append((name, switch.sentence, percent is not None, percent or switch.usual_percent))
    return found


def _search_of(visit: Visit) -> str:
    return " ".join(visit.query.get("q", "").split())[:100]


def _list_scenarios(visit: Visit) -> list[tuple[str, list[Scenario]]]:
    """Return the scenarios by group; with `?q=`, those with all of its words in their name or in their sentence."""
    wanted = split_words(_search_of(visit))
    groups: list[tuple[str, list[Scenario]]] = []
    for group in ScenarioGroup:
        found = [entry for entry in scenarios().values() if entry.group is group and _has_words(visit, entry, wanted)]
        if found:
            groups.append((group.value, found))
    return groups


def _has_words(visit: Visit, scenario: Scenario, wanted: Sequence[str]) -> bool:
    words = split_words(f"{scenario.name} {scenario.sentence} {visit.words.text(scenario.sentence)}")
    return all(any(word.startswith(beginning) for word in words) for beginning in wanted)


def _others(faults: Faults) -> tuple[FaultRule, ...]:
    switched = [switch for switch in SWITCHES.values() if switch.find_percent(faults) is not None]
    return tuple(rule for rule in faults.rules if not any(switch.has(rule) for switch in switched))


def _check_sandbox(visit: Visit) -> None:
    if visit.context.terms.settings.mode != "sandbox":
        raise refuse(NoSuchPage())
