"""Entries of the history, for forms and calls that have succeeded."""

from collections.abc import Collection
from typing import Final

import structlog

from kalathi.marketplace.kernel.actors import Actor
from kalathi.marketplace.kernel.storage.changes import ChangeSet, StorageError
from kalathi.marketplace.people.store import insert_entry
from kalathi.marketplace.web.context import Context

_log = structlog.get_logger("kalathi.history")

_LONGEST_SUBJECT: Final = 200


async def note_entry(context: Context, places: Collection[str], actor: Actor, action: str, subject: str) -> None:
    """Note an action in the history of these places. If that fails, the log has it: the action itself has succeeded, so
    its answer must not say otherwise."""
    now = context.clock.now()
    rows = [insert_entry(place, now, actor, action, subject[:_LONGEST_SUBJECT]) for place in places]
    try:
        await context.database.commit(ChangeSet(*rows))
    except StorageError:
        _log.warning("history_entry_lost", actor=str(actor), action=action, subject=subject)
