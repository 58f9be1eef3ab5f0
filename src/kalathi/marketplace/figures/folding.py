"""Count transitions and deliveries in the background, some seconds after they happened.

A transition leaves a row in `moves`, in its own commit. Here the rows are counted and deleted, in one commit with the
new figures. So each transition is counted exactly once, also if a process is killed, and no transition waits for the
row of a day that all transitions of a shop would change (docs/decisions/0068).
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date
from itertools import groupby
from typing import Final

from msgspec import Struct

from kalathi.contract.codec import decode, encode
from kalathi.marketplace.figures import store
from kalathi.marketplace.figures.model import (
    MARKETPLACE,
    Figure,
    Move,
    count_move,
    count_products,
    day_of,
    monday_of,
)
from kalathi.marketplace.kernel.clock import from_millis
from kalathi.marketplace.kernel.metrics import AttemptWindow
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import Database, View
from kalathi.marketplace.orders.search.store import load_orders
from kalathi.marketplace.webhooks.store import backlog

MINUTE_MILLIS: Final = 60_000
_COUNTED_AT_ONCE: Final = 1000
_KEPT_MINUTES: Final = 2 * 24 * 60


class DeliveryMinute(Struct, frozen=True, kw_only=True):
    """The attempts at deliveries of a minute: their outcomes, and their number in each bucket of DURATION_BOUNDS; with
    the age of the oldest undelivered event at its end, in seconds."""

    delivered: int
    failed: int
    buckets: list[int]
    oldest_seconds: int


class Folding:
    """The counting of one process."""

    def __init__(self, database: Database, real: Callable[[], int], now_millis: Callable[[], int]) -> None:
        """`real` returns real time and `now_millis` business time, in milliseconds since 1970."""
        self._database = database
        self._real = real
        self._now_millis = now_millis
        self._writer = secrets.token_hex(4)

    async def count_moves(self, ending: asyncio.Event) -> None:
        """Count the waiting transitions, until none is left or `ending` is set. Raises StorageError, and CONFLICT if
        other processes count the same ones again and again."""
        while not ending.is_set() and await self._database.run(fold) == _COUNTED_AT_ONCE:
            pass

    async def write_minute(self) -> None:
        """Write the deliveries since the last call for the present minute. Raises StorageError; they are lost then."""
        window = self._database.metrics.take_window()
        minute, now_millis = self._real() // MINUTE_MILLIS, self._now_millis()

        def command(view: View) -> tuple[ChangeSet, None]:
            oldest = backlog(view).oldest_at
            age = 0 if oldest is None else max(0, (now_millis - oldest) // 1000)
            changes = store.forget_minutes(view, minute - _KEPT_MINUTES)
            if window.by_shop or age:
                changes.extend([store.replace_minute(minute, self._writer, encode(_sum_up(window, age)))])
            changes.extend([store.add_figures(view, _count_attempts(window, day_of(from_millis(now_millis))))])
            return changes, None

        await self._database.run(command)


def fold(view: View) -> tuple[ChangeSet, int]:
    """Return the change set that counts the next waiting transitions, and their number."""
    moves = store.load_moves(view, _COUNTED_AT_ONCE)
    figures: Counter[tuple[str, str, str]] = Counter()
    states: Counter[tuple[str, str]] = Counter()
    for shop_id, of_shop in groupby(moves, key=lambda move: move.shop_id):
        _count_shop(view, shop_id, list(of_shop), figures, states)
    changes = store.drop_moves(moves)
    changes.extend([store.add_figures(view, figures), store.add_states(view, states)])
    return changes, len(moves)


def read_minutes(rows: Iterable[tuple[int, bytes]]) -> dict[int, DeliveryMinute]:
    """Return the deliveries of each minute, those of all processes together."""
    found: dict[int, DeliveryMinute] = {}
    for minute, document in rows:
        one = decode(document, DeliveryMinute)
        other = found.get(minute)
        if other is not None:
            one = DeliveryMinute(
                delivered=one.delivered + other.delivered,
                failed=one.failed + other.failed,
                buckets=[first + second for first, second in zip(one.buckets, other.buckets, strict=True)],
                oldest_seconds=max(one.oldest_seconds, other.oldest_seconds),
            )
        found[minute] = one
    return found


def _count_shop(
    view: View,
    shop_id: str,
    moves: list[Move],
    figures: Counter[tuple[str, str, str]],
    states: Counter[tuple[str, str]],
) -> None:
    found = load_orders(view, shop_id, {move.code for move in moves})
    for move in moves:
        order = found[move.code].order if move.code in found else None
        day = day_of(move.at)
        for name, value in count_move(move, order).items():
            figures[shop_id, name, day] += value
            if "=" not in name:
                figures[MARKETPLACE, name, day] += value
        for name, value in count_products(move, order).items():
            figures[shop_id, name, monday_of(date.fromisoformat(day))] += value
        if move.after and move.before != move.after:
            states[shop_id, move.after] += 1
            if move.before:
                states[shop_id, move.before] -= 1


def _count_attempts(window: AttemptWindow, day: str) -> dict[tuple[str, str, str], int]:
    return {
        (MARKETPLACE, Figure.FAILED + shop_id, day): number
        for (shop_id, delivered), number in window.by_shop.items()
        if not delivered
    }


def _sum_up(window: AttemptWindow, age: int) -> DeliveryMinute:
    counts = {True: 0, False: 0}
    for (_, delivered), number in window.by_shop.items():
        counts[delivered] += number
    return DeliveryMinute(delivered=counts[True], failed=counts[False], buckets=window.buckets, oldest_seconds=age)
