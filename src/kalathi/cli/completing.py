"""Completion of scenarios, shops, order codes and return codes in a shell. Without a marketplace, only the scenarios
are known; a completion never reports an error."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from kalathi.cli.operating import find_market
from kalathi.terminal import in_one_line

# A shell waits for its completions.
_LIMIT_SECONDS: Final = 2.0

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
_Entries = Callable[[Any], Awaitable[list[CompletionItem]]]


def complete_scenarios(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the scenarios whose names begin with the typed text."""
    from kalathi.marketplace.sandbox.scenario import scenarios

    entries = [CompletionItem(name, help=scenario.sentence) for name, scenario in scenarios().items()]
    return _filter_by_prefix(entries, typed)


def complete_checks(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the checks of a checkup whose names begin with the typed text."""
    from kalathi.marketplace.sandbox.scenario import scenarios

    entries = [CompletionItem(name, help=entry.check.title) for name, entry in scenarios().items() if entry.check]
    return _filter_by_prefix(entries, typed)


def complete_recipes(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the recipes whose names begin with the typed text."""
    from kalathi.marketplace.sandbox.scenario import scenarios

    entries = [CompletionItem(name, help=entry.recipe.title) for name, entry in scenarios().items() if entry.recipe]
    return _filter_by_prefix(entries, typed)


def complete_shops(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Return the ids of the shops, each with its name."""

    async def read(operator: Any) -> list[CompletionItem]:
        return [CompletionItem(shop["id"], help=shop["name"]) for shop in await operator.shops()]

    return _filter_by_prefix(_read(context, read), typed)


def complete_codes(*kinds: str) -> Complete:
    """Return the completion of the newest codes of these kinds, `orders` or `returns`, each with its state."""

    def complete(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        async def read(operator: Any) -> list[CompletionItem]:
            answers = [(await operator.call("GET", f"/marketplace/{kind}"))[kind] for kind in kinds]
            return [CompletionItem(entry["code"], help=entry["state"]) for answer in answers for entry in answer]

        return _filter_by_prefix(_read(context, read), typed)

    return complete


complete_subjects: Final = complete_codes("orders", "returns")


def _filter_by_prefix(entries: list[CompletionItem], typed: str) -> list[CompletionItem]:
    """Return the entries that begin with the typed text. Their explanations are in one printable line."""
    found = [entry for entry in entries if str(entry.value).startswith(typed)]
    return [CompletionItem(entry.value, help=in_one_line(entry.help or "")) for entry in found]


def _read(context: click.Context, entries: _Entries) -> list[CompletionItem]:
    """Read from the marketplace of the command line, if one is running."""
    from kalathi.simulation.operator import OperatorClient

    # Click has filled these in from the command line, the environment, the settings file, or the defaults.
    found = find_market(context.params["data"], context.params["url"], context.params["token"])
    if found is None:
        return []

    async def run() -> list[CompletionItem]:
        async with asyncio.timeout(_LIMIT_SECONDS), OperatorClient(*found) as operator:
            return await entries(operator)

    try:
        return asyncio.run(run())
    except Exception:  # noqa: BLE001  (an error message would stand in the line that the user types)
        return []
