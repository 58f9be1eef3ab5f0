"""The days of an overview, from the figures of the database."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Final, NamedTuple

from kalathi.marketplace.figures.model import Figure
from kalathi.marketplace.figures.store import DayFigure
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.panel.refusals import NoSuchChoice

SPANS: Final = (7, 30, 90)
DAY_FIGURES: Final = (
    *(Figure.PLACED, Figure.PLACED_VALUE, Figure.ACCEPTED, Figure.REJECTED, Figure.EXPIRED, Figure.CANCELLED),
    *(Figure.DELIVERED, Figure.RETURNS, Figure.WITHIN_HOUR, Figure.WITHIN_DAY),
)


class DayRow(NamedTuple):
    """The figures of one day; `label` is the day and month."""

    label: str
    placed: int
    accepted: int
    rejected: int
    expired: int
    cancelled: int
    delivered: int
    returns: int


def read_span(query: Mapping[str, str]) -> int:
    """Return the days of `?days=`; 30 by default. Raises INVALID_PARAMETER."""
    text = query.get("days", "30")
    if text not in {str(span) for span in SPANS}:
        raise refuse(NoSuchChoice())
    return int(text)


def list_days(figures: Iterable[DayFigure], today: date, span: int) -> list[DayRow]:
    """Return a row for each of the last `span` days, the oldest first, also for days without figures."""
    found = {(entry.name, entry.day): entry.value for entry in figures}
    rows = []
    for back in range(span - 1, -1, -1):
        day = today - timedelta(days=back)
        values = [
            found.get((figure.value, day.isoformat()), 0)
            for figure in (
                *(Figure.PLACED, Figure.ACCEPTED, Figure.REJECTED, Figure.EXPIRED),
                *(Figure.CANCELLED, Figure.DELIVERED, Figure.RETURNS),
            )
        ]
        rows.append(DayRow(f"{day.day}/{day.month}", *values))
    return rows


def sum_by_name(figures: Iterable[DayFigure]) -> dict[str, int]:
    """Return the sum of each figure over all days."""
    sums: dict[str, int] = {}
    for entry in figures:
        sums[entry.name] = sums.get(entry.name, 0) + entry.value
    return sums


def first_day(today: date, span: int) -> str:
    """Return the first of the last `span` days."""
    return (today - timedelta(days=span - 1)).isoformat()
