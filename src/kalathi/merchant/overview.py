"""The status of a connector, and the requests of a person at the shop, from another process while it runs."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import pypdfium2
from msgspec import Struct

from kalathi.contract.reading import ATHENS
from kalathi.contract.words import OrderState
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.notices import label_topic
from kalathi.merchant.inbox.printed import Printed
from kalathi.merchant.inbox.subjects import Subject
from kalathi.merchant.vouchers import PDFIUM

_EVENTS_SHOWN: Final = 10
_REFUSED_SECONDS: Final = 86_400.0
# Three rounds of reconciliation.
_RECONCILED_SECONDS: Final = 900.0
_DEADLINES_SHOWN: Final = 10
# Enough that orders with a note of their own, which are listed elsewhere, cannot hide a deadline.
_DEADLINES_READ: Final = 1000
# The marketplace retries a webhook for twenty minutes, so a problem that still exists appears again within an hour.
_REFUSAL_SETTLED_SECONDS: Final = 3600.0


class ShownEvent(Struct, frozen=True):
    """An event: its time, and its order or return, or its problem."""

    received_at: datetime
    state: str
    note: str


class Deadline(Struct, frozen=True):
    """An order that is to be answered."""

    code: str
    answer_until: datetime
    note: str


class Status(Struct, frozen=True, kw_only=True):
    """The connector at one moment. Times are in the zone of the reader that was given."""

    # Events that were not read yet, orders and returns to look at, changes to hand over.
    events_waiting: int
    looks_waiting: int
    handovers_waiting: int
    orders: dict[str, int]
    returns: dict[str, int]
    printed: int
    reserved_pieces: int
    reconciled_at: datetime | None
    last_events: list[ShownEvent]
    deadlines: list[Deadline]
    # Of the last day, by reason.
    refused_webhooks: list[str]
    # One sentence for each thing that waits for a person.
    needs_a_person: list[str]


class MergedVouchers(Struct, frozen=True):
    """The number of merged pages, and the orders whose vouchers were left out: missing files, as of cancelled orders,
    and unreadable ones with the reason."""

    pages: int
    gone: list[str]
    unreadable: dict[str, str]


def status_of(inbox: Inbox, now: datetime, *, is_running: bool = True) -> Status:
    """Return the connector's status. Times are in the zone of `now`. `is_running`: a connector uses this inbox."""
    counts = inbox.counts()
    urgent = inbox.subjects.list_unanswered(_DEADLINES_SHOWN)
    reconciled = inbox.moment("reconciled")
    zone = now.tzinfo

    def to_local_time(at: float) -> datetime:
        return datetime.fromtimestamp(at, zone)

    return Status(
        events_waiting=counts.get("events_new", 0),
        looks_waiting=counts.get("looks_due", 0),
        handovers_waiting=counts["handovers"],
        orders=inbox.subjects.states(Subject.ORDER),
        returns=inbox.subjects.states(Subject.RETURN),
        printed=counts["printed"],
        reserved_pieces=sum(inbox.reservations.pieces().values()),
        reconciled_at=None if reconciled is None else to_local_time(reconciled),
        last_events=[
            ShownEvent(to_local_time(at), state, note) for at, state, note in inbox.events.newest(_EVENTS_SHOWN)
        ],
        deadlines=[
            Deadline(entry.code, to_local_time(entry.answer_until), entry.note)
            for entry in urgent
            if entry.answer_until is not None
        ],
        refused_webhooks=[
            f"{entry.times} answered with {entry.status} ({entry.reason}), last at"
            f" {to_local_time(entry.last_at):%d/%m %H:%M:%S %Z}: {entry.detail}"
            for entry in inbox.notices.list_refused(now.timestamp() - _REFUSED_SECONDS)
        ],
        needs_a_person=needs_of(inbox, now, is_running=is_running),
    )


def needs_of(inbox: Inbox, now: datetime, *, is_running: bool = True) -> list[str]:
    """Return one sentence for each thing that needs a person, until it is settled.

    These are notices, orders and returns that the connector leaves to a person, deadlines, work that keeps failing, and
    webhooks that are refused. `status`, `/metrics` and `/healthz` show this list. Times are in the zone of `now`.
    """
    needs = [] if is_running else ["No connector runs on this inbox. Start it: kalathi merchant --data ..."]
    needs += [_sentence(notice.text) for notice in inbox.notices.open()]
    needs += [note for _, note in inbox.aside()]
    needs += [_sentence(text) for text in _deadlines(inbox, now)]
    needs += _travelling(inbox)
    needs += [
        _sentence(f"{title}: tried {tries} times, last error: {failure or 'unknown'}")
        for title, tries, failure in inbox.failing()
    ]
    reconciled = inbox.moment("reconciled")
    started = inbox.moment("started")
    if reconciled is None and started is not None and now.timestamp() - started > _RECONCILED_SECONDS:
        at = datetime.fromtimestamp(started, now.tzinfo)
        needs.append(
            f"Orders were never compared with the marketplace since the start at {at:%d/%m %H:%M %Z}. The connector's"
            " log says why."
        )
    if reconciled is not None and now.timestamp() - reconciled > _RECONCILED_SECONDS:
        at = datetime.fromtimestamp(reconciled, now.tzinfo)
        needs.append(f"Orders were last compared with the marketplace at {at:%d/%m %H:%M %Z}.")
    return needs + _refusals(inbox, now)


