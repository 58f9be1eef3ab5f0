"""Random days of one shop against a model of its shelf: whatever the file of stock shows, and whenever it is read, no
piece is free that is promised or gone.

The file is as late as the shop has said (`--stock-lag-minutes`) and no later: each of its numbers was true at most that
long before the export began to write it. The export may be cut, name the product's number in a way that cannot be read,
write the same once more, or not be there. It writes the rest of a cut file within an hour, or never.
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.reservations import Claim, Reservations
from kalathi.merchant.stock import Shelf

DAYS = int(os.environ.get("KALATHI_TEST_STOCK_DAYS", "20"))
_STEPS: Final = 1000
_LONGEST_EXPORT_SECONDS: Final = 3600.0
_LAGS: Final = (0.0, 600.0, 1200.0)
_UNREADABLE: Final = Shelf({"B": 1}, unreadable={"A": "?"})
_HALF: Final = Shelf({"B": 1})
_EMPTY: Final = Shelf()


class Day:
    """One product. The model knows what is on the shelf; the reservations know only what they are told and read."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path = folder / f"{seed}.db"
        self.inbox = Inbox(self.path)
        self.chance = chance = random.Random(seed)
        self.seconds = 1e9
        self.lag_seconds = chance.choice(_LAGS)
        self.on_shelf = 12
        self.history = [(self.seconds, self.on_shelf)]
        self.file: Shelf | None = Shelf({"A": self.on_shelf, "B": 1})
        # The rest of a file that is cut, as the export read it when it began.
        self.rest: Shelf | None = None
        self.cut_at = 0.0
        # The first reading without the product; None while readings name it.
        self.absent_since: float | None = None
        self.waiting: Counter[str] = Counter()
        self.untold: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.orders = 0
        # What a failure shows.
        self.log = [f"repeat with KALATHI_TEST_SEED={seed} KALATHI_TEST_STOCK_DAYS=1", f"lag {self.lag_seconds} s"]

    def run(self) -> None:
        likely: list[Callable[[], object]] = [
            self.order,
            self.depart,
            self.tell,
            self.restock,
            self.cut,
            self.find_free,
        ]
        rare = [self.bring_back, self.cancel, self.export, self.finish, self.spoil, self.restart]
        for _ in range(_STEPS):
            step = self.chance.choice([*likely, *likely, *rare])
            step()
            held = self.reservations.pieces()
            shown = self.file and (self.file.pieces, list(self.file.unreadable))
            self.log.append(f"{self.seconds:.0f} {step.__name__}: {self.on_shelf} on the shelf, {shown}, {held}")
            self.seconds += self.chance.choice((0, 1, 30, 300, 4000))

    def find_free(self) -> int:
        """Return how many pieces a decision finds free now: they are on the shelf, and promised to no order."""
        self.see()
        if self.file is None or "A" not in self.file.pieces:
            return 0
        free = self.file.pieces["A"] - self.reservations.pieces().get("A", 0)
        assert free <= self.on_shelf - self.waiting.total(), "\n".join(self.log)
        return free

    def change(self, pieces: int) -> None:
        self.on_shelf += pieces
        self.history.append((self.seconds, self.on_shelf))

    # The shop, its customers and the courier

    def order(self) -> None:
        quantity = self.chance.randint(1, 3)
        if self.find_free() < quantity:
            return
        code = f"o{self.orders}"
        self.orders += 1
        self.reservations.reserve(code, [Claim(("A",), quantity)])
        self.waiting[code] = quantity

    def depart(self) -> None:
        if self.waiting:
            code = self.chance.choice(sorted(self.waiting))
            quantity = self.waiting.pop(code)
            self.untold[code] = quantity
            self.change(-quantity)

    def tell(self) -> None:
        """The connector hears of a departure, as `StockReader.leave` does."""
        if not self.untold:
            return
        code = self.chance.choice(sorted(self.untold))
        self.told[code] = self.untold.pop(code)
        self.see()
        self.reservations.mark_left(code, self.seconds, starts_anew=self.file is None)

    def bring_back(self) -> None:
        if self.told:
            code = self.chance.choice(sorted(self.told))
            self.change(self.told.pop(code))
            self.reservations.release(code)

    def cancel(self) -> None:
        if self.waiting:
            code = self.chance.choice(sorted(self.waiting))
            del self.waiting[code]
            self.reservations.release(code)

    def restock(self) -> None:
        self.change(self.chance.randint(1, 9))

    # The file

    def true_number(self) -> int:
        until = self.seconds - self.lag_seconds
        return next((number for at, number in reversed(self.history) if at <= until), self.history[0][1])

    def export(self) -> None:
        self.file, self.rest = Shelf({"A": self.true_number(), "B": 1}), None

    def cut(self) -> None:
        self.export()
        self.rest, self.file = self.file, self.chance.choice((_HALF, _EMPTY, _UNREADABLE))
        self.cut_at = self.seconds

    def finish(self) -> None:
        """Write the rest of a file, unless the product was missing for longer, even in several files in a row: then it
        counts as 0 (decision 26)."""
        began_at = self.cut_at if self.absent_since is None else min(self.cut_at, self.absent_since)
        if self.rest is not None and self.seconds - began_at <= _LONGEST_EXPORT_SECONDS:
            self.file, self.rest = self.rest, None

    def spoil(self) -> None:
        self.file, self.rest = self.chance.choice((_UNREADABLE, None)), None

    # The connector

    @property
    def reservations(self) -> Reservations:
        return self.inbox.reservations

    def restart(self) -> None:
        self.inbox.close()
        self.inbox = Inbox(self.path)

    def see(self) -> None:
        if self.file is not None:
            if self.file.names("A"):
                self.absent_since = None
            elif not self.file.is_empty() and self.absent_since is None:
                self.absent_since = self.seconds
            self.reservations.see(self.file, self.seconds, lags=True, lag_seconds=self.lag_seconds)


def test_no_promised_or_dispatched_piece_becomes_free(tmp_path: Path) -> None:
    first = int(os.environ.get("KALATHI_TEST_SEED", random.randrange(10**9)))
    for seed in range(first, first + DAYS):
        day = Day(tmp_path, seed)
        try:
            day.run()
        finally:
            day.inbox.close()
