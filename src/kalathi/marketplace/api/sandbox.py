"""The sandbox's own calls: faults, scenarios, and the addresses from which webhooks are sent."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Annotated, Any

from msgspec import Meta, Struct

from kalathi.contract.codec import encode
from kalathi.marketplace.api.calls import Call
from kalathi.marketplace.api.merchant_routes import API_CALLS
from kalathi.marketplace.api.operator import ShopBody
from kalathi.marketplace.kernel.actors import SCENARIO
from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.listening.messages import EVENT_TYPES
from kalathi.marketplace.sandbox import resetting
from kalathi.marketplace.sandbox.fault_rules import FaultRules
from kalathi.marketplace.sandbox.faults import FaultPlace, FaultRule, Faults
from kalathi.marketplace.sandbox.player import ScenarioPlayer, Section
from kalathi.marketplace.sandbox.scenario import describe_scenario, find_scenario, overridden, scenarios
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.commands import find_shop
from kalathi.marketplace.shops.model import without_passwords
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.reply import Reply


class IpRanges(Struct, frozen=True, kw_only=True):
    """`GET /ip_ranges.json`: the source addresses of webhooks. `last_modified` is UTC."""

    ipv4: list[str]
    ipv6: list[str]
    last_modified: datetime


class FaultsShown(Faults, frozen=True, kw_only=True):
    """The fault rules of the marketplace, and the ids of the shops that have rules of their own."""

    shops: list[str]


async def show_faults(context: Context, call: Call) -> Reply:
    """Show the fault rules of the marketplace, for the API answers and deliveries of all shops."""
    return Reply(200, encode(_show(context.faults)))


async def put_faults(context: Context, call: Call) -> Reply:
    """Set the fault rules of the marketplace, for the API answers and deliveries of all shops. An empty list removes
    all, and turns off the rough mixture. Rules of single shops stay."""
    faults: Faults = call.body
    named = {rule.shop_id for rule in faults.rules if rule.shop_id}
    there = await context.database.read(lambda view: shops.shops_by_id(view, named) if named else {})
    _check_names(faults, there)
    await context.faults.replace_rules(faults)
    return Reply(200, encode(_show(context.faults)))


async def show_shop_faults(context: Context, call: Call) -> Reply:
    """Show the shop's own fault rules. They apply in addition to those of the marketplace."""
    shop_id = await _find_shop_id(context, call)
    return Reply(200, encode(context.faults.of_shop(shop_id)))


async def put_shop_faults(context: Context, call: Call) -> Reply:
    """Set the shop's own fault rules, with their own seed. Other shops keep their rules and call counters, so parallel
    tests, each with its own shop, stay independent."""
    shop_id = await _find_shop_id(context, call)
    faults: Faults = call.body
    _check_names(faults, {shop_id, *(rule.shop_id for rule in faults.rules if rule.shop_id)})
    await context.faults.replace_shop_rules(shop_id, faults)
    return Reply(200, encode(context.faults.of_shop(shop_id)))


async def remove_shop_faults(context: Context, call: Call) -> Reply:
    """Remove the shop's own fault rules."""
    shop_id = await _find_shop_id(context, call)
    await context.faults.replace_shop_rules(shop_id, Faults())
    return Reply(200, encode(context.faults.of_shop(shop_id)))


async def _find_shop_id(context: Context, call: Call) -> str:
    """Return the id of the shop in the path. Raises NOT_FOUND."""
    return (await context.database.read_point(lambda view: find_shop(view, call.path["shop_id"]))).id


def _show(rules: FaultRules) -> FaultsShown:
    faults = rules.faults
    return FaultsShown(seed=faults.seed, rules=faults.rules, rough=faults.rough, shops=rules.list_shops())


def _check_names(faults: Faults, there: Collection[str]) -> None:
    """Check the calls and shops of the rules. Raises INVALID_PARAMETER."""
    wrong = [sentence for number, rule in enumerate(faults.rules) for sentence in _unknown(number, rule, there)]
    if wrong:
        raise invalid_parameter(*wrong[:10])


