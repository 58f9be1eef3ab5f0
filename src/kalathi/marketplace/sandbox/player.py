"""The player of scenarios. For a shop, it adds listings, places a cart, and runs the steps of the shop, the customer,
support, the courier and the clock. Each step uses the same tables of operations as the APIs."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from kalathi.contract.words import OrderState, ReturnState
from kalathi.marketplace.kernel.clock import BusinessClock, athens
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, invalid_parameter, refuse
from kalathi.marketplace.kernel.ids import opaque_id
from kalathi.marketplace.kernel.moving import ClockMover
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.orders import placing, queries, wire
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.model import FoundOrder, NewCart, NewCartItem
from kalathi.marketplace.orders.operations import OPERATIONS, SHOP_ACTIONS, Operation
from kalathi.marketplace.orders.recording import Recorded
from kalathi.marketplace.orders.refusals import OrderAlready
from kalathi.marketplace.orders.running import CommandRunner
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.sandbox.checks import is_expectation
from kalathi.marketplace.sandbox.fault_rules import FaultRules
from kalathi.marketplace.sandbox.refusals import NeedsAnotherShop, StepRefused
from kalathi.marketplace.sandbox.return_steps import ReturnSteps
from kalathi.marketplace.sandbox.scenario import Scenario, lines_of, read_as, resolve
from kalathi.marketplace.sandbox.stock_steps import StockSteps
from kalathi.marketplace.sandbox.webhook_steps import WebhookSteps
from kalathi.marketplace.shops import commands as shop_commands
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.model import NewListing, NewLocation
from kalathi.marketplace.warehouse import store as warehouse

# If the shop's connected system answers before the scenario does, its answer counts.
_ANSWERS: Final = frozenset({"accept", "reject"})
_SPARE_PIECES: Final = 20
_OWN_LISTINGS: Final = "KALATHI-"
_OF_A_LINE: Final = frozenset({*NewCartItem.__struct_fields__, *NewListing.__struct_fields__, "preorder_ships_in_days"})
_OF_AN_ORDER: Final = frozenset({*NewCart.__struct_fields__, "line_items", "from_warehouse"})
# `by` of a step that an employee of the shop does by hand. A check plays it instead of waiting for it.
_SHOP: Final = "shop"
# The members of a step that are not part of its body.
_OF_A_STEP: Final = frozenset({"do", "on", "by", "refused"})
_Days = Annotated[int, Meta(ge=0, le=365)]
_Times = Annotated[int, Meta(ge=1, le=100)]
_OTHER_LOCATION: Final = NewLocation(
    street_name="Τσιμισκή", street_number="5", zip="54624", city="Θεσσαλονίκη", region="Θεσσαλονίκη"
)


class PlayedStep(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of a step: its order, and the order's state after it."""

    do: str
    code: str = ""
    state: str = ""
    note: str = ""


class PlayedOrder(Struct, frozen=True, kw_only=True):
    """An order that the scenario created, with its state at the end."""

    code: str
    state: OrderState


class PlayedReturn(Struct, frozen=True, kw_only=True):
    """A return that the scenario created, with its state at the end."""

    code: str
    state: ReturnState


class Section(NamedTuple):
    """A part of a scenario's steps: from `first` to before `end`, or to the last step. A later part continues with the
    `orders` and `returns` of the earlier ones, oldest first; without orders, the scenario's order is placed."""

    first: int = 0
    end: int | None = None
    orders: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()


WHOLE: Final = Section()


class Played(Struct, frozen=True, kw_only=True):
    """The result of a scenario."""

    scenario: str
    shop_id: str
    orders: list[PlayedOrder]
    returns: list[PlayedReturn]
    steps: list[PlayedStep]
    now: datetime


class _Cast(NamedTuple):
    """The orders and returns of the scenario so far, oldest first."""

    shop_id: str
    orders: list[str]
    returns: list[str]

    def code_of(self, step: Mapping[str, Any]) -> str:
        """The order of a step: the first, unless the step is on the newest."""
        return self.orders[-1] if step.get("on") == "newest" else self.orders[0]


