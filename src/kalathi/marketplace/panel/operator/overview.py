"""The operator's first page: the state of orders and webhooks."""

from typing import Any, Final

from kalathi.contract.words import OrderState
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.panel import wording
from kalathi.marketplace.panel.live import LIVE_TABLES
from kalathi.marketplace.panel.pages import Answer, Shown
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.webhooks import log
from kalathi.marketplace.webhooks.store import backlog

# Only the latest webhooks are counted, because counting a large log takes seconds.
_COUNTED: Final = 10_000
# The tables that change a page of the operator by new rows, by page.
_PLACES: Final = {
    "overview": LIVE_TABLES,
    "orders": ("orders", "timeline"),
    "deliveries": ("webhook_events", "delivery_attempts"),
    "checkup": ("shop_documents",),
    "sandbox": ("counters", "sandbox_faults", "timeline", "delivery_attempts"),
}


async def show_overview(visit: Visit) -> Answer:
    """Show the number of orders by state and of deliveries by outcome, and the oldest undelivered event."""

    def query(view: View) -> dict[str, Any]:
        by_state = orders.counts_by_state(view)
        by_outcome = log.counts_by_state(view, _COUNTED)
        return {
            "orders": [(state.value, by_state.get(state, 0)) for state in OrderState],
            "deliveries": [(word, by_outcome.get(word, 0)) for word in wording.DELIVERY_STATES],
            "waiting": backlog(view),
            "oldest": log.oldest_waiting(view),
            "given_up": log.oldest_given_up(view, _COUNTED) if by_outcome.get("exhausted") else None,
            "shops": len(shops.shops(view)),
        }

    content = await visit.context.database.read_list(query)
    return Shown("operator/overview.html", content | {"seen": mark_place(visit, "overview"), "counted": _COUNTED})


async def follow(visit: Visit) -> Answer:
    """Stream the changes of one of the operator's pages."""
    place = visit.parts["place"]
    tables = _PLACES.get(place, LIVE_TABLES)
    signals = visit.panel.signals

    async def mark() -> str:
        return signals.mark(*tables)

    return visit.follow(tables, mark)


def mark_place(visit: Visit, place: str) -> str:
    """Return the current mark of one of the operator's pages."""
    return visit.panel.signals.mark(*_PLACES[place])
