"""The status of a connector and the requests of a person at the shop. They run in another process beside the
connector."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from kalathi.contract.reading import ATHENS
from kalathi.contract.words import OrderState
from kalathi.merchant.inbox import Inbox
from kalathi.merchant.inbox.notices import label_topic
from kalathi.merchant.inbox.printed import Printed
from kalathi.merchant.inbox.publications import UNPUBLISHED
from kalathi.merchant.inbox.subjects import Subject
from kalathi.merchant.vouchers import PDFIUM

_EVENTS_SHOWN: Final = 10
_REFUSED_SECONDS: Final = 86_400.0
# Three rounds of reconciliation.
_RECONCILED_SECONDS: Final = 900.0
_DEADLINES_SHOWN: Final = 10
# Large enough that orders with a note, which are listed elsewhere, do not hide other deadlines.
_DEADLINES_READ: Final = 1000
# The marketplace retries a webhook for twenty minutes, so a problem that still exists appears again within an hour.
_REFUSAL_SETTLED_SECONDS: Final = 3600.0


class ShownEvent(Struct, frozen=True):
    """An event: its time, its state, and its order, return or problem."""

    received_at: datetime
    state: str
    note: str


class Deadline(Struct, frozen=True):
    """The deadline of an unanswered order."""

    code: str
    answer_until: datetime
    note: str


class Status(Struct, frozen=True, kw_only=True):
    """The connector's status at one moment. Times are in the time zone that `status_of` received."""

    # Unread events, due jobs, and queued hand-overs.
    events_waiting: int
    looks_waiting: int
    handovers_waiting: int
    orders: dict[str, int]
    returns: dict[str, int]
    printed: int
    reserved_pieces: int
    # Products with published stock, batches whose results are not known yet, and the time since which a difference is
    # not published.
    published_products: int
    open_batches: int
    unpublished_since: datetime | None
    reconciled_at: datetime | None
    last_events: list[ShownEvent]
    deadlines: list[Deadline]
    # One line for each reason of the last 24 hours.
    refused_webhooks: list[str]
    # One sentence for each problem that needs a person.
    needs_a_person: list[str]


class MergedVouchers(Struct, frozen=True):
    """The number of merged pages, and the orders without their voucher: those with a missing file, for example because
    they were cancelled, and those with an unreadable file, with the reason."""

    pages: int
    gone: list[str]
    unreadable: dict[str, str]


def status_of(inbox: Inbox, now: datetime, *, is_running: bool = True) -> Status:
    """Return the connector's status. Times are in the zone of `now`. `is_running`: a connector uses this inbox."""
    counts = inbox.counts()
    urgent = inbox.subjects.list_unanswered(_DEADLINES_SHOWN)
    reconciled, unpublished = inbox.moment("reconciled"), inbox.moment(UNPUBLISHED)
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
        published_products=inbox.publications.counts()[0],
        open_batches=inbox.publications.count_batches(),
        unpublished_since=None if unpublished is None else to_local_time(unpublished),
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
    """Return one sentence for each open problem that needs a person.

    These are notices, orders and returns that the connector leaves to a person, deadlines, work that fails repeatedly,
    and refused webhooks. `status`, `/metrics` and `/healthz` show this list. Times are in the time zone of `now`.
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
    """Return the sentences of `needs_of` for the running connector now, in Athens time."""
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
    """Return a sentence for each open reason of refusals. A reason is settled if a later webhook was accepted and the
    reason has not occurred for an hour. One of the two webhook addresses can be right while the other is wrong."""
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
    """Plan to fetch the order or return with this code, or, without a code, everything that waits for a person. Return
    the number of planned jobs and events. An unknown code becomes a new order, or a new return if it begins with `R-`.
    """
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
    """Plan to print the order's voucher again. Return False if the order's last fetched state is not `accepted`."""
    if code not in {entry.code for entry in inbox.subjects.in_state(OrderState.ACCEPTED)}:
        return False
    inbox.vouchers.unmark_printed(code)
    inbox.jobs.plan(Subject.ORDER, code)
    return True


def merge_vouchers(printed: Sequence[Printed], target: Path) -> MergedVouchers:
    """Merge the vouchers into one PDF, in the given order. Write no file if there is no page.

    Raises OSError if the target cannot be written, ModuleNotFoundError without the extra `pdf`."""
    import pypdfium2  # noqa: PLC0415  (optional)

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