class ScenarioPlayer:
    """Plays scenarios in one marketplace."""

    def __init__(
        self,
        database: Database,
        commands: CommandRunner,
        clock: BusinessClock,
        terms: Terms,
        mover: ClockMover,
        faults: FaultRules,
    ) -> None:
        self._database = database
        self._clock = clock
        self._commands = commands
        self._terms = terms
        self._mover = mover
        self._returns = ReturnSteps(database, commands)
        self._webhooks = WebhookSteps(commands, faults)
        self._stock = StockSteps(database, clock)

    async def play(self, scenario: Scenario, shop_id: str, section: Section = WHOLE) -> Played:
        """Play the scenario, or a section of its steps, for this shop. `expect` steps are skipped.

        Raises NOT_FOUND, INVALID_PARAMETER, and the error of a step with the step's number; the effects of earlier
        steps remain."""
        await self._check_requirements(scenario, shop_id)
        _check_names(scenario)
        cast = await self._find_cast(shop_id, section)
        injects = bool(scenario.faults) and not cast.orders
        try:
            if injects:
                await self._webhooks.inject(scenario, shop_id)
            if not cast.orders:
                cast.orders.append(await self._stock_and_place(scenario, shop_id))
            played = await self._play_steps(scenario, section, cast)
        except DomainError:
            if injects:
                await self._webhooks.end_faults(scenario, shop_id)
            raise
        found = [(await self._order(code)).order for code in cast.orders]
        asked = [(await self._returns.find(code)).returned for code in cast.returns]
        return Played(
            scenario=scenario.name,
            shop_id=shop_id,
            orders=[PlayedOrder(code=order.code, state=order.state) for order in found],
            returns=[PlayedReturn(code=entry.return_code, state=entry.state) for entry in asked],
            steps=played,
            now=athens(self._clock.now()),
        )

    async def _find_cast(self, shop_id: str, section: Section) -> _Cast:
        """Return the orders and returns of the earlier sections. Raises NOT_FOUND, INVALID_PARAMETER."""
        for code in section.orders:
            if (await self._order(code)).order.shop_id != shop_id:
                raise invalid_parameter(f"orders: {code} is not an order of shop {shop_id}.")
        for code in section.returns:
            if (await self._returns.find(code)).returned.shop_id != shop_id:
                raise invalid_parameter(f"returns: {code} is not a return of shop {shop_id}.")
        return _Cast(shop_id, list(section.orders), list(section.returns))

    async def _play_steps(self, scenario: Scenario, section: Section, cast: _Cast) -> list[PlayedStep]:
        """Play the steps of a section. Raises the error of a step with the step's number."""
        played = []
        for number, step in list(enumerate(scenario.steps, start=1))[section.first : section.end]:
            if is_expectation(step):
                continue
            try:
                played.append(await self._refusable(step, scenario, cast))
            except DomainError as error:
                action = str(step.get("do"))
                raise DomainError(
                    error.code, *(StepRefused(number, action, reason) for reason in error.reasons)
                ) from None
        return played

    async def _stock_and_place(self, scenario: Scenario, shop_id: str) -> str:
        """Add the stock of the scenario's order, and place it. Return its code."""
        lines = [self._date_line(line) for line in lines_of(scenario)]
        from_warehouse = bool(scenario.order.get("from_warehouse"))
        await self._database.run(
            lambda view: _add_stock(view, shop_id, lines, self._clock.now(), from_warehouse=from_warehouse)
        )
        return await self._place(scenario, shop_id, lines)

    def _date_line(self, line: dict[str, Any]) -> dict[str, Any]:
        """Return the line with the day of a preorder, counted from the current business time."""
        days = line.get("preorder_ships_in_days")
        if days is None:
            return line
        ships_on = athens(self._clock.now() + timedelta(days=read_as(days, _Days, "preorder_ships_in_days"))).date()
        return line | {"preorder_ships_on": ships_on}

    async def _order(self, code: str) -> FoundOrder:
        return await self._database.read(lambda view: queries.find_order(view, code))

    async def _check_requirements(self, scenario: Scenario, shop_id: str) -> None:
        shop = await self._database.read(lambda view: shop_commands.find_shop(view, shop_id))
        for name, wanted in scenario.requires.items():
            if getattr(shop, name) != wanted:
                raise refuse(NeedsAnotherShop(scenario.name, name, wanted, shop_id))

    async def _place(self, scenario: Scenario, shop_id: str, lines: Sequence[dict[str, Any]]) -> str:
        asked = {name: value for name, value in scenario.order.items() if name in NewCart.__struct_fields__}
        items = [_only(line, NewCartItem) | {"shop_id": shop_id} for line in lines]
        cart = read_as(asked | {"items": items}, NewCart, "order")
        placed = await self._commands.run(lambda facts: placing.place(cart, facts), codes=1)
        return placed[0].code

    async def _refusable(self, step: dict[str, Any], scenario: Scenario, cast: _Cast) -> PlayedStep:
        """Run a step. If the step expects to be `refused`, return the refusal as its note, and the scenario continues.
        Raises INVALID_PARAMETER if such a step succeeds."""
        try:
            played = await self._step(step, scenario, cast)
        except DomainError as error:
            if not step.get("refused"):
                raise
            return PlayedStep(do=str(step["do"]), code=(cast.returns or cast.orders)[-1], note=" ".join(error.messages))
        if step.get("refused") and not played.note:
            raise invalid_parameter("It was to be refused, and was not.")
        return played

    async def _step(self, step: dict[str, Any], scenario: Scenario, cast: _Cast) -> PlayedStep:
        word, code, shop_id = str(step.get("do")), cast.code_of(step), cast.shop_id
        match word:
            case "advance":
                await self._advance(step, code)
                return PlayedStep(do=word, note=athens(self._clock.now()).isoformat())
            case "add_location":
                return await self._add_location(shop_id)
            case "place_again":
                for _ in range(read_as(step.get("times", 1), _Times, "times")):
                    cast.orders.append(await self._stock_and_place(scenario, shop_id))
                return PlayedStep(do=word, code=cast.orders[-1], state=OrderState.OPEN)
            case "ask_return":
                cast.returns.append(await self._returns.request_return(_body_of(step), code))
                asked = (await self._returns.find(cast.returns[-1])).returned
                return PlayedStep(do=word, code=cast.returns[-1], state=asked.state)
            case "confirm":
                return PlayedStep(do=word, code=code)
            case "set_stock" | "scan" | "end_scan":
                return await self._run_stock_step(step, scenario, shop_id)
            case "end_faults" | "resend" | "unknown_event" | "forged_event":
                return await self._run_webhook_step(step, scenario, cast)
        if step.get("on") in {"return", "first_return"} and cast.returns:
            name = cast.returns[-1] if step["on"] == "return" else cast.returns[0]
            reached, note = await self._returns.move(word, _body_of(step), name)
            return PlayedStep(do=word, code=name, state=reached, note=note)
        return await self._run_operation(step, cast)

    async def _run_stock_step(self, step: dict[str, Any], scenario: Scenario, shop_id: str) -> PlayedStep:
        word = str(step["do"])
        match word:
            case "set_stock":
                shop_uids = list(dict.fromkeys(str(line.get("shop_uid")) for line in lines_of(scenario)))
                return PlayedStep(do=word, note=await self._stock.set_stock(shop_id, shop_uids, step))
            case "scan":
                return PlayedStep(do=word, note=await self._stock.scan(shop_id, step))
            case _:
                await self._stock.end_scan(shop_id)
                return PlayedStep(do=word)

    async def _run_webhook_step(self, step: dict[str, Any], scenario: Scenario, cast: _Cast) -> PlayedStep:
        word, code = str(step["do"]), cast.code_of(step)
        match word:
            case "end_faults":
                await self._webhooks.end_faults(scenario, cast.shop_id)
            case "resend":
                await self._webhooks.resend(code)
            case "unknown_event":
                await self._webhooks.send_unknown_event(code)
            case _:
                code = await self._webhooks.send_forged_event(code)
        return PlayedStep(do=word, code=code)

    async def _run_operation(self, step: dict[str, Any], cast: _Cast) -> PlayedStep:
        word, code = str(step.get("do")), cast.code_of(step)
        is_shop = step.get("by", _SHOP) == _SHOP and word in SHOP_ACTIONS
        operation = (SHOP_ACTIONS if is_shop else OPERATIONS).get(word)
        if operation is None:
            raise invalid_parameter(f"{word[:40]} is not something that a step can do.")
        try:
            recorded = await self._operate(operation, step, code)
        except DomainError as error:
            if word in _ANSWERS and error.code is ErrorCode.ORDER_STATUS:
                state = (await self._order(code)).order.state
                return PlayedStep(do=word, code=code, state=state, note="The shop was faster.")
            raise
        cast.orders.extend(recorded.placed)
        return PlayedStep(do=word, code=code, state=(await self._order(code)).order.state)

    async def _operate(self, operation: Operation, step: dict[str, Any], code: str) -> Recorded:
        def command(facts: Facts) -> tuple[ChangeSet, Recorded]:
            found = queries.find_order(facts.view, code)
            if step["do"] in _ANSWERS and found.order.state is not OrderState.OPEN:
                raise refuse(OrderAlready(found.order.state))
            shown = msgspec.json.decode(wire.order_body_with_actions(found, facts.terms.offer(found.shop), facts.now))
            windows = facts.terms.schedule.offer_windows(facts.now)
            shown["order"]["windows"] = [{"id": window.id} for window in windows]
            body = None
            if operation.body is not None:
                body = read_as(resolve(_body_of(step), shown["order"]), operation.body, str(step["do"]))
            recorded = operation.run(found, body, facts)
            return recorded.changes, recorded

        return await self._commands.run(command, codes=1)

    async def _advance(self, step: dict[str, Any], code: str) -> None:
        if "to" not in step:
            await self._mover.advance(read_as(step.get("seconds", 0), int, "seconds"))
            return
        found = await self._order(code)
        order = msgspec.json.decode(wire.order_body(found.document, self._terms.offer(found.shop), self._clock.now()))
        await self._mover.move_to(read_as(resolve(step["to"], order["order"]), datetime, "to"))

    async def _add_location(self, shop_id: str) -> PlayedStep:
        shop = await self._database.read(lambda view: shop_commands.find_shop(view, shop_id))
        if len(shop.locations) > 1:
            return PlayedStep(do="add_location", note="The shop has more than one already.")
        location_id = opaque_id()
        await self._database.run(lambda view: shop_commands.add_location(view, shop_id, _OTHER_LOCATION, location_id))
        return PlayedStep(do="add_location", note=location_id)


