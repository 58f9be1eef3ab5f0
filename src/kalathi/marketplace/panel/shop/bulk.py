"""Actions on several selected orders. Each order is changed on its own: a refused one does not stop the others."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from kalathi.contract.requests import AcceptRequest
from kalathi.marketplace.kernel.errors import DomainError, Refusal
from kalathi.marketplace.kernel.storage.changes import ChangeSet, StorageError
from kalathi.marketplace.orders import commands
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.machine import pickups_from
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.recording import Recorded
from kalathi.marketplace.panel.pages import Answer
from kalathi.marketplace.panel.refusals import DatabaseAway
from kalathi.marketplace.panel.shop.chosen import find_chosen, read_chosen
from kalathi.marketplace.panel.shop.orders import BulkResult, show_list
from kalathi.marketplace.panel.visits import Visit

Change = Callable[[FoundOrder, Facts], Recorded]


class _Refused(NamedTuple):
    code: str
    reasons: tuple[Refusal | str, ...]


async def accept_orders(visit: Visit) -> Answer:
    """`order=&order=&window=`: accept the orders for the shop's first location, one parcel each, in this pickup window;
    without one, in the first window on offer. Raises INVALID_PARAMETER if no order is selected."""
    chosen = visit.form.text("window")

    def accept(found: FoundOrder, facts: Facts) -> Recorded:
        offer = facts.terms.offer(found.shop)
        first = offer.schedule.offer_windows(pickups_from(found.order, facts.now))[0]
        request = AcceptRequest(
            pickup_location=offer.locations[0].id,
            pickup_window=chosen or first.id,
            number_of_parcels=offer.parcel_counts[0],
        )
        return commands.accept(found, request, facts)

    return await _change_each(visit, "accept", accept)


async def mark_ready(visit: Visit) -> Answer:
    """`order=&order=`: mark the orders as ready for the courier. Raises INVALID_PARAMETER if no order is selected."""

    def mark(found: FoundOrder, facts: Facts) -> Recorded:
        return commands.set_as_ready(found, None, facts)

    return await _change_each(visit, "set_as_ready", mark)


async def _change_each(visit: Visit, action: str, change: Change) -> Answer:
    codes = read_chosen(visit)
    done = await asyncio.gather(*(_change(visit, code, change) for code in codes))
    failed = [refused for refused in done if refused is not None]
    result = BulkResult(action, len(codes) - len(failed), [(refused.code, refused.reasons) for refused in failed])
    return await show_list(visit, result)


async def _change(visit: Visit, code: str, change: Change) -> _Refused | None:
    def command(facts: Facts) -> tuple[ChangeSet, None]:
        [found] = find_chosen(visit, facts.view, [code])
        return change(found, facts).changes, None

    try:
        await visit.commands.run(command)
    except DomainError as error:
        return _Refused(code, error.reasons)
    except StorageError:
        return _Refused(code, (DatabaseAway(),))
    return None
