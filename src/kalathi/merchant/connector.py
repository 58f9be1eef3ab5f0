"""The connector: inbox → decision → action → proof. Every step is a row and can be repeated, so that a process that is
killed at any moment loses nothing.

An event is only the reason to look: what is done rests on the order, or the return, as the marketplace shows it now,
asked with our own token. So events may come twice, late, out of order or from a stranger, and the answer uses options
that are still on offer. Of what is looked at in vain the next try waits, with growing pauses, and holds up nobody else.
What no webhook has told is found by asking for what is open, at the start and every few minutes (`reconciling.py`).
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, NamedTuple

import structlog
from msgspec import Struct

from kalathi.contract.codec import UnexpectedShapeError, UnreadableBodyError
from kalathi.contract.orders import Order
from kalathi.contract.webhooks import OrderEvent, decode_event
from kalathi.contract.words import OrderState
from kalathi.merchant.client import AsyncClient, CallError, MarketplaceError, OrderStatusError, ReturnStatusError
from kalathi.merchant.decisions import Accept, LeaveToPerson, Nothing, decide, wanted_pieces
from kalathi.merchant.handing_over import HandoverError, Recipient, order_body, return_body
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox_rows import Handover, InboxEvent, Look, Subject
from kalathi.merchant.metrics import ConnectorMetrics
from kalathi.merchant.policy import Policy
from kalathi.merchant.printing import FolderPrinter, NotAVoucherError, PrinterError
from kalathi.merchant.reconciling import reconcile
from kalathi.merchant.return_decisions import NothingToReview, Review, WaitForPerson, decide_return
from kalathi.merchant.sentences import done, would_answer, would_review
from kalathi.merchant.stock import Stock, StockError

_log = structlog.get_logger("kalathi.merchant")

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 60.0
# Another process may have put something into the inbox: a framework that receives, `kalathi merchant reprint`.
_IDLE_SECONDS: Final = 1.0
# A refusal may be of the moment, such as a window that began a second ago; one that stays needs a person.
_REFUSALS_BEFORE_ASIDE: Final = 3
# Read events that are kept, so that what comes again is known; older ones are forgotten.
_EVENTS_KEPT: Final = 100_000
# States in which an order's pieces are no longer ours to keep: it ended, or the courier has them.
_PIECES_GONE: Final = frozenset(OrderState) - {OrderState.OPEN, OrderState.ACCEPTED}
# States in which nothing is sent any more: a label that was printed must leave the pile.
_NOT_SENT: Final = frozenset({OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})
_MAY_PASS: Final = (StockError, NotAVoucherError, PrinterError, HandoverError, OSError, sqlite3.Error)


class Habits(Struct, frozen=True, kw_only=True):
    """How the connector goes about it. Seconds."""

    reconcile_seconds: float = 300.0
    # How long before an order's deadline a person is told that it is not answered yet.
    warn_seconds: float = 7200.0
    # Says what would be done, and does none of it.
    dry_run: bool = False


class Found(NamedTuple):
    """How something was found: its state, until when it is to be answered, and what a person has to look at."""

    seen: str
    answer_until: float | None = None
    note: str = ""


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
        policy: Policy | None = None,
        recipient: Recipient | None = None,
        habits: Habits | None = None,
        metrics: ConnectorMetrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`tell` shows a person what was done, one line each; `clock` gives seconds since 1970. `recipient` is the
        shop's own system, which is told of every order and change."""
        self._client = client
        self._inbox = inbox
        self._stock = stock
        self._printer = printer
        self._tell = tell
        self._policy = policy or Policy()
        self._recipient = recipient
        self._habits = habits or Habits()
        self._metrics = metrics or ConnectorMetrics()
        self._clock = clock
        self._bell = asyncio.Event()
        self._reconcile_at = 0.0

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
                await self.look_after()
                next_at = self._inbox.next_at(handovers=self._recipient is not None)
                seconds = _IDLE_SECONDS if next_at is None else max(next_at - self._clock(), 0.01)
            except Exception:  # noqa: BLE001  (a locked or full disk must not end the connector)
                _log.exception("connector_stumbled")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), min(seconds, _IDLE_SECONDS))

    async def work(self) -> None:
        """Does what the inbox holds and is not waiting for its next try."""
        while True:
            events = self._inbox.new_events()
            for event in events:
                self._read(event)
            looks = self._inbox.due_looks(self._clock())
            for look in looks:
                await self._look(look)
            handovers = self._inbox.due_handovers(self._clock()) if self._recipient else []
            for handover in handovers:
                await self._hand_over(handover)
            if not (events or looks or handovers):
                return

    async def look_after(self) -> None:
        """Now and then: finds what no webhook has told, and warns of deadlines."""
        now = self._clock()
        if now >= self._reconcile_at:
            self._reconcile_at = now + self._habits.reconcile_seconds
            try:
                found = await reconcile(self._client, self._inbox, now, answers=not self._habits.dry_run)
            except CallError as error:
                self._metrics.note_failure("reconcile")
                _log.warning("not_reconciled", error=str(error))
            else:
                if found:
                    self._tell(f"looks at {found} that no webhook has told")
                await self.work()
            self._inbox.forget_events(_EVENTS_KEPT)
        for known in self._inbox.to_be_warned(now + self._habits.warn_seconds):
            until = datetime.fromtimestamp(known.answer_until or now).astimezone()
            self._tell(
                f"needs a person: {known.kind.capitalize()} {known.code} is to be answered by {until:%d/%m %H:%M}"
            )

    def _read(self, event: InboxEvent) -> None:
        try:
            content = decode_event(event.body)
        except (UnreadableBodyError, UnexpectedShapeError) as error:
            note = f"The event cannot be read: {error}"
            self._inbox.put_aside(event, note)
            self._tell(f"needs a person: {note}")
            return
        if isinstance(content, OrderEvent):
            self._inbox.take(event, Subject.ORDER, content.order.code)
        else:
            self._inbox.take(event, Subject.RETURN, content.returned.return_code)

    async def _look(self, look: Look) -> None:
        title = f"{look.kind.capitalize()} {look.code}"
        try:
            found = await (self._order(look.code) if look.kind is Subject.ORDER else self._return(look.code))
        except CallError as error:
            if error.may_pass or look.tries + 1 < _REFUSALS_BEFORE_ASIDE:
                self._try_again(look, error)
                return
            told = f"the marketplace refused: {error}" if isinstance(error, MarketplaceError) else str(error)
            found = Found("", note=f"{title}: {told}")
        except _MAY_PASS as error:
            self._try_again(look, error)
            return
        except Exception as error:  # noqa: BLE001  (unforeseen, so it is logged whole)
            # It must not hold up the others either.
            _log.exception("look_failed", kind=look.kind, code=look.code)
            self._try_again(look, error)
            return
        note = found.note if not found.note or found.note.startswith(title) else f"{title}: {found.note}"
        self._inbox.settle(look, self._clock(), seen=found.seen, answer_until=found.answer_until, note=note)
        # Once: of what is looked at again with every reconciliation, nobody wants to hear every time.
        if note and note != look.note:
            self._tell(f"needs a person: {note}")

    async def _order(self, code: str) -> Found:
        """Does what the order asks for now."""
        order = await self._client.order(code)
        note = ""
        if order.state is OrderState.OPEN:
            note, order = await self._answer(order)
        if order.state in _NOT_SENT:
            self._inbox.release(code)
        elif order.state in _PIECES_GONE:
            await self._leave(code)
        elif order.state is OrderState.ACCEPTED and not order.fulfilled_by_skroutz:
            # Whoever has accepted it, the marketplace for an express order or a person by hand: its pieces are taken.
            self._inbox.reserve(code, wanted_pieces(order))
        if order.state in _NOT_SENT:
            await self._withdraw(code)
        elif order.state is OrderState.ACCEPTED and order.courier_voucher and not self._habits.dry_run:
            note = await self._print(order, order.courier_voucher)
        if self._recipient is not None and not self._habits.dry_run:
            self._inbox.hand_over(Subject.ORDER, code, order_body(order))
        is_open = order.state is OrderState.OPEN
        until = order.expires_at.timestamp() if is_open and order.expires_at is not None else None
        return Found(order.state, until, note)

    async def _answer(self, order: Order) -> tuple[str, Order]:
        """Answers, and gives the order as it then is, with a sentence when a person has to look at it."""
        prices = await self._stock.prices()
        decision = decide(
            order,
            await self._free_for(order),
            self._policy.orders,
            prices=prices,
            sends_itself=self._stock.sends_itself,
        )
        if self._habits.dry_run:
            self._tell(f"would {would_answer(order, decision)}")
            return "", order
        if isinstance(decision, LeaveToPerson):
            return decision.reason, order
        if isinstance(decision, Nothing):
            return "", order
        if isinstance(decision, Accept):
            # Reserved before the call: after a crash in between, nobody else has got the pieces.
            self._inbox.reserve(order.code, wanted_pieces(order))
            call = self._client.accept(
                order.code, decision.pickup_location, decision.pickup_window, decision.number_of_parcels
            )
        else:
            call = self._client.reject_lines(order.code, decision.lines)
        wanted = OrderState.ACCEPTED if isinstance(decision, Accept) else OrderState.REJECTED
        present = await self._answered(order, call)
        if present.state is not OrderState.ACCEPTED:
            self._inbox.release(order.code)
        if present.state is wanted:
            self._did(str(wanted), order.code, done(order, decision))
        else:
            self._tell(f"{order.code} was answered already: {present.state}")
        return "", present

    async def _answered(self, order: Order, call: Awaitable[None]) -> Order:
        """The order after our answer, as the marketplace shows it: that is the proof. If somebody was faster, us before
        a crash included, it says what it is now."""
        with contextlib.suppress(OrderStatusError):
            await call
        return await self._client.order(order.code)

    async def _free_for(self, order: Order) -> dict[str, int]:
        """The stock as this order sees it: what it has reserved itself, before a crash, is still free for it."""
        available = await self._stock.available()
        for shop_uid, quantity in self._inbox.reserved(order.code).items():
            if shop_uid in available:
                available[shop_uid] += quantity
        return available

    async def _print(self, order: Order, url: str) -> str:
        """Prints a voucher that was not printed; gives a sentence when a person has to look whether it was."""
        printed = self._inbox.printed(url)
        if printed is not None and printed.path:
            return ""
        if printed is not None and not self._printer.may_repeat:
            return (
                "the connector was stopped while its voucher was printed. Look whether the label is there; if not,"
                f" kalathi merchant reprint {order.code}"
            )
        pdf = await self._client.download(url)
        self._inbox.mark_printed(url, order.code, "", self._clock())
        try:
            path = str(await asyncio.to_thread(self._printer.print_voucher, order.code, pdf))
        except Exception:
            self._inbox.forget_printing(url)
            raise
        self._inbox.mark_printed(url, order.code, path, self._clock())
        self._did("printed", order.code, f"printed {order.code}: {path}")
        return ""

    async def _leave(self, code: str) -> None:
        """The courier has the order: its pieces are held as long as the source of stock may still count them."""
        await self._stock.available()
        stamp = self._stock.stamp()
        if stamp is None:
            self._inbox.release(code)
        else:
            self._inbox.leave(code, stamp)

    async def _withdraw(self, code: str) -> None:
        path = await asyncio.to_thread(self._printer.withdraw, code)
        if path is not None:
            self._did("withdrawn", code, f"withdrawn {code}: its voucher is in {path}")

    async def _return(self, return_code: str) -> Found:
        """The same for a return request: decides what the policy decides, and leaves the rest to a person."""
        returned = await self._client.return_request(return_code)
        decision = decide_return(returned, self._policy.returns)
        note = ""
        if self._habits.dry_run:
            self._tell(f"would {would_review(return_code, decision)}")
            return Found(returned.state)
        match decision:
            case WaitForPerson(reason):
                note = reason
            case Review(option):
                try:
                    await self._client.review(return_code, option)
                except ReturnStatusError:
                    # Somebody was faster, us before a crash included.
                    self._tell(f"{return_code} was reviewed already")
                else:
                    self._did("reviewed", return_code, f"reviewed {return_code}: {option}")
                returned = await self._client.return_request(return_code)
            case NothingToReview():
                pass
        if self._recipient is not None:
            self._inbox.hand_over(Subject.RETURN, return_code, return_body(returned))
        return Found(returned.state, note=note)

    async def _hand_over(self, handover: Handover) -> None:
        if self._recipient is None:
            return
        try:
            await self._recipient.take(handover.code, handover.body)
        except (*_MAY_PASS, CallError) as error:
            pause_seconds = _pause_seconds(handover.tries)
            self._metrics.note_failure("handover")
            _log.warning("not_handed_over", code=handover.code, error=str(error), pause_seconds=pause_seconds)
            if handover.tries + 1 == _REFUSALS_BEFORE_ASIDE:
                self._tell(f"needs a person: {handover.code} cannot be handed over: {error}")
            self._inbox.postpone_handover(handover, self._clock() + pause_seconds)
        else:
            self._inbox.handed(handover)
            self._metrics.note_done("handed_over")

    def _try_again(self, look: Look, error: Exception) -> None:
        pause_seconds = _pause_seconds(look.tries)
        _log.warning("look_waits", code=look.code, error=str(error), tries=look.tries + 1, pause_seconds=pause_seconds)
        self._metrics.note_failure("look")
        self._inbox.postpone(look, self._clock() + pause_seconds)

    def _did(self, what: str, code: str, line: str) -> None:
        self._metrics.note_done(what)
        _log.info(what, code=code)
        self._tell(line)


def _pause_seconds(tries: int) -> float:
    return min(_FIRST_PAUSE_SECONDS * (1 << min(tries, 10)), _LONGEST_PAUSE_SECONDS)
