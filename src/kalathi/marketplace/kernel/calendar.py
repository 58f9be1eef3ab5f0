"""Working days: Monday to Friday without the public holidays of Greece."""

from collections.abc import Container
from datetime import date, timedelta
from functools import cache, lru_cache


@lru_cache(maxsize=4096)
def is_working_day(day: date) -> bool:
    """Whether couriers work on this day."""
    return day.weekday() < 5 and day not in _greek_holidays()


@cache
def _greek_holidays() -> Container[date]:
    import holidays  # noqa: PLC0415  (it imports 250 countries: 0.12 s of a start's 0.55 s)

    return holidays.country_holidays("GR")


@lru_cache(maxsize=4096)
def working_days_from(first: date, count: int) -> tuple[date, ...]:
    """Return the next `count` working days, starting with `first` if it is one."""
    days: list[date] = []
    day = first
    while len(days) < count:
        if is_working_day(day):
            days.append(day)
        day += timedelta(days=1)
    return tuple(days)


def add_working_days(day: date, count: int) -> date:
    """The `count`-th working day after `day`."""
    return working_days_from(day + timedelta(days=1), count)[-1]