def _check_names(scenario: Scenario) -> None:
    """Check the scenario's members. Raises INVALID_PARAMETER for a name that an order or a line cannot have."""
    of_an_order, of_a_line = _OF_AN_ORDER, _OF_A_LINE | {"times"}
    wrong = [(f"order.{name[:40]}", of_an_order) for name in scenario.order if name not in of_an_order]
    for line in scenario.order.get("line_items", []):
        wrong += [(f"order.line_items: {name[:40]}", of_a_line) for name in line if name not in of_a_line]
    if wrong:
        raise invalid_parameter(
            *(
                f"{name} is nothing that a scenario can set; there are {_join_names(there)}."
                for name, there in wrong[:10]
            )
        )


def _join_names(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


def _body_of(step: dict[str, Any]) -> dict[str, Any]:
    """Return the step's body: the members that do not describe the step itself."""
    return {name: value for name, value in step.items() if name not in _OF_A_STEP}


def _add_stock(
    view: View, shop_id: str, lines: Sequence[dict[str, Any]], now: datetime, *, from_warehouse: bool
) -> tuple[ChangeSet, None]:
    """Add missing listings, and enough stock of all. With `from_warehouse`, add stock to the warehouse too."""
    wanted: dict[str, int] = {}
    for line in lines:
        item = read_as(_only(line, NewCartItem) | {"shop_id": shop_id}, NewCartItem, "order.line_items")
        wanted[item.shop_uid] = wanted.get(item.shop_uid, 0) + item.quantity
    present = shops.listings(view, shop_id, wanted)
    missing = {}
    for line in lines:
        uid = line["shop_uid"]
        # A scenario's own listings are set each time, so that `--set` of one of them counts.
        if uid not in present or str(uid).startswith(_OWN_LISTINGS):
            there = present[uid].quantity if uid in present else 0
            pieces = {"quantity": max(there, wanted[uid] + _SPARE_PIECES)}
            listing = read_as(_only(line, NewListing) | pieces, NewListing, "order.line_items")
            missing[listing.shop_uid] = listing
    changes, _ = shop_commands.put_listings(view, shop_id, list(missing.values()), now)
    for uid, entry in present.items():
        # Later steps can need more stock than the order, because a replacement takes the same quantity again.
        if uid not in missing and entry.quantity < 2 * wanted[uid]:
            changes.add(shops.set_stock(shop_id, uid, wanted[uid] + _SPARE_PIECES))
    if from_warehouse:
        lying = warehouse.in_stock(view, shop_id, wanted)
        changes.add(
            *(
                warehouse.put_in(shop_id, uid, quantity, is_known=uid in lying)
                for uid, quantity in wanted.items()
                if lying.get(uid, 0) < quantity
            )
        )
    return changes, None


def _only(line: dict[str, Any], wanted: type[Struct]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name in wanted.__struct_fields__}
