"""The commands of the shop and of the clock on orders, one function each.

Each takes the order as it was read, its request, and the facts; it lets the machine decide, and returns the rows to
write. Nothing here waits, sends, or writes. The commands of customers, support and couriers are in operations.py, those
that place orders in placing.py and replacements.py.
"""

from typing import NamedTuple

from kalathi.contract.requests import (
    AcceptRequest,
    RejectRequest,
    RelocateRequest,
    RescheduleRequest,
    TrackingRequest,
)
from kalathi.marketplace.couriers.store import insert_voucher
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.orders import machine, pickup, refusals, store
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.lines import pieces_left
from kalathi.marketplace.orders.model import FoundOrder, facts_of
from kalathi.marketplace.orders.placing import warehouse_facts
from kalathi.marketplace.orders.recording import (
    Recorded,
    move_stock,
    plan_voucher,
    record_ended,
    record_moved,
    record_placed,
    record_relabelled,
)
from kalathi.marketplace.orders.replacements import name_successor
from kalathi.marketplace.orders.uploads import Upload, UploadKind
from kalathi.marketplace.warehouse import store as warehouse


class RenderedVoucher(NamedTuple):
    """A voucher that joins its order: the PDF, the link to it, and the tracking code of each parcel."""

    pdf: bytes
    link: str
    tracking_codes: tuple[str, ...]


class RenderedNote(NamedTuple):
    """A delivery note that joins its order: the PDF, the link to it, and its number."""

    pdf: bytes
    link: str
    number: str


def accept(found: FoundOrder, request: AcceptRequest, facts: Facts) -> Recorded:
    """The shop takes the order, and its voucher becomes due. Raises ORDER_STATUS, INVALID_PARAMETER."""
    step = machine.accept(found.order, request, facts.terms.offer(found.shop), facts.now)
    return _record_accepted(found, step, facts)


def accept_express(found: FoundOrder, _request: None, facts: Facts) -> Recorded:
    """The marketplace takes an express order for the shop. Raises ORDER_STATUS."""
    step = machine.accept_express(found.order, facts.terms.offer(found.shop), facts.now)
    return _record_accepted(found, step, facts)


def reject(found: FoundOrder, request: RejectRequest, facts: Facts) -> Recorded:
    """Reject the order; the available pieces come back as a new order in the same change set. The warehouse sends that
    order if it has the pieces. Raises ORDER_STATUS, INVALID_PARAMETER."""
    order, terms = found.order, facts.terms
    rest = pieces_left(order.lines(), request) if request.line_items else {}
    is_from_warehouse = bool(rest) and not order.store_pickup and warehouse.has(facts.view, order.shop_id, rest)
    rejection = machine.reject(
        order,
        request,
        terms.settings,
        facts.now,
        successor_code=facts.keys.order_code(facts.now),
        line_ids=[facts.keys.opaque_id() for _ in (order.lines() if request.line_items else ())],
        from_warehouse=warehouse_facts(facts_of(order), terms) if is_from_warehouse else None,
    )
    recorded = record_rejection(found, rejection, facts)
    if is_from_warehouse:
        recorded.changes.add(*(warehouse.take(order.shop_id, uid, count) for uid, count in rest.items()))
    return name_successor(found, recorded, facts)


def record_rejection(found: FoundOrder, rejection: machine.Rejection, facts: Facts) -> Recorded:
    """The rows of a rejection: the order that ended, its stock, and the new order for the rest."""
    recorded = record_moved(found, rejection.rejected, facts)
    move_stock(recorded.changes, found.order, rejection.stock)
    if rejection.successor is None:
        return recorded
    placed = record_placed(rejection.successor, found.shop, facts)
    recorded.changes.extend([placed.changes])
    return recorded._replace(placed=placed.placed)


def expire(found: FoundOrder, _request: None, facts: Facts) -> Recorded:
    """Expire an order without an answer. Raises ORDER_STATUS."""
    return record_ended(found, machine.expire(found.order, facts.now), facts)


def issue_voucher(found: FoundOrder, voucher: RenderedVoucher, facts: Facts) -> Recorded:
    """The rendered voucher joins the order. Raises ORDER_STATUS."""
    order = found.order
    url = facts.terms.voucher_url(order.shop_id, voucher.link)
    recorded = record_moved(found, pickup.issue_voucher(order, url, voucher.tracking_codes), facts)
    recorded.changes.add(insert_voucher(order.shop_id, voucher.link, order.code, voucher.pdf))
    return recorded


