"""Read the stock source, and release the pieces that have left the shelf."""

import asyncio
import contextlib
from typing import Final

from kalathi.merchant.client import CallError
from kalathi.merchant.context import Context
from kalathi.merchant.stock import Shelf, Stock, StockError

# A shorter outage of the source, such as a server's restart, is not reported to a person.
_OUTAGE_SECONDS: Final = 60.0
# The longest time that an order that is not open waits for the source.
_PATIENCE_SECONDS: Final = 1.0
# The topic of the notice (inbox/notices.py) that the source of stock cannot be read.
_STOCK: Final = "stock"


class StockReader:
    """Reads the source of stock for all orders, releases the pieces that the source no longer counts, and reports a
    source that cannot be read."""

    def __init__(self, context: Context, stock: Stock) -> None:
        self._context = context
        self._reservations = context.inbox.reservations
        self._stock = stock
        # The start of the source's outage, whether it was ever read, and the last report of the outage with its time.
        self._away_since: float | None = None
        self._was_read = False
        self._away_told = ""
        self._away_told_at = 0.0
        self._releasing: asyncio.Task[None] | None = None
        self._has_departures = False

    @property
    def sends_itself(self) -> bool:
        """Whether the shop can dispatch the pieces itself. False if they are in the marketplace's warehouse."""
        return self._stock.sends_itself

    @property
    def poll_seconds(self) -> float:
        """The pause between two readings that look for changes."""
        return self._stock.poll_seconds

    async def read(self, *, is_fresh: bool = False) -> Shelf:
        """Read the shelf and apply it to the reservations. With `is_fresh`, use no earlier reading. Raises StockError,
        CallError."""
        try:
            shelf = await (self._stock.refresh() if is_fresh else self._stock.read())
        except (StockError, CallError) as error:
            self._note_away(error)
            raise
        was_read = self._was_read and not self._away_told
        self._was_read = True
        self._away_since = None
        if self._away_told:
            self._away_told = ""
            self._context.tell("the stock can be read again")
        if not was_read:
            # This settles a notice from before a restart too.
            self._context.inbox.notices.settle(_STOCK)
        lag_seconds = self._context.habits.stock_lag_seconds
        self._reservations.see(shelf, self._context.clock(), lags=self._stock.lags, lag_seconds=lag_seconds)
        return shelf

    async def check(self) -> None:
        """Read the source even if no order needs it, to report an unreadable source and to see every change of its
        numbers."""
        with contextlib.suppress(StockError, CallError):
            if not self._stock.lags and self._reservations.list_departed():
                await self._release_left()
            else:
                await self.read()

    async def leave(self, code: str, *, handed_over: bool = False) -> None:
        """Mark the order's pieces as gone: the courier has them, or the shop's system has received the order and lowers
        its stock (`handed_over`). They stay reserved until the source counts without them."""
        if not self._reservations.of(code):
            return
        if not self._stock.lags:
            self._reservations.mark_left(code, self._context.clock())
            await self._release_soon()
            return
        if handed_over:
            # The system may already have lowered its stock, so compare with the number from before the hand-over.
            self._reservations.mark_left(code, self._context.clock())
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self.read(is_fresh=True)
        except (StockError, CallError, TimeoutError):
            self._reservations.mark_left(code, self._context.clock(), starts_anew=True)
        else:
            self._reservations.mark_left(code, self._context.clock())

    def stop(self) -> None:
        """Stop reading the source. Departed pieces are released after the next start."""
        if self._releasing is not None:
            self._releasing.cancel()

    async def _release_soon(self) -> None:
        """Release departed pieces in one common task. Wait for it at most one second, because a source that hangs must
        not delay labels."""
        self._has_departures = True
        if self._releasing is None or self._releasing.done():
            self._releasing = asyncio.create_task(self._release_all())
        await asyncio.wait({self._releasing}, timeout=_PATIENCE_SECONDS)

    async def _release_all(self) -> None:
        # An order that departs while the source is being read needs a later reading.
        while self._has_departures:
            self._has_departures = False
            with contextlib.suppress(StockError, CallError):
                await self._release_left()

    async def _release_left(self) -> None:
        """Read a live source, then release the pieces that left before. Raises StockError, CallError."""
        codes = self._reservations.list_departed()
        await self.read(is_fresh=True)
        self._reservations.release_left(codes)

    def _note_away(self, error: Exception) -> None:
        now = self._context.clock()
        self._away_since = now if self._away_since is None else self._away_since
        if str(error) == self._away_told or (self._away_told and now - self._away_told_at < _OUTAGE_SECONDS):
            return
        if not self._was_read or now - self._away_since >= _OUTAGE_SECONDS:
            self._away_told, self._away_told_at = str(error), now
            text = (
                f"the stock cannot be read: {error}. New orders wait for it; accepted ones are printed and handed over."
                " The connector tries again by itself."
            )
            self._context.inbox.notices.add(_STOCK, text, now)
            self._context.tell_person(text)