def _unknown(number: int, rule: FaultRule, there: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each call or shop of the rule that does not exist."""
    calls = API_CALLS if rule.on is FaultPlace.API else sorted(EVENT_TYPES)
    if rule.call is not None and rule.call not in calls:
        yield f"rules[{number}].call: there is no {rule.call}; there are {', '.join(calls)}."
    if rule.shop_id and rule.shop_id not in there:
        yield f"rules[{number}].shop_id: there is no shop {rule.shop_id}."


class ScenarioShown(Struct, frozen=True, kw_only=True):
    """A scenario, its purpose, and the shop settings that it needs."""

    name: str
    sentence: str
    requires: dict[str, Any]


class ScenarioList(Struct, frozen=True, kw_only=True):
    """`GET /marketplace/scenarios`"""

    scenarios: list[ScenarioShown]


class PlayScenario(Struct, frozen=True, kw_only=True, rename={"values": "set"}):
    """The shop, and values to override by path, such as `{"order.line_items[0].quantity": 3}`.

    A check plays a scenario in sections: the steps from `first_step` (from 0) to before `end_step`. A later section
    names the `orders` and `returns` of the earlier ones, oldest first.
    """

    shop_id: Annotated[str, Meta(max_length=50)]
    values: Annotated[dict[str, Any], Meta(max_length=100)] = {}
    first_step: Annotated[int, Meta(ge=0)] = 0
    end_step: Annotated[int, Meta(ge=0)] | None = None
    orders: Annotated[tuple[Annotated[str, Meta(max_length=50)], ...], Meta(max_length=200)] = ()
    returns: Annotated[tuple[Annotated[str, Meta(max_length=50)], ...], Meta(max_length=200)] = ()


async def list_scenarios(_context: Context, call: Call) -> Reply:
    """List the available scenarios."""
    shown = [
        ScenarioShown(name=entry.name, sentence=entry.sentence, requires=entry.requires)
        for entry in scenarios().values()
    ]
    return Reply(200, encode(ScenarioList(scenarios=shown)))


async def show_scenario(_context: Context, call: Call) -> Reply:
    """Show a scenario's document, with the path of each of its values."""
    return Reply(200, encode(describe_scenario(find_scenario(call.path["name"]))))


async def play_scenario(context: Context, call: Call) -> Reply:
    """Play a scenario for a shop, and answer when it has ended. A scenario can move the clock."""
    wanted: PlayScenario = call.body
    scenario = overridden(find_scenario(call.path["name"]), wanted.values)
    player = ScenarioPlayer(
        context.database,
        context.commands.acting_as(SCENARIO),
        context.clock,
        context.terms,
        context.mover,
        context.faults,
    )
    section = Section(wanted.first_step, wanted.end_step, wanted.orders, wanted.returns)
    return Reply(201, encode(await player.play(scenario, wanted.shop_id, section)))


async def reset_one_shop(context: Context, call: Call) -> Reply:
    """Delete the shop's orders, returns, webhooks, listings, stock, goods in the warehouse and fault rules in one call.
    Its settings, locations and token remain. A declared shop gets its declared listings and fault rules again. Jobs in
    flight end without an effect."""
    shop = await resetting.run_reset(context.database, call.path["shop_id"], context.declared)
    context.faults.forget_shop(shop.id)
    declared = context.declared.shop(shop.id)
    if declared is not None and not declared.faults.is_empty:
        await context.faults.replace_shop_rules(shop.id, declared.faults)
    return Reply(200, encode(ShopBody(shop=without_passwords(shop))))


async def show_ip_ranges(context: Context, call: Call) -> Reply:
    """Show the IP ranges from which all webhooks are sent."""
    return Reply(200, encode(ip_ranges(context.terms.settings.ip_ranges, context.terms.settings.ip_ranges_modified)))


def ip_ranges(ranges: str, modified: str) -> IpRanges:
    """Read the two settings, and return the published ranges. Raises ValueError."""
    networks = [ip_network(part.strip()) for part in ranges.split(",") if part.strip()]
    try:
        moment = datetime.fromisoformat(modified)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"ip_ranges_modified: {modified!r} is no time with an offset, such as 2026-11-25T00:00:00Z")
    return IpRanges(
        ipv4=[str(network) for network in networks if network.version == 4],
        ipv6=[str(network) for network in networks if network.version == 6],
        last_modified=moment.astimezone(UTC),
    )
