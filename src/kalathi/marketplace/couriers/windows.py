"""Pickup windows: which are on offer, their ids and their labels (docs/contract.md#section-2, accept_options).

An id is computed from date and hours, so it names the same window in every webhook and every answer, and holds until
the window starts. Options are the same for every order until the next window starts, so they are made once and kept
as JSON: formatting the labels was 40 of the 43 µs that an order took to render.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from kalathi.contract.codec import encode
from kalathi.contract.orders import PickupWindow, WindowOption
from kalathi.marketplace.kernel.calendar import working_days_from
from kalathi.marketplace.kernel.clock import ATHENS, athens, from_millis

_WEEKDAYS: Final = ("Δευ", "Τρί", "Τετ", "Πέμ", "Παρ", "Σάβ", "Κυρ")


class Window(Struct, frozen=True):
    """One pickup window; `id` is YYMMDD and the window's place in the day: 1912031 is the first of 3 December 2019."""

    id: int
    day: date
    start_hour: int
    end_hour: int

    def label(self) -> str:
        """`15:00 - 18:00, Τρί 03/12/19`: clients parse this form."""
        return f"{self.start_hour:02d}:00 - {self.end_hour:02d}:00, {day_label(self.day)}"

    def on_the_wire(self) -> PickupWindow:
        """`{from, to}` in Athens time."""
        return PickupWindow(start=self._at(self.start_hour), end=self._at(self.end_hour))

    def _at(self, hour: int) -> datetime:
        # Hour 24 is midnight of the next day.
        midnight = datetime(self.day.year, self.day.month, self.day.day, tzinfo=ATHENS)
        return athens(midnight + timedelta(hours=hour))  # Wall-clock hours, which is what a window means.


def day_label(day: date) -> str:
    """`Παρ 25/09/26`"""
    return f"{_WEEKDAYS[day.weekday()]} {day:%d/%m/%y}"


class WindowSchedule:
    """The hours of a working day and the number of days on offer. The offer is a pure function of the requested
    time."""

    def __init__(self, hours: str, days: int) -> None:
        """`hours` is a text such as `09-12,12-15,15-18`, in order. Raises ValueError for any other text."""
        self._hours = parse_hours(hours)
        self._days = days
        # The key is a day and how many of its windows have begun, so a few entries serve days of traffic.
        self._offer = lru_cache(maxsize=64)(self._windows)
        self._options = lru_cache(maxsize=64)(self._encode_options)
        self._progress_of_hour = lru_cache(maxsize=64)(self._progress_at)

    def offer_windows(self, now: datetime) -> Sequence[Window]:
        """Return the windows that have not begun, on the next working days. Today is included while one of its windows
        is left."""
        return self._offer(*self._progress(now))

    def find(self, window_id: int, now: datetime) -> Window | None:
        """Return the window with this id if it is on offer, else None."""
        return next((window for window in self.offer_windows(now) if window.id == window_id), None)

    def options(self, now: datetime) -> msgspec.Raw:
        """accept_options.pickup_window as JSON; the very same object until the next window begins."""
        return self._options(*self._progress(now))

    def _progress(self, now: datetime) -> tuple[date, int]:
        # Athens is always whole hours from UTC, so an hour of UTC is an hour there: one conversion serves all of it.
        return self._progress_of_hour(int(now.timestamp()) // 3600)

    def _progress_at(self, hours_since_1970: int) -> tuple[date, int]:
        local = athens(from_millis(hours_since_1970 * 3_600_000))
        return local.date(), sum(1 for start, _ in self._hours if start <= local.hour)

    def _windows(self, today: date, begun: int) -> tuple[Window, ...]:
        first = today if begun < len(self._hours) else today + timedelta(days=1)
        return tuple(
            Window(int(f"{day:%y%m%d}") * 10 + place, day, start, end)
            for day in working_days_from(first, self._days)
            for place, (start, end) in enumerate(self._hours, start=1)
            if day != today or place > begun
        )

    def _encode_options(self, today: date, begun: int) -> msgspec.Raw:
        windows = self._offer(today, begun)
        return msgspec.Raw(encode([WindowOption(id=window.id, label=window.label()) for window in windows]))


def parse_hours(text: str) -> tuple[tuple[int, int], ...]:
    """Return the pairs of hours of a text such as `09-12,12-15`. Raises ValueError if the windows are not hours in
    order."""
    pairs = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,2})-(\d{1,2})\s*", part)
        if match is None:
            raise ValueError(f"pickup_hours: {part.strip()!r} is not a window such as 09-12")
        pairs.append((int(match[1]), int(match[2])))
    flat = [hour for pair in pairs for hour in pair]
    if flat != sorted(flat) or any(start >= end for start, end in pairs) or flat[-1] > 24 or len(pairs) > 9:
        raise ValueError("pickup_hours: give at most nine windows in the order of the day, within 0-24")
    return tuple(pairs)
