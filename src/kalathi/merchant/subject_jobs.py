"""Run one job of the inbox: fetch an order or a return, run its next step, and plan the next attempt if that fails."""

import contextlib
import sqlite3
from http import HTTPStatus
from typing import Final

import structlog

from kalathi.contract.codec import UnexpectedShapeError
from kalathi.contract.reading import seconds_of
from kalathi.contract.webhooks import EventHead, read_event_head
from kalathi.contract.words import OrderState
from kalathi.merchant.client import CallError, MarketplaceError, ReturnStatusError, UnreadableAnswerError
from kalathi.merchant.context import Context
from kalathi.merchant.decisions import answer_until, may_be_open, places_that_decide
from kalathi.merchant.handing_over import order_body, return_body
from kalathi.merchant.inbox.file import UNKNOWN_CODE
from kalathi.merchant.inbox.jobs import Job
from kalathi.merchant.inbox.subjects import Subject
from kalathi.merchant.order_steps import OrderSteps
from kalathi.merchant.pauses import FAILURES_BEFORE_PERSON, pause_seconds
from kalathi.merchant.printing import PrinterError
from kalathi.merchant.return_decisions import NothingToReview, ReturnPolicy, Review, WaitForPerson, decide_return
from kalathi.merchant.sentences import would_review
from kalathi.merchant.setup_notices import SetupNotices
from kalathi.merchant.stock import StockError
from kalathi.merchant.vouchers import NotAVoucherError

_log = structlog.get_logger("kalathi.merchant")

# The longest `Retry-After` that the connector respects, because orders have deadlines.
_LONGEST_WAIT_SECONDS: Final = 300.0
# About four minutes with growing pauses: a marketplace may announce an order before each of its servers shows it.
_TRIES_OF_UNKNOWN: Final = 12
_CODE_SHOWN: Final = 40
# The error code for an order that does not exist (docs/contract.md#section-3).
_NO_SUCH_ORDER: Final = "order_error"
_MAY_PASS: Final = (StockError, NotAVoucherError, PrinterError, OSError, sqlite3.Error)


