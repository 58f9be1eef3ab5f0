"""The connector: inbox → decision → action → proof. Every step is a row and can be repeated, so a process that is
killed at any moment loses nothing.

An event is only the reason to look at its order or return: the connector acts on the answer to its own call. So events
may come twice, late, out of order or forged, and the answer uses options that are still on offer. Several orders are
handled at a time; a failed one is retried with growing pauses. Orders without a webhook are found by listing, at the
start and every few minutes (`reconciling.py`).
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Final

import structlog

from kalathi.contract.codec import UnexpectedShapeError
from kalathi.contract.reading import ATHENS, seconds_of
from kalathi.contract.webhooks import EventHead, read_event_head
from kalathi.contract.words import OrderState
from kalathi.merchant.client import AsyncClient, CallError, MarketplaceError, ReturnStatusError, UnreadableAnswerError
from kalathi.merchant.decisions import answer_until, may_be_open, places_that_decide
from kalathi.merchant.habits import Habits
from kalathi.merchant.handing_over import Recipient, order_body, return_body
from kalathi.merchant.handover_steps import HandoverSteps
from kalathi.merchant.inbox import UNKNOWN_CODE, Inbox
from kalathi.merchant.inbox_rows import HAS_LEFT, InboxEvent, Look, Subject
from kalathi.merchant.metrics import ConnectorMetrics
from kalathi.merchant.order_steps import OrderSteps
from kalathi.merchant.pauses import FAILURES_BEFORE_PERSON, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, pause_seconds
from kalathi.merchant.policy import Policy
from kalathi.merchant.printing import FolderPrinter, PrinterError
from kalathi.merchant.reconciling import reconcile
from kalathi.merchant.return_decisions import NothingToReview, Review, WaitForPerson, decide_return
from kalathi.merchant.sentences import would_review
from kalathi.merchant.setup_notices import SetupNotices
from kalathi.merchant.stock import Stock, StockError
from kalathi.merchant.vouchers import NotAVoucherError

_log = structlog.get_logger("kalathi.merchant")

# A marketplace that asks for more patience than this is asked all the same: orders have deadlines.
_LONGEST_WAIT_SECONDS: Final = 300.0
# Another process may have put something into the inbox: a framework that receives, `kalathi merchant reprint`.
_IDLE_SECONDS: Final = 1.0
# A smaller step back of the clock is an ordinary correction.
_STEP_BACK_SECONDS: Final = 5.0
# A deadline so near is reported although its order was never fetched.
_SOON_SECONDS: Final = 300.0
# About four minutes with growing pauses: a marketplace may announce an order before each of its servers shows it.
_TRIES_OF_UNKNOWN: Final = 12
_CODE_SHOWN: Final = 40
# Orders and returns that are looked at at a time: a printer that hangs, or a link that does not answer, holds up one.
_LOOKS_AT_A_TIME: Final = 16
_HANDOVERS_AT_A_TIME: Final = 4
# The number of handled events that are kept, to recognise repeats; older ones are deleted.
_EVENTS_KEPT: Final = 100_000
# The word of the error for an order that the marketplace does not have (docs/contract.md#section-3).
_NO_SUCH_ORDER: Final = "order_error"
_MAY_PASS: Final = (StockError, NotAVoucherError, PrinterError, OSError, sqlite3.Error)


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
        """`tell` prints one line for each completed action; `clock` returns seconds since 1970. `recipient` is the
        shop's own system, which gets every order and change."""
        self._client = client
        self._inbox = inbox
        self._tell = tell
        self._policy = policy or Policy()
        self._recipient = recipient
        self._habits = habits or Habits()
        self._metrics = metrics or ConnectorMetrics()
        self._clock = clock
        self._steps = OrderSteps(
            client,
            inbox,
            stock,
            printer,
            self._policy,
            did=self._did,
            tell=tell,
            clock=clock,
            dry_run=self._habits.dry_run,
            told_orders_are_counted=self._habits.told_orders_are_counted,
            stock_lag_seconds=self._habits.stock_lag_seconds,
        )
        self._handovers: HandoverSteps | None = None
        if recipient is not None:
            self._handovers = HandoverSteps(recipient, inbox, self._steps, self._habits, self._metrics, tell, clock)
        self._awake = asyncio.Event()
        self._reconcile_at = 0.0
        # Until then the marketplace wants no calls.
        self._not_before = 0.0
        self._setup = SetupNotices(inbox.notices, tell, clock)
        self._worked_at = self._looked_after_at = clock()

    def seconds_since_round(self) -> float:
        """Return how long ago the slower of its two rounds began: handling events, and reconciling."""
        return self._clock() - min(self._worked_at, self._looked_after_at)

    def wake(self) -> None:
        """There is something new in the inbox."""
        self._awake.set()

    async def run(self) -> None:
        """Work until cancelled. Every failure is logged and retried."""
        self._follow_clock_back(self._clock())
        self._inbox.mark_moment("started", self._clock())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_working())
                # A separate task, so that deadlines are watched even if other work hangs.
                group.create_task(self._keep_looking_after())
        finally:
            self._steps.stop()
            self._inbox.notices.write_refusals(self._clock())

    async def _keep_working(self) -> None:
        while True:
            self._awake.clear()
            seconds = FIRST_PAUSE_SECONDS
            try:
                await self.work()
                next_at = self.next_at()
                seconds = _IDLE_SECONDS if next_at is None else max(next_at - self._clock(), 0.01)
            except Exception:  # noqa: BLE001  (a locked or full disk must not end the connector)
                _log.exception("connector_stumbled")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), min(seconds, _IDLE_SECONDS))

    async def _keep_looking_after(self) -> None:
        while True:
            try:
                await self.look_after()
            except Exception:  # noqa: BLE001  (the same)
                _log.exception("connector_stumbled")
            await asyncio.sleep(_IDLE_SECONDS)

    def next_at(self) -> float | None:
        """When there is something to do, in seconds since 1970; None when nothing waits."""
        next_at = self._inbox.next_at(handovers=self._recipient is not None)
        return None if next_at is None else max(next_at, self._not_before)

    async def work(self) -> None:
        """Handle the due entries of the inbox."""
        in_hand: dict[tuple[str, str], asyncio.Task[None]] = {}
        try:
            while True:
                self._begin(in_hand)
                if not in_hand:
                    return
                waking = asyncio.create_task(self._awake.wait())
                try:
                    # Postponed work can become due while a slow hand-over is still running.
                    await asyncio.wait(
                        {*in_hand.values(), waking}, timeout=_IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    waking.cancel()
                self._awake.clear()
                for key in [key for key, task in in_hand.items() if task.done()]:
                    in_hand.pop(key).result()
        finally:
            for task in in_hand.values():
                task.cancel()
            await asyncio.gather(*in_hand.values(), return_exceptions=True)

    def _begin(self, in_hand: dict[tuple[str, str], asyncio.Task[None]]) -> None:
        """Read new events, and begin with the due orders for which there is a place."""
        self._worked_at = self._clock()
        while events := self._inbox.new_events():
            for event in events:
                self._read(event)
        now = self._clock()
        looks = self._inbox.due_looks(now) if now >= self._not_before else []
        free = _LOOKS_AT_A_TIME - sum(1 for kind, _ in in_hand if kind != "handover")
        for look in [look for look in looks if (look.kind, look.code) not in in_hand][:free]:
            in_hand[look.kind, look.code] = asyncio.create_task(self._look(look))
        if self._handovers is None:
            return
        free = _HANDOVERS_AT_A_TIME - sum(1 for kind, _ in in_hand if kind == "handover")
        handovers = self._inbox.due_handovers(now)
        for handover in [entry for entry in handovers if ("handover", entry.code) not in in_hand][:free]:
            in_hand["handover", handover.code] = asyncio.create_task(self._handovers.hand_over(handover))

    async def look_after(self) -> None:
        """Warn of deadlines and reconcile, at intervals."""
        now = self._clock()
        if now < self._looked_after_at - _STEP_BACK_SECONDS:
            self._follow_clock_back(now)
        self._looked_after_at = now
        self._inbox.notices.write_refusals(now)
        for known in self._inbox.to_be_warned(now + self._habits.warn_seconds, now + _SOON_SECONDS):
            until = datetime.fromtimestamp(known.answer_until or now, ATHENS)
            self._tell(
                f"needs a person: {known.kind.capitalize()} {known.code} is to be answered by {until:%d/%m %H:%M %Z}"
            )
            self._inbox.mark_warned(known)
        if now < max(self._reconcile_at, self._not_before):
            return
        self._reconcile_at = now + self._habits.reconcile_again_seconds
        is_told = self._recipient is not None and not self._habits.dry_run
        try:
            found = await reconcile(self._client, self._inbox, now, answers=not self._habits.dry_run, is_told=is_told)
        except CallError as error:
            self._metrics.note_failure("reconcile")
            self._heed(error)
            _log.warning("not_reconciled", error=str(error))
        else:
            if found.has_lists:
                self._setup.note_answer()
            self._setup.compare_clocks(self._client.marketplace_time)
            self._reconcile_at = now + self._habits.reconcile_seconds
            if found.unknown:
                self._tell(f"found {found.unknown} orders or returns that no webhook announced")
        self._inbox.forget_events(_EVENTS_KEPT)
        self.wake()
        await self._steps.look_at_stock()

    def _follow_clock_back(self, now: float) -> None:
        """The clock was ahead and has been corrected, perhaps while the connector was not running: pauses that were
        counted by it would last for hours."""
        self._inbox.bring_forward(now + LONGEST_PAUSE_SECONDS)
        for name in ("reconciled", "started"):
            moment = self._inbox.moment(name)
            if moment is not None and moment > now:
                self._inbox.mark_moment(name, now)
        self._reconcile_at = self._not_before = 0.0
        self._worked_at = min(self._worked_at, now)
        self.wake()

    def _read(self, event: InboxEvent) -> None:
        try:
            head = read_event_head(event.body)
        except UnexpectedShapeError as error:
            note = f"The event cannot be read: {error}"
            self._inbox.put_aside(event, note)
            self._tell(f"needs a person: {note}")
            return
        if head.is_return:
            self._inbox.take(event, Subject.RETURN, head.code)
            return
        self._inbox.take(event, Subject.ORDER, head.code, _deadline_of(head))
        # A forger who knows a code must not be able to keep a cancelled order's label and pieces.
        if event.is_verified and HAS_LEFT & set(head.states):
            self._inbox.note_left(head.code)

    async def _look(self, look: Look) -> None:
        title = f"{look.kind.capitalize()} {look.code}"
        try:
            note = await (self._order(look.code) if look.kind is Subject.ORDER else self._return(look.code))
        except CallError as error:
            self._heed(error)
            is_unknown = isinstance(error, MarketplaceError) and error.status == HTTPStatus.NOT_FOUND
            if isinstance(error, MarketplaceError) and error.has_code(_NO_SUCH_ORDER):
                self._setup.note_answer()  # Only the marketplace itself says so.
            if is_unknown and not self._inbox.was_seen(look.kind, look.code):
                self._wait_for_unknown(look, error)
                return
            if error.may_pass or look.tries + 1 < FAILURES_BEFORE_PERSON:
                self._try_again(look, str(error))
                return
            note = f"the marketplace refused: {error}" if isinstance(error, MarketplaceError) else str(error)
        except _MAY_PASS as error:
            self._try_again(look, str(error))
            return
        except Exception as error:  # noqa: BLE001  (unforeseen, so it is logged whole)
            # It must not hold up the others either.
            _log.exception("look_failed", kind=look.kind, code=look.code)
            self._try_again(look, str(error))
            return
        else:
            self._setup.note_answer()
        note = f"{title}: {note}" if note else ""
        self._inbox.settle(look, self._clock(), note)
        # Once: reconciliation looks at the same order again and again, and one line is enough.
        if note and note != look.note:
            self._tell(f"needs a person: {note}")

    def _wait_for_unknown(self, look: Look, error: CallError) -> None:
        """Retry an unknown code for some minutes, then forget it: a forged event must not fill `status`. As long as no
        call has succeeded, the address may be wrong, and nothing is forgotten."""
        if look.tries + 1 >= _TRIES_OF_UNKNOWN and not self._setup.has_answered:
            self._setup.note_all_unknown()
        if self._setup.has_answered:
            self._inbox.doubt(look)
        if look.tries + 1 < _TRIES_OF_UNKNOWN or not self._setup.has_answered:
            self._try_again(look, UNKNOWN_CODE if self._setup.has_answered else str(error))
            return
        _log.warning("unknown_code_forgotten", kind=look.kind, code=look.code[:_CODE_SHOWN])
        self._metrics.note_failure("unknown_code")
        self._inbox.forget(look)

    async def _order(self, code: str) -> str:
        """Take the order's next step; return a sentence if a person has to look at it."""
        try:
            reading = await self._client.read_order(code)
        except UnreadableAnswerError as error:
            # Its deadline may be readable all the same.
            with contextlib.suppress(UnexpectedShapeError):
                head = read_event_head(error.body)
                if head.code == code:
                    self._inbox.watch_deadline(code, _deadline_of(head))
            raise
        # Before anything can fail: its deadline is watched from now on.
        order = reading.order
        self._inbox.saw(Subject.ORDER, code, order.state, answer_until(order))
        if reading.unread:
            _log.warning("order_read_in_part", code=code, unread=reading.unread)
        places = places_that_decide(reading.unread)
        if order.state == OrderState.OPEN and places:
            return f"{', '.join(places)} cannot be read: accept or reject it in the marketplace's own pages"
        reading, note = await self._steps.take(reading)
        order, places = reading.order, places_that_decide(reading.unread)
        self._inbox.saw(Subject.ORDER, code, order.state, answer_until(order))
        if order.state == OrderState.ACCEPTED and places:
            check = "check the order on the marketplace's pages, and lower the stock of the unreadable lines yourself"
            note = f"{note} {', '.join(places)} cannot be read: {check}".strip()
        if self._recipient is not None and not self._habits.dry_run:
            if self._habits.told_orders_are_counted and order.state == OrderState.OPEN:
                # The shop's system lowers its stock for this order too, and a file shows that only later.
                self._steps.hold(order)
            self._inbox.hand_over(Subject.ORDER, code, order_body(reading.received))
        return note

    async def _return(self, return_code: str) -> str:
        """The same for a return request: decide by the policy, and leave the rest to a person."""
        returned, received = await self._client.read_return(return_code)
        self._inbox.saw(Subject.RETURN, return_code, returned.state, None)
        decision = decide_return(returned, self._policy.returns)
        note = ""
        if self._habits.dry_run:
            self._tell(f"would {would_review(return_code, decision)}")
            return note
        match decision:
            case WaitForPerson(reason):
                note = reason
            case Review(option):
                try:
                    await self._client.review(return_code, option)
                except ReturnStatusError:
                    # A race was lost, perhaps to ourselves before a crash.
                    self._tell(f"{return_code} was reviewed already")
                else:
                    self._did("reviewed", return_code, f"reviewed {return_code}: {option}")
                returned, received = await self._client.read_return(return_code)
                self._inbox.saw(Subject.RETURN, return_code, returned.state, None)
            case NothingToReview():
                pass
        if self._recipient is not None:
            self._inbox.hand_over(Subject.RETURN, return_code, return_body(received))
        return note

    def _heed(self, error: CallError) -> None:
        """Apply a failure to all calls: the pause that the marketplace demands, and a wrong set-up."""
        self._setup.note_failure(error)
        if isinstance(error, MarketplaceError) and error.retry_after_seconds is not None and error.may_pass:
            wait_seconds = min(error.retry_after_seconds, _LONGEST_WAIT_SECONDS)
            self._not_before = max(self._not_before, self._clock() + wait_seconds)

    def _try_again(self, look: Look, failure: str) -> None:
        pause = pause_seconds(look.tries)
        _log.warning("look_waits", code=look.code, error=failure, tries=look.tries + 1, pause_seconds=pause)
        self._metrics.note_failure("look")
        self._inbox.postpone(look, self._clock() + pause, failure)

    def _did(self, what: str, code: str, line: str) -> None:
        self._metrics.note_done(what)
        _log.info(what, code=code)
        self._tell(line)


def _deadline_of(head: EventHead) -> float | None:
    """Return the deadline of an order that may be open, in seconds since 1970, or None."""
    return seconds_of(head.expires_at) if may_be_open(head.states[0] if head.states else "") else None
