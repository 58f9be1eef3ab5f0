"""The connector: inbox → decision → action → print. Every step can be repeated, so a crash between two loses nothing.

An event is only the reason to look: what is done rests on the order, or the return, as the marketplace shows it now,
asked with our own token. So events may come twice, late, out of order or from a stranger, and the answer uses options
that are still on offer. An event leaves the inbox when its order is up to date; one that cannot be brought there is
tried again with growing pauses and never holds up the others.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError
from kalathi.contract.orders import Order
from kalathi.contract.webhooks import OrderEvent, decode_event
from kalathi.contract.words import OrderState
from kalathi.merchant.client import AsyncClient, CallError, MarketplaceError
from kalathi.merchant.decisions import Accept, LeaveToPerson, Nothing, Reject, decide, wanted_pieces
from kalathi.merchant.inbox import EventState, Inbox, InboxEvent
from kalathi.merchant.printing import FolderPrinter, NotAVoucherError
from kalathi.merchant.return_decisions import NothingToReview, ReturnPolicy, Review, WaitForPerson, decide_return
from kalathi.merchant.stock import Stock, StockError

_log = structlog.get_logger("kalathi.merchant")

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 60.0
_IDLE_SECONDS: Final = 30.0
# A refusal may be of the moment, such as a window that began a second ago; one that stays needs a person.
_REFUSALS_BEFORE_ASIDE: Final = 3
# States in which an order's pieces are no longer ours to keep: it ended, or the courier has them.
_PIECES_GONE: Final = frozenset(OrderState) - {OrderState.OPEN, OrderState.ACCEPTED}


_NOTHING_BY_ITSELF: Final = ReturnPolicy()


class Connector:
    """Ties the inbox, the stock, the printer and the marketplace together."""

    def __init__(
        self,
        client: AsyncClient,
        inbox: Inbox,
        stock: Stock,
        printer: FolderPrinter,
        tell: Callable[[str], None],
        *,
        returns: ReturnPolicy = _NOTHING_BY_ITSELF,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`tell` shows a person what was done, one line each; `clock` gives seconds, for the pauses only. `returns`
        says what of them is decided without a person."""
        self._client = client
        self._inbox = inbox
        self._stock = stock
        self._returns = returns
        self._printer = printer
        self._tell = tell
        self._clock = clock
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """There is something new in the inbox."""
        self._bell.set()

    async def run(self) -> None:
        """Works until cancelled. Whatever goes wrong is logged, and tried again."""
        while True:
            self._bell.clear()
            seconds = _FIRST_PAUSE_SECONDS
            try:
                await self.work()
                next_at = self._inbox.next_at()
                seconds = _IDLE_SECONDS if next_at is None else max(next_at - self._clock(), 0.01)
            except Exception:  # noqa: BLE001  (a locked or full disk must not end the connector)
                _log.exception("connector_stumbled")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), min(seconds, _IDLE_SECONDS))

    async def work(self) -> None:
        """Handles what the inbox holds and is not waiting for its next try."""
        while events := self._inbox.pending(self._clock()):
            for event in events:
                await self._handle(event)

    async def _handle(self, event: InboxEvent) -> None:
        try:
            content = decode_event(event.body)
        except (UnreadableBodyError, UnexpectedShapeError) as error:
            self._put_aside(event, f"The event cannot be read: {error}")
            return
        is_order = isinstance(content, OrderEvent)
        title = "Order" if is_order else "Return"
        code = content.order.code if isinstance(content, OrderEvent) else content.returned.return_code
        try:
            note = await (self._bring_up_to_date(code) if is_order else self._bring_return_up_to_date(code))
        except CallError as error:
            if error.may_pass or event.tries + 1 < _REFUSALS_BEFORE_ASIDE:
                self._try_again(event, code, error)
            elif isinstance(error, MarketplaceError):
                self._put_aside(event, f"{title} {code}: the marketplace refused: {error}")
            else:
                self._put_aside(event, f"{title} {code}: {error}")
        except (StockError, NotAVoucherError, OSError, sqlite3.Error) as error:
            self._try_again(event, code, error)
        except Exception as error:  # noqa: BLE001  (unforeseen, so it is logged whole)
            # It must not hold up the other events either.
            _log.exception("event_failed", code=code)
            self._try_again(event, code, error)
        else:
            if note:
                self._put_aside(event, f"{title} {code}: {note}")
            else:
                self._inbox.finish(event, EventState.DONE)

    async def _bring_up_to_date(self, code: str) -> str:
        """Does what the order asks for now. Gives a sentence when a person has to look at it."""
        order = await self._client.order(code)
        if order.state is OrderState.OPEN:
            return await self._answer(order)
        if order.state in _PIECES_GONE:
            self._inbox.release(code)
        elif order.courier_voucher:
            await self._print(order, order.courier_voucher)
        return ""

    async def _bring_return_up_to_date(self, return_code: str) -> str:
        """The same for a return request: decides what the policy decides, and leaves the rest to a person."""
        returned = await self._client.return_request(return_code)
        match decide_return(returned, self._returns):
            case WaitForPerson(reason):
                return reason
            case Review(option):
                try:
                    await self._client.review(return_code, option)
                except MarketplaceError as error:
                    if not error.has_code("return_status"):
                        raise
                    # Somebody was faster, us before a crash included.
                    self._tell(f"{return_code} was reviewed already")
                else:
                    self._tell(f"reviewed {return_code}: {option}")
            case NothingToReview():
                pass
        self._inbox.settle(f"Return {return_code}: ")
        return ""

    async def _answer(self, order: Order) -> str:
        match decide(order, await self._free_for(order), sends_itself=self._stock.sends_itself):
            case LeaveToPerson(reason):
                return reason
            case Accept(location, window, parcels):
                # Reserved before the call: after a crash in between, nobody else has got the pieces.
                self._inbox.reserve(order.code, wanted_pieces(order))
                if await self._answered(order, self._client.accept(order.code, location, window, parcels)):
                    self._tell(f"accepted {order.code}: all in stock, window {window}, {parcels} parcel")
            case Reject(lines):
                if await self._answered(order, self._client.reject_lines(order.code, lines)):
                    self._inbox.release(order.code)
                    shown = ", ".join(_shown(order, line.id, line.available_quantity) for line in lines)
                    self._tell(f"rejected {order.code}: {shown}")
            case Nothing():
                pass
        return ""

    async def _free_for(self, order: Order) -> dict[str, int]:
        """The stock as this order sees it: what it has reserved itself, before a crash, is still free for it."""
        available = await self._stock.available()
        for shop_uid, quantity in self._inbox.reserved(order.code).items():
            if shop_uid in available:
                available[shop_uid] += quantity
        return available

    async def _answered(self, order: Order, call: Awaitable[None]) -> bool:
        """Whether our answer won. If somebody was faster, us before a crash included, the order says what it is now."""
        try:
            await call
        except MarketplaceError as error:
            if not error.has_code("order_status"):
                raise
            present = await self._client.order(order.code)
            if present.state is not OrderState.ACCEPTED:
                self._inbox.release(order.code)
            self._tell(f"{order.code} was answered already: {present.state}")
            return False
        return True

    async def _print(self, order: Order, url: str) -> None:
        if self._inbox.printed_path(url) is not None:
            return
        pdf = await self._client.download(url)
        path = str(self._printer.print_voucher(order.code, pdf))
        self._inbox.mark_printed(url, order.code, path)
        self._tell(f"printed {order.code}: {path}")

    def _try_again(self, event: InboxEvent, code: str, error: Exception) -> None:
        pause_seconds = min(_FIRST_PAUSE_SECONDS * 2 ** min(event.tries, 10), _LONGEST_PAUSE_SECONDS)
        _log.warning("event_waits", code=code, error=str(error), tries=event.tries + 1, pause_seconds=pause_seconds)
        self._inbox.postpone(event, self._clock() + pause_seconds)

    def _put_aside(self, event: InboxEvent, note: str) -> None:
        self._inbox.finish(event, EventState.ASIDE, note)
        self._tell(f"needs a person: {note}")


def _shown(order: Order, line_id: str | int, available: int | str | None) -> str:
    line = next(line for line in order.line_items if line.id == line_id)
    return f"{line.product_name}: {available or 0} of {line.quantity} available"