def needs_now(inbox: Inbox) -> list[str]:
    """The same for the running connector itself, at this moment."""
    return needs_of(inbox, datetime.now(ATHENS))


def _deadlines(inbox: Inbox, now: datetime) -> list[str]:
    lines = []
    for entry in inbox.subjects.list_unanswered(_DEADLINES_READ):
        if entry.answer_until is None or entry.note:
            continue
        until = datetime.fromtimestamp(entry.answer_until, now.tzinfo)
        if until <= now:
            lines.append(f"Order {entry.code}: its deadline has passed and it is not answered")
        elif inbox.subjects.is_warned(entry):
            lines.append(f"Order {entry.code} is to be answered by {until:%d/%m %H:%M %Z}")
    return lines


def _travelling(inbox: Inbox) -> list[str]:
    """Return a sentence for each order that was cancelled after dispatch and still holds pieces."""
    left = set(inbox.reservations.list_departed())
    return [
        f"Order {entry.code} was cancelled on its way: {sum(inbox.reservations.of(entry.code).values())} pieces are"
        f" held for its parcel. When it is back and counted: kalathi merchant settle {entry.code}"
        for entry in inbox.subjects.in_state(OrderState.CANCELLED)
        if entry.code in left
    ]


def _refusals(inbox: Inbox, now: datetime) -> list[str]:
    """Return a sentence for each reason of refusals. A reason is settled if a webhook was taken later, and it has not
    come for an hour: one address can be right while the other is wrong."""
    taken_at = max((at for at, _, _ in inbox.events.newest(1)), default=0.0)
    refused = [
        entry
        for entry in inbox.notices.list_refused(now.timestamp() - _REFUSED_SECONDS)
        if entry.last_at >= taken_at or now.timestamp() - entry.last_at < _REFUSAL_SETTLED_SECONDS
    ]
    return [
        _sentence(f"{entry.times} webhooks were answered with {entry.status} ({entry.reason}): {entry.detail}")
        for entry in refused
    ]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def plan_again(inbox: Inbox, code: str | None) -> int:
    """The order or return of this code, or without one all that waits for a person, is looked at again within seconds;
    gives how many. A code that is not known becomes known: the order's if nothing else."""
    found = inbox.jobs.plan_again(code)
    if code is None:
        return found + inbox.events.read_again()
    if not found:
        inbox.jobs.plan(Subject.RETURN if code.startswith("R-") else Subject.ORDER, code)
    return 1


def settle(inbox: Inbox, code: str) -> bool:
    """Remove the notice about the earlier label of this order, and release its departed pieces. Return whether there
    was either."""
    held = sum(inbox.reservations.of(code).values()) if code in inbox.reservations.list_departed() else 0
    if held:
        inbox.reservations.release(code)
    return inbox.notices.settle(label_topic(code)) or held > 0


def print_again(inbox: Inbox, code: str) -> bool:
    """Request another print of the order's voucher; False for an order that was not accepted when it was last seen."""
    if code not in {entry.code for entry in inbox.subjects.in_state(OrderState.ACCEPTED)}:
        return False
    inbox.vouchers.unmark_printed(code)
    inbox.jobs.plan(Subject.ORDER, code)
    return True


def merge_vouchers(printed: Sequence[Printed], target: Path) -> MergedVouchers:
    """Merge the vouchers into one PDF, in their order. Without any page no file is written.

    Raises OSError if the target cannot be written."""
    gone: list[str] = []
    unreadable: dict[str, str] = {}
    with PDFIUM:
        merged = pypdfium2.PdfDocument.new()
        try:
            for voucher in printed:
                try:
                    with pypdfium2.PdfDocument(Path(voucher.path).read_bytes()) as single:
                        merged.import_pages(single)
                except FileNotFoundError:
                    gone.append(voucher.code)
                except OSError as error:
                    unreadable[voucher.code] = error.strerror or str(error)
                except pypdfium2.PdfiumError as error:
                    unreadable[voucher.code] = str(error)
            pages = len(merged)
            if pages:
                unfinished = target.with_name(target.name + ".part")
                merged.save(unfinished)
                unfinished.replace(target)
        finally:
            merged.close()
    return MergedVouchers(pages, gone, unreadable)
