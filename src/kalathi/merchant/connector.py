"""The connector: inbox → decision → action → proof. Every step is a row in the inbox and can be repeated. So the
connector loses no work if it is killed.

An event only causes a job (`subject_jobs.py`), which fetches the order or return. Several jobs run at a time. A failed
job is retried with growing pauses. At the start and every few minutes, the connector lists orders to find those without
a webhook (`reconciling.py`).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from kalathi.contract.codec import UnexpectedShapeError
from kalathi.contract.reading import ATHENS
from kalathi.contract.webhooks import read_event_head
from kalathi.merchant.client import AsyncClient, CallError
from kalathi.merchant.context import Context
from kalathi.merchant.habits import Habits
from kalathi.merchant.handing_over import Recipient
from kalathi.merchant.handover_steps import HandoverSteps
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.events import InboxEvent
from kalathi.merchant.inbox.subjects import HAS_LEFT, Subject
from kalathi.merchant.labels import Labels
from kalathi.merchant.metrics import ConnectorMetrics
from kalathi.merchant.order_steps import OrderSteps
from kalathi.merchant.pauses import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from kalathi.merchant.policy import Policy
from kalathi.merchant.printing import FolderPrinter
from kalathi.merchant.promises import Promises
from kalathi.merchant.reconciling import reconcile
from kalathi.merchant.setup_notices import SetupNotices
from kalathi.merchant.stock import Stock
from kalathi.merchant.stock_publisher import StockPublisher
from kalathi.merchant.stock_reader import StockReader
from kalathi.merchant.subject_jobs import SubjectJobs, deadline_of

_log = structlog.get_logger("kalathi.merchant")

# Read the inbox this often, because other processes write to it: a web framework that receives webhooks, or
# `kalathi merchant reprint`.
_IDLE_SECONDS: Final = 1.0
# The clock was ahead if it moves back by more than this. A smaller step is an ordinary correction.
_STEP_BACK_SECONDS: Final = 5.0
# A deadline that is nearer than this is reported even if its order was never fetched.
_SOON_SECONDS: Final = 300.0
# Jobs that run at a time. A printer that hangs, or a link that does not answer, blocks only one of them.
_JOBS_AT_A_TIME: Final = 16
_HANDOVERS_AT_A_TIME: Final = 4
# The number of handled events that are kept, to recognise repeats; older ones are deleted.
_EVENTS_KEPT: Final = 100_000


class Connector:
    """Connect the inbox, the stock, the printer and the marketplace."""

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
        publishes_stock: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`tell` prints one line for each completed action; `clock` returns seconds since 1970. `recipient` is the
        shop's own system, which gets every order and change. `publishes_stock`: publish the stock and prices of the
        source; the client needs a token of the Products API."""
        self._context = Context(
            client=client,
            inbox=inbox,
            tell=tell,
            habits=habits or Habits(),
            metrics=metrics or ConnectorMetrics(),
            clock=clock,
        )
        policy = policy or Policy()
        self._inbox = inbox
        self._stock = StockReader(self._context, stock)
        publishes = publishes_stock and not self._context.habits.dry_run
        self._promises = promises = Promises(inbox.publications) if publishes else None
        self._steps = OrderSteps(self._context, self._stock, Labels(self._context, printer), policy, promises)
        self._setup = SetupNotices(inbox.notices, tell, clock)
        self._hands_over = recipient is not None
        self._jobs = SubjectJobs(self._context, self._steps, self._setup, policy.returns, hands_over=self._hands_over)
        self._handovers = HandoverSteps(self._context, recipient, self._stock) if recipient is not None else None
        self.publisher = (
            None if promises is None else StockPublisher(self._context, self._stock, policy.stock, promises)
        )
        self._awake = asyncio.Event()
        self._reconcile_at = 0.0
        self._worked_at = self._looked_after_at = clock()

    def seconds_since_round(self) -> float:
        """Return the seconds since the slower of the two loops last started a round: jobs, or checks."""
        return self._context.clock() - min(self._worked_at, self._looked_after_at)

    def wake(self) -> None:
        """Make the connector read the inbox now, because it has a new entry."""
        self._awake.set()

    async def run(self) -> None:
        """Work until cancelled. Every failure is logged and retried."""
        self._follow_clock_back(self._context.clock())
        self._inbox.mark_moment("started", self._context.clock())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._run_jobs())
                # A separate task, so that deadlines are watched even if other work hangs.
                group.create_task(self._run_checks())
                if self.publisher is not None:
                    group.create_task(self.publisher.run())
        finally:
            self._stock.stop()
            self._inbox.notices.write_refusals(self._context.clock())

    async def _run_jobs(self) -> None:
        while True:
            self._awake.clear()
            seconds = FIRST_PAUSE_SECONDS
            try:
                await self.work()
                next_at = self.next_at()
                seconds = _IDLE_SECONDS if next_at is None else max(next_at - self._context.clock(), 0.01)
            except Exception:  # noqa: BLE001  (a locked or full disk must not end the connector)
                _log.exception("connector_work_failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), min(seconds, _IDLE_SECONDS))

    async def _run_checks(self) -> None:
        while True:
            try:
                await self.check()
            except Exception:  # noqa: BLE001  (a locked or full disk must not end the connector)
                _log.exception("connector_checks_failed")
            await asyncio.sleep(_IDLE_SECONDS)

    def next_at(self) -> float | None:
        """Return the time of the next due work, in seconds since 1970, or None if there is none."""
        next_at = self._inbox.next_at(handovers=self._hands_over)
        return None if next_at is None else max(next_at, self._jobs.not_before)

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
                if self.publisher is not None:
                    self.publisher.wake()
        finally:
            for task in in_hand.values():
                task.cancel()
            await asyncio.gather(*in_hand.values(), return_exceptions=True)

    def _begin(self, in_hand: dict[tuple[str, str], asyncio.Task[None]]) -> None:
        """Read new events, and start due jobs and hand-overs up to their limits."""
        self._worked_at = self._context.clock()
        while events := self._inbox.events.unread():
            for event in events:
                self._read(event)
        now = self._context.clock()
        jobs = self._inbox.jobs.due(now) if now >= self._jobs.not_before else []
        free = _JOBS_AT_A_TIME - sum(1 for kind, _ in in_hand if kind != "handover")
        for job in [job for job in jobs if (job.kind, job.code) not in in_hand][:free]:
            in_hand[job.kind, job.code] = asyncio.create_task(self._jobs.run(job))
        if self._handovers is None:
            return
        free = _HANDOVERS_AT_A_TIME - sum(1 for kind, _ in in_hand if kind == "handover")
        handovers = self._inbox.handovers.due(now)
        for handover in [entry for entry in handovers if ("handover", entry.code) not in in_hand][:free]:
            in_hand["handover", handover.code] = asyncio.create_task(self._handovers.hand_over(handover))

    async def check(self) -> None:
        """Warn of deadlines and reconcile, at intervals."""
        now = self._context.clock()
        if now < self._looked_after_at - _STEP_BACK_SECONDS:
            self._follow_clock_back(now)
        self._looked_after_at = now
        self._inbox.notices.write_refusals(now)
        for known in self._inbox.subjects.list_unwarned(now + self._context.habits.warn_seconds, now + _SOON_SECONDS):
            until = datetime.fromtimestamp(known.answer_until or now, ATHENS)
            self._context.tell_person(
                f"{known.kind.capitalize()} {known.code} is to be answered by {until:%d/%m %H:%M %Z}"
            )
            self._inbox.subjects.mark_warned(known)
        if now < max(self._reconcile_at, self._jobs.not_before):
            return
        self._reconcile_at = now + self._context.habits.reconcile_again_seconds
        hands_over = self._hands_over and not self._context.habits.dry_run
        try:
            found = await reconcile(
                self._context.client,
                self._inbox,
                now,
                answers=not self._context.habits.dry_run,
                hands_over=hands_over,
            )
        except CallError as error:
            self._context.metrics.note_failure("reconcile")
            self._jobs.note_failure(error)
            _log.warning("reconciliation_failed", error=str(error))
        else:
            if self._promises is not None and self.publisher is not None:
                self._promises.await_orders(self._inbox.jobs.list_due_codes(Subject.ORDER), now)
                self.publisher.wake()
            if found.has_lists:
                self._setup.note_answer()
            self._setup.compare_clocks(self._context.client.marketplace_time)
            self._reconcile_at = now + self._context.habits.reconcile_seconds
            if found.unknown:
                self._context.tell(f"found {found.unknown} orders or returns that no webhook announced")
        self._inbox.events.forget_read(_EVENTS_KEPT)
        self.wake()
        await self._stock.check()

    def _follow_clock_back(self, now: float) -> None:
        """Shorten pauses that a clock that was ahead has planned; they could last for hours. The clock may have been
        corrected while the connector was not running."""
        self._inbox.bring_forward(now + LONGEST_PAUSE_SECONDS)
        for name in ("reconciled", "started"):
            moment = self._inbox.moment(name)
            if moment is not None and moment > now:
                self._inbox.mark_moment(name, now)
        self._reconcile_at = self._jobs.not_before = 0.0
        self._worked_at = min(self._worked_at, now)
        self.wake()

    def _read(self, event: InboxEvent) -> None:
        try:
            head = read_event_head(event.body)
        except UnexpectedShapeError as error:
            note = f"The event cannot be read: {error}"
            self._inbox.events.put_aside(event, note)
            self._context.tell_person(note)
            return
        if head.is_return:
            self._inbox.plan_from_event(event, Subject.RETURN, head.code)
            return
        self._inbox.plan_from_event(event, Subject.ORDER, head.code, deadline_of(head))
        # Use only verified events. Otherwise a forged event could keep the label and the pieces of a cancelled order.
        if event.is_verified and HAS_LEFT & set(head.states):
            self._inbox.subjects.note_left(head.code)
