"""The steps of one order: answer it, reserve its pieces, print its voucher, or take the label back."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from kalathi.contract.orders import Order
from kalathi.contract.words import OrderState
from kalathi.merchant.client import AsyncClient, CallError, OrderStatusError
from kalathi.merchant.client.flows import OrderReading
from kalathi.merchant.decisions import (
    Accept,
    Decision,
    LeaveToPerson,
    Nothing,
    Reject,
    claims,
    decide,
    find_unassigned_pieces,
    find_uncounted_lines,
    unreadable_stock,
)
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox_rows import HAS_LEFT
from kalathi.merchant.notices import label_topic
from kalathi.merchant.policy import Policy
from kalathi.merchant.printing import FolderPrinter, UnsurePrinterError
from kalathi.merchant.sentences import describe_answer, would_answer
from kalathi.merchant.stock import Shelf, Stock, StockError

# States in which no parcel is sent any more: a printed label must leave the pile.
_NOT_SENT: Final = frozenset({OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})
# An outage of the source that is shorter, such as a server's restart, is not worth a person's while.
_OUTAGE_SECONDS: Final = 60.0
# Orders that are not open wait no longer for the source.
_PATIENCE_SECONDS: Final = 1.0


# The topic of the notice (notices.py) that the source of stock cannot be read.
_STOCK: Final = "stock"


class OrderSteps:
    """Each step is a row before and after it, and can be repeated.

    `did` is called after each completed step with a word for the metrics, the order's code, and the line for a person.
    """

    def __init__(
        self,
        client: AsyncClient,
        inbox: Inbox,
        stock: Stock,
        printer: FolderPrinter,
        policy: Policy,
        *,
        did: Callable[[str, str, str], None],
        tell: Callable[[str], None],
        clock: Callable[[], float],
        dry_run: bool,
        told_orders_are_counted: bool,
        stock_lag_seconds: float = 0.0,
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._reservations = inbox.reservations
        self._stock = stock
        self._printer = printer
        self._policy = policy
        self._did = did
        self._tell = tell
        self._clock = clock
        self._dry_run = dry_run
        self._told_orders_are_counted = told_orders_are_counted
        self._stock_lag_seconds = stock_lag_seconds
        # The start of the source's outage, whether it was ever read, and the last report of the outage with its time.
        self._away_since: float | None = None
        self._was_read = False
        self._away_told = ""
        self._away_told_at = 0.0
        self._releasing: asyncio.Task[None] | None = None
        self._has_departures = False

    async def take(self, reading: OrderReading) -> tuple[OrderReading, str]:
        """Take the order's next step; return the order as it then is, and a sentence if a person has to look at it."""
        order, note = reading.order, ""
        if order.state in HAS_LEFT or order.state in _NOT_SENT:
            # One of its labels is on the parcel, or none is needed.
            self._inbox.notices.settle(label_topic(order.code))
        if order.state == OrderState.OPEN:
            note, reading = await self._answer(reading)
            order = reading.order
        if order.state == OrderState.OPEN:
            return reading, note
        if order.state == OrderState.ACCEPTED:
            note = await self._hold_and_print(order)
        elif order.state == OrderState.RETURNED:
            # The goods are back in the shop.
            self._reservations.release(order.code)
        elif order.state in HAS_LEFT or (order.state in _NOT_SENT and self._inbox.has_left(order.code)):
            # Cancelled after the dispatch, the parcel is on its way for days; its label is on it.
            await self.leave(order.code)
        elif order.state in _NOT_SENT:
            self._reservations.release(order.code)
            await self._withdraw(order.code)
        else:
            note = f'its state "{order.state}" is unknown to this version: check what it means for this order'
        return reading, note

    def hold(self, order: Order) -> None:
        """Reserve the pieces of an order that the shop sends itself."""
        if not order.fulfilled_by_skroutz:
            self._reservations.reserve(order.code, claims(order))

    async def _hold_and_print(self, order: Order) -> str:
        """Reserve an accepted order's pieces and print its voucher, also if the marketplace or a person accepted it.
        Neither needs the stock source."""
        notes = []
        is_counted = self._told_orders_are_counted and self._inbox.was_told(order.code)
        if not order.fulfilled_by_skroutz and not is_counted:
            self._reservations.reserve(order.code, claims(order))
            if uncounted := find_uncounted_lines(order):
                notes.append(f"{uncounted} No pieces are held for that: lower the stock yourself.")
        if order.courier_voucher and not self._dry_run:
            notes.append(await self._print(order, order.courier_voucher))
        return " ".join(note for note in notes if note)

    async def _answer(self, reading: OrderReading) -> tuple[str, OrderReading]:
        order = reading.order
        shelf = await self._read_stock()
        # From here to the reservation nothing is waited for: no other order is decided in between.
        decision = self._decide(order, shelf)
        if self._dry_run:
            self._tell(f"would {would_answer(order, decision)}")
            return "", reading
        if isinstance(decision, LeaveToPerson):
            return decision.reason, reading
        if isinstance(decision, Nothing):
            return "", reading
        if isinstance(decision, Accept):
            # Reserved before the call: after a crash in between, no other order has got the pieces.
            self._reservations.reserve(order.code, claims(order))
        present = await self._answered(order, self._call(order, decision))
        wanted = OrderState.ACCEPTED if isinstance(decision, Accept) else OrderState.REJECTED
        if present.order.state == OrderState.OPEN:
            # The answer was refused for where the order was, and it is open still: the next look decides anew.
            self._reservations.release(order.code)
        if present.order.state == wanted:
            self._did(str(wanted), order.code, describe_answer(order, decision))
        else:
            self._tell(f"{order.code} was answered already: {present.order.state}")
        return "", present

    def _decide(self, order: Order, shelf: Shelf) -> Decision:
        free = self._free_for(order, shelf)
        reason = unreadable_stock(order, shelf, self._policy.orders) or find_unassigned_pieces(
            order, shelf, free, self._held_by_others(order)
        )
        if reason:
            return LeaveToPerson(reason)
        decision: Decision = (self._policy.decide or decide)(
            order,
            free,
            self._policy.orders,
            prices=shelf.prices,
            sends_itself=self._stock.sends_itself,
        )
        return decision

    def _call(self, order: Order, decision: Accept | Reject) -> Awaitable[None]:
        if isinstance(decision, Accept):
            return self._client.accept(
                order.code, decision.pickup_location, decision.pickup_window, decision.number_of_parcels
            )
        return self._client.reject_lines(order.code, decision.lines)

    async def _answered(self, order: Order, call: Awaitable[None]) -> OrderReading:
        """Return the order after our answer, as the marketplace shows it: that is the proof. If a race was lost,
        perhaps to ourselves before a crash, it shows the winner's answer."""
        with contextlib.suppress(OrderStatusError):
            await call
        return await self._client.read_order(order.code)

    def _free_for(self, order: Order, shelf: Shelf) -> dict[str, int]:
        """Return the pieces that are free for this order: those on the shelf without those of other orders. Its own
        reservation, for example from before a crash, counts as free."""
        held = self._held_by_others(order)
        return {shop_uid: pieces - held.get(shop_uid, 0) for shop_uid, pieces in shelf.pieces.items()}

    def _held_by_others(self, order: Order) -> dict[str, int]:
        held = self._reservations.pieces()
        for shop_uid, quantity in self._reservations.of(order.code).items():
            held[shop_uid] -= quantity
        return held

    # The source of the stock

    async def look_at_stock(self) -> None:
        """Read the source although no order asks for it: it is said when it cannot be read, and numbers that change
        twice between two orders are seen."""
        with contextlib.suppress(StockError, CallError):
            if not self._stock.lags and self._reservations.left():
                await self._release_left()
            else:
                await self._read_stock()

    async def leave(self, code: str, *, told: bool = False) -> None:
        """Mark the order's pieces as gone: the courier has them, or the shop's system has received the order and lowers
        its stock (`told`). They stay reserved until the source counts without them."""
        if not self._reservations.of(code):
            return
        if not self._stock.lags:
            self._reservations.mark_left(code, self._clock())
            await self._release_soon()
            return
        if told:
            # The system may already have lowered its stock, so compare with the number from before the hand-over.
            self._reservations.mark_left(code, self._clock())
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._read_stock(is_fresh=True)
        except (StockError, CallError, TimeoutError):
            self._reservations.mark_left(code, self._clock(), starts_anew=True)
        else:
            self._reservations.mark_left(code, self._clock())

    async def _release_soon(self) -> None:
        """Release departed pieces, but let the caller wait no longer than a moment: a source that hangs must not hold
        up labels. One task reads the source for all."""
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

    def stop(self) -> None:
        """Stop reading the source. Departed pieces are released after the next start."""
        if self._releasing is not None:
            self._releasing.cancel()

    async def _release_left(self) -> None:
        """Read a live source, then release the pieces that left before. Raises StockError, CallError."""
        codes = self._reservations.left()
        await self._read_stock(is_fresh=True)
        self._reservations.release_left(codes)

    async def _read_stock(self, *, is_fresh: bool = False) -> Shelf:
        """Raises StockError, CallError."""
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
            self._tell("the stock can be read again")
        if not was_read:
            # Also a notice from before a restart.
            self._inbox.notices.settle(_STOCK)
        self._reservations.see(shelf, self._clock(), lags=self._stock.lags, lag_seconds=self._stock_lag_seconds)
        return shelf

    def _note_away(self, error: Exception) -> None:
        now = self._clock()
        self._away_since = now if self._away_since is None else self._away_since
        if str(error) == self._away_told or (self._away_told and now - self._away_told_at < _OUTAGE_SECONDS):
            return
        if not self._was_read or now - self._away_since >= _OUTAGE_SECONDS:
            self._away_told, self._away_told_at = str(error), now
            text = (
                f"the stock cannot be read: {error}. New orders wait for it; accepted ones are printed and handed over."
                " It is tried again by itself."
            )
            self._inbox.notices.add(_STOCK, text, now)
            self._tell(f"needs a person: {text}")

    # Vouchers

    async def _print(self, order: Order, url: str) -> str:
        """Prints a voucher that was not printed; gives a sentence when a person has to look whether it was."""
        printed = self._inbox.vouchers.printed(url)
        if printed is not None and printed.path:
            return ""
        unsure = f"look whether its label is there; if not, kalathi merchant reprint {order.code}"
        if printed is not None and not self._printer.may_repeat:
            return f"it is not known whether its voucher was printed: {unsure}"
        pdf = await self._client.download(url)
        is_another = self._inbox.vouchers.was_printed(order.code)
        self._inbox.vouchers.mark_printed(url, order.code, "", self._clock())
        printing = asyncio.ensure_future(asyncio.to_thread(self._printer.print_voucher, order.code, pdf))
        try:
            path = await asyncio.shield(printing)
        except asyncio.CancelledError:
            # An orderly end waits for the label, so that no person has to check it.
            self._inbox.vouchers.mark_printed(url, order.code, str(await printing), self._clock())
            if is_another:
                self._note_earlier_label(order.code)
            raise
        except UnsurePrinterError as error:
            if is_another:
                self._note_earlier_label(order.code)
            return f"{error}: {unsure}"
        except Exception:
            self._inbox.vouchers.forget_printing(url)
            raise
        self._inbox.vouchers.mark_printed(url, order.code, str(path), self._clock())
        self._did("printed", order.code, f"printed {order.code}: {path}")
        if is_another:
            self._note_earlier_label(order.code)
        return ""

    def _note_earlier_label(self, code: str) -> None:
        text = f"Order {code}: throw away its earlier label, there is a new one. Then: kalathi merchant settle {code}"
        if self._inbox.notices.add(label_topic(code), text, self._clock()):
            self._tell(f"needs a person: {text}")

    async def _withdraw(self, code: str) -> None:
        if self._dry_run:
            return
        path = await asyncio.to_thread(self._printer.withdraw, code)
        if path is not None:
            self._did("withdrawn", code, f"withdrawn {code}: its voucher is in {path}")
