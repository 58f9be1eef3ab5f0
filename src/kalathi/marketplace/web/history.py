"""Entries of the history, for forms and calls that have succeeded."""

from collections.abc import Collection
from typing import Final

import structlog

from kalathi.marketplace.kernel.actors import Actor
from kalathi.marketplace.kernel.storage.changes import ChangeSet, StorageError
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.people.model import OPERATORS
from kalathi.marketplace.people.store import insert_entry
from kalathi.marketplace.shops.store import shop
from kalathi.marketplace.web.context import Context

_log = structlog.get_logger("kalathi.history")

_LONGEST_SUBJECT: Final = 200


async def note_entry(context: Context, places: Collection[str], actor: Actor, action: str, subject: str) -> None:
    """Note an action in the history of these places. If that fails, the log has it: the action itself has succeeded, so
    its answer must not say otherwise."""
    now = context.clock.now()

    def command(view: View) -> tuple[ChangeSet, None]:
        # The action may have erased the shop.
        present = [place for place in places if place == OPERATORS or shop(view, place) is not None]
        rows = [insert_entry(place, now, actor, action, subject[:_LONGEST_SUBJECT]) for place in present]
        return ChangeSet(*rows), None

    try:
        await context.database.run(command)
    except StorageError:
        _log.warning("history_entry_lost", actor=str(actor), action=action, subject=subject)
