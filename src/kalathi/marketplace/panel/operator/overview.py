"""The operator's first page: the state of orders and webhooks."""

from datetime import date
from typing import Any, Final

from kalathi.contract.words import OrderState
from kalathi.marketplace.figures import store as figures
from kalathi.marketplace.figures.folding import MINUTE_MILLIS, read_minutes
from kalathi.marketplace.figures.model import MARKETPLACE, Figure
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.panel import wording
from kalathi.marketplace.panel.day_rows import DAY_FIGURES, SPANS, first_day, list_days, read_span
from kalathi.marketplace.panel.live import LIVE_TABLES
from kalathi.marketplace.panel.minute_rows import list_minutes
from kalathi.marketplace.panel.pages import Answer, Shown
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.webhooks import log
from kalathi.marketplace.webhooks.store import backlog

# Only the latest webhooks are counted, because counting a large log takes seconds.
_COUNTED: Final = 10_000
_MINUTES: Final = 60
_MOST_SHOPS: Final = 10
# The tables that change a page of the operator by new rows, by page.
_PLACES: Final = {
    "overview": LIVE_TABLES,
    "orders": ("orders", "timeline"),
    "deliveries": ("webhook_events", "delivery_attempts"),
    "checkup": ("shop_documents",),
    "sandbox": ("counters", "sandbox_faults", "timeline", "delivery_attempts"),
}


async def show_overview(visit: Visit) -> Answer:
    """Show the number of orders by state and of deliveries by outcome, the oldest undelivered event, and charts of the
    last days and of the last hour."""
    span = read_span(visit.query)
    today = athens(visit.context.clock.now()).date()
    minute = visit.context.real() // MINUTE_MILLIS
    content = await visit.context.database.read_list(lambda view: load_overview(view, today, span, minute))
    more = {"seen": mark_place(visit, "overview"), "counted": _COUNTED, "span": span, "spans": SPANS}
    return Shown("operator/overview.html", content | more)


def load_overview(view: View, today: date, span: int, minute: int) -> dict[str, Any]:
    """Return the content of the page: orders and deliveries now, in the last `span` days, and in each minute of the
    hour that ends with `minute`."""
    since = first_day(today, span)
    by_outcome = log.counts_by_state(view, _COUNTED)
    by_state = figures.load_state_counts(view)
    failed = figures.sum_figures(view, MARKETPLACE, Figure.FAILED, since)
    failures = sorted(failed.items(), key=lambda entry: (-entry[1], entry[0]))[:_MOST_SHOPS]
    names = shops.shops_by_id(view, [shop_id for shop_id, _ in failures])
    minutes = read_minutes(figures.load_minutes(view, minute - _MINUTES))
    return {
        "orders": [(state.value, by_state.get(state, 0)) for state in OrderState],
        "deliveries": [(word, by_outcome.get(word, 0)) for word in wording.DELIVERY_STATES],
        "waiting": backlog(view),
        "oldest": log.oldest_waiting(view),
        "given_up": log.oldest_given_up(view, _COUNTED) if by_outcome.get("exhausted") else None,
        "shops": shops.count_shops(view),
        "days": list_days(figures.load_figures(view, MARKETPLACE, DAY_FIGURES, since), today, span),
        "minutes": list_minutes(minutes, minute, _MINUTES),
        "failures": [(names[shop_id].name if shop_id in names else shop_id, count) for shop_id, count in failures],
    }


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