class SubjectJobs:
    """Run jobs. An event only causes a job, which acts on the order that it fetches. So events may be duplicated, late,
    out of order or forged, and an answer uses only options that are still on offer."""

    def __init__(
        self,
        context: Context,
        steps: OrderSteps,
        setup: SetupNotices,
        returns: ReturnPolicy,
        *,
        hands_over: bool,
    ) -> None:
        """With `hands_over`, every order and return is queued for the shop's own system."""
        self._context = context
        self._inbox = context.inbox
        self._steps = steps
        self._setup = setup
        self._returns = returns
        self._hands_over = hands_over and not context.habits.dry_run
        # Make no calls before this time (seconds since 1970), because of a `Retry-After`.
        self.not_before = 0.0

    async def run(self, job: Job) -> None:
        """Run the job and record its outcome. Raises sqlite3.Error."""
        title = f"{job.kind.capitalize()} {job.code}"
        try:
            note = await (self._order(job.code) if job.kind is Subject.ORDER else self._return(job.code))
        except CallError as error:
            self.note_failure(error)
            is_unknown = isinstance(error, MarketplaceError) and error.status == HTTPStatus.NOT_FOUND
            if isinstance(error, MarketplaceError) and error.has_code(_NO_SUCH_ORDER):
                self._setup.note_answer()  # Only a marketplace sends this code, so the address is right.
            if is_unknown and not self._inbox.subjects.was_fetched(job.kind, job.code):
                self._wait_for_unknown(job, error)
                return
            if error.may_pass or job.tries + 1 < FAILURES_BEFORE_PERSON:
                self._try_again(job, str(error))
                return
            note = f"the marketplace refused: {error}" if isinstance(error, MarketplaceError) else str(error)
            self._steps.drop_promise(job.code)
        except _MAY_PASS as error:
            self._try_again(job, str(error))
            return
        except Exception as error:  # noqa: BLE001  (unforeseen, so log it with its traceback)
            # An unforeseen error must not stop the other jobs.
            _log.exception("job_failed", kind=job.kind, code=job.code)
            self._try_again(job, str(error))
            return
        else:
            self._setup.note_answer()
        note = f"{title}: {note}" if note else ""
        self._inbox.jobs.finish(job, self._context.clock(), note)
        # Report a note once, because reconciliation plans the same order repeatedly.
        if note and note != job.note:
            self._context.tell_person(note)

    def _wait_for_unknown(self, job: Job, error: CallError) -> None:
        """Retry an unknown code for some minutes, then forget it: a forged event must not fill `status`. As long as no
        call has succeeded, the address may be wrong, and nothing is forgotten."""
        if job.tries + 1 >= _TRIES_OF_UNKNOWN and not self._setup.has_answered:
            self._setup.note_all_unknown()
        if self._setup.has_answered:
            self._inbox.subjects.drop_deadline(job.kind, job.code)
        if job.tries + 1 < _TRIES_OF_UNKNOWN or not self._setup.has_answered:
            self._try_again(job, UNKNOWN_CODE if self._setup.has_answered else str(error))
            return
        _log.warning("unknown_code_dropped", kind=job.kind, code=job.code[:_CODE_SHOWN])
        self._context.metrics.note_failure("unknown_code")
        self._inbox.jobs.forget(job)
        self._steps.drop_promise(job.code)

    async def _order(self, code: str) -> str:
        """Fetch the order and run its next step. Return a sentence if the order needs a person."""
        try:
            reading = await self._context.client.read_order(code)
        except UnreadableAnswerError as error:
            # The deadline may still be readable.
            with contextlib.suppress(UnexpectedShapeError):
                head = read_event_head(error.body)
                if head.code == code:
                    self._inbox.subjects.watch_deadline(code, deadline_of(head))
            raise
        # Record the deadline first, so that it is watched even if a later step fails.
        order = reading.order
        self._inbox.subjects.note_state(Subject.ORDER, code, order.state, answer_until(order))
        self._steps.note_promise(order)
        if reading.unread:
            _log.warning("order_partly_unreadable", code=code, unread=reading.unread)
        places = places_that_decide(reading.unread)
        if order.state == OrderState.OPEN and places:
            return f"{', '.join(places)} cannot be read: accept or reject it in the marketplace's own pages"
        reading, note = await self._steps.advance(reading)
        order, places = reading.order, places_that_decide(reading.unread)
        self._inbox.subjects.note_state(Subject.ORDER, code, order.state, answer_until(order))
        if order.state == OrderState.ACCEPTED and places:
            check = "check the order on the marketplace's pages, and lower the stock of the unreadable lines yourself"
            note = f"{note} {', '.join(places)} cannot be read: {check}".strip()
        if self._hands_over:
            if self._context.habits.told_orders_are_counted and order.state == OrderState.OPEN:
                # The shop's system lowers its stock for open orders too, but a file shows that only later.
                self._steps.hold(order)
            self._inbox.handovers.queue(Subject.ORDER, code, order_body(reading.received))
        return note

    async def _return(self, return_code: str) -> str:
        """Fetch the return and decide on it by the policy. Return a sentence if the return needs a person."""
        returned, received = await self._context.client.read_return(return_code)
        self._inbox.subjects.note_state(Subject.RETURN, return_code, returned.state, None)
        decision = decide_return(returned, self._returns)
        note = ""
        if self._context.habits.dry_run:
            self._context.tell(f"would {would_review(return_code, decision)}")
            return note
        match decision:
            case WaitForPerson(reason):
                note = reason
            case Review(option):
                try:
                    await self._context.client.review(return_code, option)
                except ReturnStatusError:
                    # A race was lost, perhaps to ourselves before a crash.
                    self._context.tell(f"{return_code} was reviewed already")
                else:
                    self._context.report("reviewed", return_code, f"reviewed {return_code}: {option}")
                returned, received = await self._context.client.read_return(return_code)
                self._inbox.subjects.note_state(Subject.RETURN, return_code, returned.state, None)
            case NothingToReview():
                pass
        if self._hands_over:
            self._inbox.handovers.queue(Subject.RETURN, return_code, return_body(received))
        return note

    def note_failure(self, error: CallError) -> None:
        """Apply a failure to all calls: the pause that the marketplace demands, and a wrong set-up."""
        self._setup.note_failure(error)
        if isinstance(error, MarketplaceError) and error.retry_after_seconds is not None and error.may_pass:
            wait_seconds = min(error.retry_after_seconds, _LONGEST_WAIT_SECONDS)
            self.not_before = max(self.not_before, self._context.clock() + wait_seconds)

    def _try_again(self, job: Job, failure: str) -> None:
        pause = pause_seconds(job.tries)
        _log.warning("job_postponed", code=job.code, error=failure, tries=job.tries + 1, pause_seconds=pause)
        self._context.metrics.note_failure("look")
        self._inbox.jobs.postpone(job, self._context.clock() + pause, failure)


def deadline_of(head: EventHead) -> float | None:
    """Return the deadline of an order that may be open, in seconds since 1970, or None."""
    return seconds_of(head.expires_at) if may_be_open(head.states[0] if head.states else "") else None
