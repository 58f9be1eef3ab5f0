"""`kalathi recipe`: walk a person through one case with their own integration."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from kalathi.cli.checkup_setup import write_products
from kalathi.cli.completing import complete_recipes
from kalathi.cli.operating import Market, fail, operate, operator_options, show
from kalathi.cli.output import echo_json
from kalathi.cli.shop_choice import find_only_shop, shop_option
from kalathi.cli.tables import render_table
from kalathi.terminal import in_one_line, style

if TYPE_CHECKING:
    from kalathi.checkup.stage import Stage
    from kalathi.marketplace.sandbox.checkup_report import Text
    from kalathi.marketplace.sandbox.recipes import Progress, Tick
    from kalathi.marketplace.sandbox.scenario import Recipe, Scenario
    from kalathi.simulation.operator import OperatorClient

# A person follows each step, so there is no need to wait for much longer than a program needs.
_QUIET_SECONDS: Final = 2.0


class Options(NamedTuple):
    """The options of the command."""

    restart: bool
    patience: float
    seed: str
    products: str
    probe: str
    yes: bool
    language: str


@click.command()
@click.argument("name", required=False, shell_complete=complete_recipes)
@shop_option
@click.option("--restart", is_flag=True, help="Begin again, also if the recipe was begun before.")
@click.option("--patience", type=click.FloatRange(0.1, 86400), default=600.0, show_default=True, help="Longest wait.")
@click.option(
    "--seed", default="", help="The beginning of the products' codes. Give it once the shop knows the products."
)
@click.option(
    "--products",
    default="",
    metavar="FILE",
    help="Write the products as CSV; - prints them, and nothing else.",
)
@click.option("--yes", is_flag=True, help="Confirm the steps that the marketplace cannot see.")
@click.option(
    "--probe", envvar="KALATHI_PROBE", default="", help="How to read the shop's own system, as in kalathi checkup."
)
@click.option("--language", type=click.Choice(["en", "el"]), default="en", show_default=True, help="Language.")
@operator_options
def recipe(name: str | None, shop_id: str, data: Path, url: str, token: str, as_json: bool, **given: Any) -> None:
    """Go through one case step by step, with your own integration.

    Without a name it lists the recipes. Ctrl-C stops it, and the same command continues. Ends with 1 if a step was not
    seen.

    \b
    kalathi recipe
    kalathi recipe accept --shop YlpD0KROym
    kalathi recipe limited_stock --restart
    """
    from kalathi.checkup.products import new_seed, products_of
    from kalathi.checkup.recipes import list_recipes

    market, options = Market(data, url, token), Options(**given)
    recipes = {scenario.name: (scenario, found) for scenario, found in list_recipes()}
    if name is None:
        _list(recipes, options.language, as_json=as_json)
        return
    if name not in recipes:
        fail(f"there is no recipe {name}; there are {', '.join(recipes)}.")
    seed = options.seed or new_seed()
    if options.products:
        write_products(options.products, products_of(recipes[name][0], seed))
        if options.products == "-":
            return
    progress = _walk(
        market, shop_id or find_only_shop(market), *recipes[name], options._replace(seed=seed), is_quiet=as_json
    )
    if as_json:
        from msgspec import to_builtins

        echo_json(to_builtins(progress))
    if not all(tick.is_done or tick.is_unseen for tick in progress.ticks):
        sys.exit(1)


def _list(recipes: "dict[str, tuple[Scenario, Recipe]]", language: str, *, as_json: bool) -> None:
    entries = [
        {
            "name": name,
            "title": _say(language, found.title, found.title_el),
            "intro": _say(language, found.intro, found.intro_el),
        }
        for name, (_, found) in recipes.items()
    ]
    rows = [(entry["name"], entry["title"], entry["intro"]) for entry in entries]
    header = ("συνταγή", "τίτλος", "περίπτωση") if language == "el" else ("recipe", "title", "case")
    show(as_json, entries, render_table(header, rows))


def _say(language: str, english: str, greek: str) -> str:
    return greek if language == "el" else english


def _walk(
    market: Market, shop_id: str, scenario: "Scenario", found: "Recipe", options: Options, *, is_quiet: bool
) -> "Progress":
    from kalathi.checkup.cast import Terms
    from kalathi.checkup.opening_probes import open_probe
    from kalathi.checkup.probes import ProbeError
    from kalathi.checkup.recipes import Walk, begin_progress, load_progress
    from kalathi.checkup.stage import Stage, check_sandbox
    from kalathi.marketplace.sandbox.checks import Claim

    guide = TerminalGuide(options.language, found, is_quiet=is_quiet, confirms=options.yes)

    async def walk(operator: "OperatorClient") -> "Progress":
        await check_sandbox(operator)
        stage = Stage(
            operator, shop_id, patience_seconds=options.patience, most_quiet_seconds=_QUIET_SECONDS, may_sweep=False
        )
        await _check_returns_url(stage, scenario)
        progress = None if options.restart else await load_progress(stage, scenario.name)
        if progress is None or progress.ended_at is not None:
            progress = begin_progress(scenario, found, shop_id, options.seed)
        probe = open_probe(options.probe) if options.probe else None
        try:
            terms = Terms(frozenset(Claim), progress.seed, probe)
            return await Walk(stage, scenario, terms, guide).run(progress)
        finally:
            if probe is not None:
                await probe.close()

    try:
        walked: Progress = operate(*market, walk)
    except (ProbeError, ValueError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        hint = _say(options.language, "To continue, run the same command.", "Για συνέχεια, τρέξτε την ίδια εντολή.")
        click.echo(f"\n{hint}", err=True)
        sys.exit(130)
    return walked


async def _check_returns_url(stage: "Stage", scenario: "Scenario") -> None:
    """Check that a shop with returns gets their webhooks. Raises ValueError."""
    shop = await stage.show_shop()
    has_returns = any(step.get("do") == "ask_return" for step in scenario.steps)
    if has_returns and not (shop["returns_webhook_url"] and shop["returns_webhook_enabled"]):
        options = "--returns-webhook-url URL --returns-webhook-enabled"
        raise ValueError(
            f"shop {shop['id']} has no URL for return webhooks. Run: kalathi shop edit {shop['id']} {options}"
        )


class TerminalGuide:
    """Talks to a person in a terminal."""

    def __init__(self, language: str, found: "Recipe", *, is_quiet: bool, confirms: bool) -> None:
        """With `confirms`, steps that the marketplace cannot see count as done."""
        self._language = language
        self._found = found
        self._is_quiet = is_quiet
        self._confirms = confirms

    def begin(self, progress: "Progress") -> None:
        """Print the title, the introduction, and the steps that are done already."""
        self._echo(style(_say(self._language, self._found.title, self._found.title_el), bold=True))
        self._echo(_say(self._language, self._found.intro, self._found.intro_el))
        shop = _say(self._language, "shop", "κατάστημα")
        seed = _say(self._language, "products begin with", "τα προϊόντα αρχίζουν από")
        self._echo(f"{shop} {progress.shop_id}, {seed} {progress.seed}-\n")
        for tick in progress.ticks:
            if tick.is_done:
                self.show_tick(tick)

    def show_turn(self, tick: "Tick", progress: "Progress") -> None:
        """Say that it is the person's turn. All other steps only get their tick."""
        if tick.turn != "shop":
            return
        turn = _say(self._language, "your turn", "σειρά σας")
        codes = ", ".join([*progress.orders[-1:], *progress.returns[-1:]])
        about = f" ({codes})" if codes else ""
        self._echo(f"  {style(turn, fg='yellow')}: {in_one_line(self._text(tick.say))}{about}")

    def show_tick(self, tick: "Tick") -> None:
        """Print a tick, or the actual behaviour."""
        mark = style("✓", fg="green") if tick.is_done else "–" if tick.is_unseen else style("✗", fg="red")
        word = _say(self._language, "Seen", "Βρέθηκε")
        lead = "" if tick.is_unseen else f"{word}: "
        seen = f" {lead}{in_one_line(self._text(tick.seen))}" if tick.seen else ""
        self._echo(f"{mark} {in_one_line(self._text(tick.say))}{seen}")

    async def confirm(self, tick: "Tick") -> bool:
        """Ask in a terminal. Without one, --yes confirms."""
        if self._confirms or self._is_quiet or not sys.stdin.isatty():
            return self._confirms
        self._echo(_say(self._language, "  Done? [Enter: yes, s: skip]", "  Έγινε; [Enter: ναι, s: παράλειψη]"))
        return (await asyncio.to_thread(sys.stdin.readline)).strip().lower() not in {"s", "n", "no"}

    def _text(self, text: "Text") -> str:
        return text.in_language(self._language)

    def _echo(self, text: str) -> None:
        if not self._is_quiet:
            click.echo(text)
