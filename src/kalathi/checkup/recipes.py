"""Guide a person through a recipe: play the marketplace's steps, wait for the shop's, and tick each step."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, Protocol
from urllib.parse import quote

import msgspec
from msgspec import to_builtins
from msgspec.structs import replace

from kalathi.checkup.cast import Cast, Ended, NotPossible, Terms
from kalathi.checkup.checking import RunningCheck, faults_of
from kalathi.checkup.stage import Stage
from kalathi.checkup.step_texts import PLACED, say_step, turn_of
from kalathi.marketplace.sandbox.checkup_report import Text
from kalathi.marketplace.sandbox.faults import FaultRule
from kalathi.marketplace.sandbox.recipes import Progress, Tick, Turn
from kalathi.marketplace.sandbox.scenario import Recipe, Scenario, scenarios
from kalathi.operator_calls import OperatorError

_NOT_FOUND: Final = "not_found"
_END_FAULTS: Final = "end_faults"
NOT_CONFIRMED: Final = Text("Not confirmed.", "Δεν επιβεβαιώθηκε.")


def list_recipes() -> list[tuple[Scenario, Recipe]]:
    """Return all recipes in their order."""
    found = [(scenario, scenario.recipe) for scenario in scenarios().values() if scenario.recipe is not None]
    return sorted(found, key=lambda pair: pair[1].place)


def begin_progress(scenario: Scenario, recipe: Recipe, shop_id: str, seed: str) -> Progress:
    """Return the progress of a recipe before its first step. The first tick is for the order itself."""
    ticks = [Tick(step=-1, turn=Turn.MARKETPLACE, say=PLACED)]
    ticks += [
        Tick(step=number, turn=turn_of(step), say=say_step(recipe, number, step))
        for number, step in enumerate(scenario.steps)
    ]
    return Progress(
        recipe=scenario.name,
        title=Text(recipe.title, recipe.title_el),
        shop_id=shop_id,
        seed=seed,
        began_at=datetime.now(UTC),
        ticks=tuple(ticks),
    )


async def load_progress(stage: Stage, name: str) -> Progress | None:
    """Return the stored progress of a recipe; None if it was never started. Raises OperatorError."""
    try:
        found = await stage.operator.call("GET", _path(stage, name))
    except OperatorError as error:
        if any(entry.code == _NOT_FOUND for entry in error.errors):
            return None
        raise
    return msgspec.convert(found, Progress)


class Guide(Protocol):
    """Talks to the person."""

    def begin(self, progress: Progress) -> None:
        """Announce the recipe."""
        ...

    def show_turn(self, tick: Tick, progress: Progress) -> None:
        """Say whose turn it is, before a step."""
        ...

    def show_tick(self, tick: Tick) -> None:
        """Show the outcome of a step."""
        ...

    async def confirm(self, tick: Tick) -> bool:
        """Ask the person about a step that the marketplace cannot see. Return whether it is done."""
        ...


class Walk:
    """A walk through one recipe. The marketplace stores each tick, so the walk can be continued."""

    def __init__(self, stage: Stage, scenario: Scenario, terms: Terms, guide: Guide) -> None:
        self._stage = stage
        self._scenario = scenario
        self._terms = terms
        self._guide = guide

    async def run(self, progress: Progress) -> Progress:
        """Run the remaining steps, up to one that the shop does not do. Raises OperatorError, ProbeError. If it is
        cancelled, the stored progress stays."""
        check = self._scenario.check
        settings = self._scenario.requires | (check.settings if check else {})
        cast = Cast(list(progress.orders), list(progress.returns), progress.forged)
        running = RunningCheck(self._stage, self._scenario, self._terms, cast)
        running.stock = progress.stock
        self._guide.begin(progress)
        has_faults = bool(faults_of(self._scenario))
        async with self._stage.prepared(settings, self._list_faults(progress), has_faults=has_faults):
            if not progress.orders:
                progress = await self._take(progress, running, running.begin, tick=0)
            for number in range(progress.next_step, len(self._scenario.steps)):
                progress = await self._run_step(progress, running, number)
                tick = progress.ticks[number + 1]
                if tick.turn is Turn.SHOP and not (tick.is_done or tick.is_unseen):
                    break  # The steps after it are about another order.
        progress = replace(progress, ended_at=datetime.now(UTC))
        await self._store(progress)
        return progress

    def _list_faults(self, progress: Progress) -> tuple[FaultRule, ...]:
        """Return the fault rules with which the walk begins. A continued one needs those of the scenario again, unless
        they have ended; a new one gets them with its order."""
        check = self._scenario.check
        faults = check.faults if check else ()
        words = [step.get("do") for step in self._scenario.steps[: progress.next_step]]
        return (*faults, *self._scenario.faults) if progress.orders and _END_FAULTS not in words else faults

    async def _run_step(self, progress: Progress, running: RunningCheck, number: int) -> Progress:
        async def step() -> None:
            if self._scenario.steps[number].get("do") != "confirm":
                await running.run_step(number)
            elif not await self._guide.confirm(progress.ticks[number + 1]):
                running.unseen = NOT_CONFIRMED

        return await self._take(progress, running, step, tick=number + 1)

    async def _take(
        self, progress: Progress, running: RunningCheck, step: Callable[[], Awaitable[None]], *, tick: int
    ) -> Progress:
        """Run a step, and store its tick."""
        self._guide.show_turn(progress.ticks[tick], progress)
        running.findings, running.unseen = [], None
        try:
            await step()
        except Ended as ended:
            running.findings.extend(ended.findings)
        except NotPossible as end:
            running.unseen = end.reason
        seen = running.findings[0].seen if running.findings else running.unseen
        is_unseen = running.unseen is not None and not running.findings
        outcome = replace(progress.ticks[tick], is_done=seen is None, is_unseen=is_unseen, seen=seen)
        ticks = (*progress.ticks[:tick], outcome, *progress.ticks[tick + 1 :])
        cast = running.cast
        progress = replace(
            progress,
            next_step=tick,
            orders=tuple(cast.orders),
            returns=tuple(cast.returns),
            forged=cast.forged,
            stock=dict(running.stock),
            ticks=ticks,
        )
        self._guide.show_tick(outcome)
        await self._store(progress)
        return progress

    async def _store(self, progress: Progress) -> None:
        await self._stage.operator.call("PUT", _path(self._stage, progress.recipe), to_builtins(progress))


def _path(stage: Stage, name: str) -> str:
    return f"/marketplace/shops/{quote(stage.shop_id, safe='')}/recipes/{quote(name, safe='')}"
