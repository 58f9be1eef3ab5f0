"""A shop's overview: its orders, answers, rejections, returns and products of the last days."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from kalathi.marketplace.figures import store
from kalathi.marketplace.figures.model import Figure, monday_of
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.panel.day_rows import DAY_FIGURES, SPANS, first_day, list_days, read_span, sum_by_name
from kalathi.marketplace.panel.pages import Answer, Shown
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.shops import store as shops

_BEST: Final = 10


async def show_overview(visit: Visit) -> Answer:
    """`?days=`: show the shop's figures. They are some seconds old. Raises INVALID_PARAMETER."""
    span = read_span(visit.query)
    today = athens(visit.context.clock.now()).date()
    shop_id = visit.shop.id
    content = await visit.context.database.read_list(lambda view: load_overview(view, shop_id, today, span))
    sums, costs = content["sums"], content["costs"]
    answered = sums.get(Figure.ACCEPTED, 0) + sums.get(Figure.REJECTED, 0)
    due = answered + sums.get(Figure.EXPIRED, 0)
    reasons = sorted(content["reasons"].items(), key=lambda entry: -entry[1])
    more = {
        "span": span,
        "spans": SPANS,
        "placed": sums.get(Figure.PLACED, 0),
        "value": Decimal(sums.get(Figure.PLACED_VALUE, 0)) / 100,
        "acceptance": _percent(sums.get(Figure.ACCEPTED, 0), due),
        "within_hour": _percent(sums.get(Figure.WITHIN_HOUR, 0), due),
        "within_day": _percent(sums.get(Figure.WITHIN_DAY, 0), due),
        "returned": sums.get(Figure.RETURNS, 0),
        "cost": Decimal(sum(costs.values())) / 100,
        "reasons": [(reason, count, Decimal(costs.get(reason, 0)) / 100) for reason, count in reasons],
    }
    return Shown("shop/overview.html", content | more)


def load_overview(view: View, shop_id: str, today: date, span: int) -> dict[str, Any]:
    """Return the figures of a shop's last `span` days: by day, in total, by reason of rejection, and the products with
    the most pieces."""
    since = first_day(today, span)
    figures = store.load_figures(view, shop_id, DAY_FIGURES, since)
    pieces = store.sum_figures(view, shop_id, Figure.PRODUCT, monday_of(today - timedelta(days=span - 1)))
    best = sorted(pieces.items(), key=lambda entry: (-entry[1], entry[0]))[:_BEST]
    known = shops.listings(view, shop_id, [uid for uid, _ in best])
    return {
        "days": list_days(figures, today, span),
        "sums": sum_by_name(figures),
        "reasons": store.sum_figures(view, shop_id, Figure.REASON, since),
        "costs": store.sum_figures(view, shop_id, Figure.REASON_COST, since),
        "best": [(known[uid].listing.product_name if uid in known else uid, count) for uid, count in best],
    }


def _percent(part: int, whole: int) -> int | None:
    """Return a share in percent; None of nothing."""
    return round(100 * part / whole) if whole else None