def issue_delivery_note(found: FoundOrder, note: RenderedNote, facts: Facts) -> Recorded:
    """The note of an order that has left the warehouse joins it. Raises ORDER_STATUS."""
    upload = Upload("application/pdf", note.pdf)
    url = facts.terms.upload_url(found.order.shop_id, note.link, upload.mime_type)
    recorded = record_moved(found, pickup.issue_delivery_note(found.order, note.number, url), facts)
    recorded.changes.extend([store.replace_upload(found.order, UploadKind.DELIVERY_NOTE, note.link, upload)])
    return recorded


def request_voucher(found: FoundOrder, _request: None, facts: Facts) -> Recorded:
    """A preorder is sent early; its voucher becomes due. Raises ORDER_NOT_ELIGIBLE."""
    recorded = record_moved(found, pickup.request_voucher(found.order, facts.terms.schedule, facts.now), facts)
    return plan_voucher(recorded, found, facts.voucher_at, facts)


def reschedule(found: FoundOrder, request: RescheduleRequest, facts: Facts) -> Recorded:
    """The shop moves the pickup to another day. Raises ORDER_STATUS, RESCHEDULE_DATE."""
    return record_moved(found, pickup.reschedule(found.order, request, facts.terms.schedule, facts.now), facts)


def relocate(found: FoundOrder, request: RelocateRequest, facts: Facts) -> Recorded:
    """The courier comes to another location; a voucher that names the old one is made again.

    Raises ORDER_STATUS, PICKUP_LOCATION.
    """
    return record_relabelled(found, pickup.relocate(found.order, request, found.shop.locations), facts)


def set_as_ready(found: FoundOrder, _request: None, facts: Facts) -> Recorded:
    """The parcel is packed. Raises ORDER_NOT_ELIGIBLE."""
    return record_moved(found, pickup.set_as_ready(found.order, facts.terms.schedule, facts.now), facts)


def set_as_not_ready(found: FoundOrder, _request: None, facts: Facts) -> Recorded:
    """The mark is undone. Raises ORDER_NOT_ELIGIBLE."""
    return record_moved(found, pickup.set_as_not_ready(found.order, facts.now), facts)


def note_voucher_download(found: FoundOrder, link: str, facts: Facts) -> Recorded | None:
    """The voucher of a shop that is not enrolled in set-as-ready was downloaded; None when that changes nothing, as
    with an older voucher of an order that has moved."""
    if found.order.courier_voucher != facts.terms.voucher_url(found.order.shop_id, link):
        return None
    step = pickup.mark_ready_by_download(found.order)
    return None if step is None else record_moved(found, step, facts)


def track(found: FoundOrder, request: TrackingRequest, facts: Facts) -> Recorded:
    """Record the tracking details of an order that the shop sends itself. Raises ORDER_NOT_ELIGIBLE, ORDER_STATUS,
    INVALID_PARAMETER."""
    return record_moved(found, pickup.track(found.order, request), facts)


def attach_invoice(found: FoundOrder, upload: Upload, facts: Facts) -> Recorded:
    """The fiscal document of an order that was accepted; a later one takes its place. Raises INVOICE_REFUSED."""
    link = facts.keys.secret_link()
    url = facts.terms.upload_url(found.order.shop_id, link, upload.mime_type)
    recorded = record_moved(found, machine.attach_invoice(found.order, url), facts)
    recorded.changes.extend([store.replace_upload(found.order, UploadKind.INVOICE, link, upload)])
    return recorded


def attach_credit_invoice(found: FoundOrder, upload: Upload, facts: Facts) -> Recorded:
    """Attach the credit invoice, which the order itself does not show. Raises CREDIT_INVOICE_REFUSED."""
    if not found.order.was_accepted:
        raise refuse(refusals.CreditInvoiceTooEarly())
    link = facts.keys.secret_link()
    return Recorded(store.replace_upload(found.order, UploadKind.CREDIT_INVOICE, link, upload), found.document)


def _record_accepted(found: FoundOrder, step: machine.Step, facts: Facts) -> Recorded:
    recorded = record_moved(found, step, facts)
    if not step.order.needs_voucher:
        return recorded
    # A preorder's voucher waits for its day, unless the shop asks for it.
    return plan_voucher(recorded, found, machine.pickups_from(step.order, facts.voucher_at), facts)
