"""The sandbox's console: the clock and coming jobs, faults as switches, scenarios, demo orders. Production mode has
none."""

from datetime import datetime
from typing import Any, Final, NamedTuple

from kalathi.contract.words import OrderEventType
from kalathi.marketplace.kernel.actors import SCENARIO
from kalathi.marketplace.kernel.clock import athens, from_millis
from kalathi.marketplace.kernel.due import DueKind, DueRow, list_coming
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.panel.operator.overview import mark_place
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoClockMove, NoOrdersHook, NoSuchDemoOrder, NoSuchPage, NothingDue
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.returns import store as returns
from kalathi.marketplace.sandbox.faults import FaultKind, FaultPlace, FaultRule, Faults
from kalathi.marketplace.sandbox.player import Played, ScenarioPlayer
from kalathi.marketplace.sandbox.return_triggers import ReturnTriggerKind, trigger_return_event
from kalathi.marketplace.sandbox.scenario import find_scenario, scenarios
from kalathi.marketplace.sandbox.triggers import TriggerKind, trigger_event
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.commands import find_shop
from kalathi.marketplace.webhooks.listeners import url_for

CONSOLE: Final = "/operator/sandbox"
_COMING: Final = 20
_HOUR_SECONDS: Final = 3600
_STEPS: Final = {"hour": _HOUR_SECONDS, "day": 24 * _HOUR_SECONDS}
_RETURN: Final = "DEMO-RETURN:return"


class Switch(NamedTuple):
    """A fault that can be switched on and off."""

    sentence: str
    rules: tuple[FaultRule, ...]


def _on_api(sentence: str, kind: FaultKind, **members: Any) -> Switch:
    return Switch(sentence, (FaultRule(on=FaultPlace.API, kind=kind, **members),))


def _on_webhooks(sentence: str, kind: FaultKind, **members: Any) -> Switch:
    return Switch(sentence, (FaultRule(on=FaultPlace.WEBHOOKS, kind=kind, **members),))


def _in_half_of_the_bodies(sentence: str, kind: FaultKind) -> Switch:
    return Switch(sentence, tuple(FaultRule(on=place, kind=kind, probability=0.5) for place in FaultPlace))


SWITCHES: Final[dict[str, Switch]] = {
    "api_slow": _on_api("Each call of the API takes two seconds longer", FaultKind.DELAY, seconds=2),
    "api_errors": _on_api("Half of the calls fail with 503", FaultKind.ERROR, probability=0.5),
    "api_refused": _on_api("One call in ten is refused with 422", FaultKind.ERROR, probability=0.1, status=422),
    "api_limits": _on_api("One call in five is refused with 429", FaultKind.RATE_LIMIT, probability=0.2),
    "api_lost": _on_api(
        "One call in five is done, and its answer is lost", FaultKind.DROP, probability=0.2, after=True
    ),
    "api_scanning": _on_api(
        "Half of the batches of stock and prices meet a scan of the XML", FaultKind.SCANNING, probability=0.5
    ),
    "webhooks_slow": _on_webhooks("Webhooks come three seconds late", FaultKind.DELAY, seconds=3),
    "webhooks_errors": _on_webhooks("Half of the webhooks fail with 503", FaultKind.ERROR, probability=0.5),
    "webhooks_lost": _on_webhooks("One webhook in three is lost on its way", FaultKind.DROP, probability=0.33),
    "webhooks_unheard": _on_webhooks(
        "One webhook in three arrives, and its answer is lost",
        FaultKind.TIMEOUT,
        probability=0.33,
        seconds=1,
        after=True,
    ),
    "webhooks_twice": _on_webhooks("Half of the webhooks arrive twice", FaultKind.DUPLICATE, probability=0.5),
    "webhooks_order": _on_webhooks(
        "One webhook in three arrives after the one that follows it", FaultKind.REORDER, probability=0.33, seconds=30
    ),
    "bodies_unknown": _in_half_of_the_bodies(
        "Half of the answers and webhooks have an unknown member", FaultKind.UNKNOWN_MEMBER
    ),
    "bodies_words": _in_half_of_the_bodies(
        "Half of the answers and webhooks have an unknown value, such as a new payment method", FaultKind.NEW_WORD
    ),
    "bodies_absent": _in_half_of_the_bodies(
        "Half of the answers and webhooks lack an optional member", FaultKind.ABSENT_MEMBER
    ),
    "bodies_null": _in_half_of_the_bodies(
        "Half of the answers and webhooks have null for an optional member", FaultKind.NULL_MEMBER
    ),
    "bodies_texts": _in_half_of_the_bodies(
        "Half of the answers and webhooks have a number as text", FaultKind.NUMBER_AS_TEXT
    ),
    "bodies_numbers": _in_half_of_the_bodies(
        "Half of the answers and webhooks have a text of digits as a number", FaultKind.TEXT_AS_NUMBER
    ),
    "bodies_layout": _in_half_of_the_bodies(
        "Half of the answers and webhooks have extra whitespace and reordered members", FaultKind.LAYOUT
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
    chosen = [rule for name, switch in SWITCHES.items() if visit.form.has(name) for rule in switch.rules]
    others = () if visit.form.has("end_others") else _others(faults)
    rules, rough = (*others, *chosen), visit.form.has("rough")
    await visit.context.faults.replace_rules(Faults(seed=faults.seed, rules=rules, rough=rough))
    return See(CONSOLE, done="faults")


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
    return await _console(visit, played)


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


async def _console(visit: Visit, played: Played | None) -> Answer:
    _check_sandbox(visit)
    context, mark = visit.context, mark_place(visit, "sandbox")
    now = context.clock.now()

    def query(view: View) -> dict[str, Any]:
        return {
            "coming": [_coming(visit, row, now) for row in _list_due(view)],
            "shops": sorted(shops.shops(view), key=lambda shop: shop.name.casefold()),
        }

    content = await context.database.read_list(query)
    faults, own = context.faults.faults, set(context.faults.list_shops())
    demo = [(code, found.order.state.value) for code in context.demo.codes() if (found := context.demo.find(code))]
    more = {
        "problems": visit.problems,
        "moment": athens(now),
        "faults": faults,
        "switches": [
            (name, switch.sentence, set(switch.rules) <= set(faults.rules)) for name, switch in SWITCHES.items()
        ],
        "others": [str(rule) for rule in _others(faults)],
        "own": [shop.name for shop in content["shops"] if shop.id in own],
        "scenarios": list(scenarios().values()),
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


def _others(faults: Faults) -> tuple[FaultRule, ...]:
    switched = {rule for switch in SWITCHES.values() for rule in switch.rules if set(switch.rules) <= set(faults.rules)}
    return tuple(rule for rule in faults.rules if rule not in switched)


def _check_sandbox(visit: Visit) -> None:
    if visit.context.terms.settings.mode != "sandbox":
        raise refuse(NoSuchPage())
