"""The declared shops and faults of the settings file, for `kalathi serve` (docs/declared-start.md)."""

from typing import TYPE_CHECKING

from kalathi.cli.configuration import Configuration
from kalathi.marketplace.kernel.settings import Settings

if TYPE_CHECKING:
    from kalathi.marketplace.sandbox.declared import Declaration


def read_declared(configuration: Configuration | None) -> "Declaration | list[str]":
    """Return the declaration of the settings file, or a sentence for each mistake in it."""
    from kalathi.marketplace.api.merchant_routes import API_CALLS
    from kalathi.marketplace.listening.messages import EVENT_TYPES
    from kalathi.marketplace.sandbox.declared import NOTHING_DECLARED, Source, read_declaration
    from kalathi.marketplace.sandbox.faults import FaultPlace

    if configuration is None or not configuration.declared:
        return NOTHING_DECLARED
    source = Source(configuration.name, configuration.text)
    calls = {FaultPlace.API: API_CALLS, FaultPlace.WEBHOOKS: EVENT_TYPES}
    return read_declaration(configuration.declared, source, calls)


def find_mode_mistake(settings: Settings, declared: "Declaration") -> str:
    """Return a sentence if there is a declaration and the mode is production; else an empty text."""
    if settings.mode != "production" or declared.is_empty:
        return ""
    place = declared.source.locate(("shops",) if declared.shops else ("faults",))
    return (
        f"{place}: production mode does not start with declared shops or faults, because it would set tokens and stock"
        " of real shops again at each start. Remove them from the file, or start without --mode production."
    )
