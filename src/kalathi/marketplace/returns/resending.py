"""Resending of any event in the log. An event's subject is an order or a return, and each has its own rule."""

from collections.abc import Sequence
from typing import Final

from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.running import CommandRunner
from kalathi.marketplace.returns import store
from kalathi.marketplace.returns.commands import resend
from kalathi.marketplace.webhooks import log
from kalathi.marketplace.webhooks.listeners import url_for
from kalathi.marketplace.webhooks.openings import OPENING
from kalathi.marketplace.webhooks.resending import plan_resend
from kalathi.marketplace.webhooks.store import event_type_of

_AT_ONCE: Final = 200


def resend_event(name: str, facts: Facts) -> ChangeSet:
    """Send one event again, with the same bytes. `name` is the id of its delivery.

    If no created event of a return has reached the shop's current URL, a new one is sent instead
    (docs/contract.md#section-8). Raises RETURN_HOOK.
    """
    shop_id, subject, sequence = log.parts_of(name)
    if opens_subject(facts.view, shop_id, subject, sequence):
        found = store.by_code(facts.view, subject)
        if found is not None:
            return resend(found, facts, sequence).changes
    return plan_resend(facts.view, shop_id, subject, sequence, to_millis(facts.now))


async def resend_events(commands: CommandRunner, names: Sequence[str]) -> None:
    """Send events again, some hundred in each commit. The events of shops without a URL are left out. `names` are the
    ids of their deliveries, the oldest first."""
    for first in range(0, len(names), _AT_ONCE):
        part = names[first : first + _AT_ONCE]

        def command(facts: Facts, part: Sequence[str] = part) -> tuple[ChangeSet, None]:
            changes = ChangeSet()
            begun: set[str] = set()
            for name in part:
                shop_id, subject, sequence = log.parts_of(name)
                # The created event of a return carries the present state, so it is sent once.
                if subject not in begun and can_be_resent(facts.view, shop_id, subject, sequence):
                    changes.extend([resend_event(name, facts)])
                    begun |= {subject} if opens_subject(facts.view, shop_id, subject, sequence) else set()
            return changes, None

        await commands.run(command)


def opens_subject(view: View, shop_id: str, subject: str, sequence: int) -> bool:
    """Whether the event is the created event of a return."""
    return event_type_of(view, shop_id, subject, sequence) == OPENING


def can_be_resent(view: View, shop_id: str, subject: str, sequence: int) -> bool:
    """Whether the event can be sent again. A return's created event cannot if the shop has no webhook for returns, or
    has switched it off."""
    found = store.by_code(view, subject) if opens_subject(view, shop_id, subject, sequence) else None
    return found is None or url_for(view, found.shop, OPENING) is not None
