"""The connector: inbox → decision → action → print. Every step can be repeated, so a crash between two loses nothing.

Events are handled one after the other, in the order in which they came, and leave the inbox only when they are done. A
step that was taken already is seen: a reservation stays the same, an order that is answered says so, a voucher that is
printed is marked. A marketplace that cannot be reached is asked again, with growing pauses.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError
from kalathi.contract.orders import Order
from kalathi.contract.webhooks import OrderEvent, decode_event
from kalathi.contract.words import OrderState
from kalathi.merchant.client import AsyncClient, MarketplaceError, UnreachableError
from kalathi.merchant.decisions import Accept, Decision, LeaveToPerson, Nothing, Reject, decide, wanted_pieces
from kalathi.merchant.inbox import EventState, Inbox, InboxEvent
from kalathi.merchant.printing import FolderPrinter
from kalathi.merchant.stock import CsvStock, StockError

_log = structlog.get_logger("kalathi.merchant")

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
# A wrong token or vendor word is mended by a person; until then every event waits in the inbox.
_SETUP_FAULTS: Final = frozenset({401, 403, 406})
# States in which an order's pieces are no longer ours to keep: it ended, or the courier has them.
_PIECES_GONE: Final = frozenset(OrderState) - {OrderState.OPEN, OrderState.ACCEPTED}


class Connector:
    """Ties the inbox, the stock, the printer and the marketplace together."""

    def __init__(
        self,
        client: AsyncClient,
        inbox: Inbox,
        stock: CsvStock,
        printer: FolderPrinter,
        tell: Callable[[str], None],
    ) -> None:
        """`tell` shows a person what was done, one line each."""
        self._client = client
        self._inbox = inbox
        self._stock = stock
        self._printer = printer
        self._tell = tell
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """There is something new in the inbox."""
        self._bell.set()

    async def run(self) -> None:
        """Works until cancelled."""
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            self._bell.clear()
            try:
                await self.work()
            except (UnreachableError, StockError, OSError) as error:
                _log.warning("connector_waits", error=str(error), pause_seconds=pause_seconds)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
                continue
            pause_seconds = _FIRST_PAUSE_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), _LONGEST_PAUSE_SECONDS)

    async def work(self) -> None:
        """Handles what is in the inbox. Raises UnreachableError or StockError; the event then stays where it is."""
        while events := self._inbox.pending():
            for event in events:
                await self._handle(event)

    async def _handle(self, event: InboxEvent) -> None:
        try:
            content = decode_event(event.body)
        except (UnreadableBodyError, UnexpectedShapeError) as error:
            self._put_aside(event, f"The event cannot be read: {error}")
            return
        if not isinstance(content, OrderEvent):
            self._put_aside(event, "Returns are handled by a person.")
            return
        try:
            await self._react(event, content.order)
        except MarketplaceError as error:
            if error.status in _SETUP_FAULTS:
                raise UnreachableError(f"{error} (look at --url, --token and --vendor)") from error
            self._put_aside(event, f"Order {content.order.code}: the marketplace refused: {error}")

    async def _react(self, event: InboxEvent, order: Order) -> None:
        if order.state is OrderState.OPEN:
            decision = decide(order, self._free_for(order))
            if isinstance(decision, LeaveToPerson):
                self._put_aside(event, f"Order {order.code}: {decision.reason}")
                return
            await self._answer(order, decision)
        elif order.state in _PIECES_GONE:
            self._inbox.release(order.code)
        elif order.courier_voucher:
            await self._print(order, order.courier_voucher)
        self._inbox.finish(event, EventState.DONE)

    def _free_for(self, order: Order) -> dict[str, int]:
        """The stock as this order sees it: what it has reserved itself, before a crash, is still free for it."""
        available = self._stock.available()
        for shop_uid, quantity in self._inbox.reserved(order.code).items():
            if shop_uid in available:
                available[shop_uid] += quantity
        return available

    async def _answer(self, order: Order, decision: Decision) -> None:
        match decision:
            case Accept(location, window, parcels):
                # Reserved before the call: after a crash in between, nobody else has got the pieces.
                self._inbox.reserve(order.code, wanted_pieces(order))
                if await self._answered(order, self._client.accept(order.code, location, window, parcels)):
                    self._tell(f"accepted {order.code}: all in stock, window {window}, {parcels} parcel")
            case Reject(lines):
                self._inbox.release(order.code)
                if await self._answered(order, self._client.reject_lines(order.code, lines)):
                    shown = ", ".join(_shown(order, line.id, line.available_quantity) for line in lines)
                    self._tell(f"rejected {order.code}: {shown}")
            case LeaveToPerson() | Nothing():
                pass

    async def _answered(self, order: Order, call: Awaitable[None]) -> bool:
        """Whether our answer won. If the order was answered before, by us or by time, its next event says how."""
        try:
            await call
        except MarketplaceError as error:
            if not error.has_code("order_status"):
                self._inbox.release(order.code)
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

    def _put_aside(self, event: InboxEvent, note: str) -> None:
        self._inbox.finish(event, EventState.ASIDE, note)
        self._tell(f"needs a person: {note}")


def _shown(order: Order, line_id: str | int, available: int | str | None) -> str:
    line = next(line for line in order.line_items if line.id == line_id)
    return f"{line.product_name}: {available or 0} of {line.quantity} available"
