"""The commands of the shop and of the clock on orders, one function each.

A command gets the order as it was read, the request, and the facts. The machine decides, and the command returns the
rows to write. It does no I/O itself. The commands of customers, support and couriers are in operations.py; those that
place orders are in placing.py and replacements.py.
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
    """A new voucher of an order: the PDF, its link, and the tracking code of each parcel."""

    pdf: bytes
    link: str
    tracking_codes: tuple[str, ...]


class RenderedNote(NamedTuple):
    """A new delivery note of an order: the PDF, its link, and its number."""

    pdf: bytes
    link: str
    number: str


def accept(found: FoundOrder, request: AcceptRequest, facts: Facts) -> Recorded:
    """Accept the order for the shop, and plan its voucher. Raises ORDER_STATUS, INVALID_PARAMETER."""
    step = machine.accept(found.order, request, facts.terms.offer(found.shop), facts.now)
    return _record_accepted(found, step, facts)


def accept_express(found: FoundOrder, _request: None, facts: Facts) -> Recorded:
    """Accept an express order on behalf of the shop. Raises ORDER_STATUS."""
    step = machine.accept_express(found.order, facts.terms.offer(found.shop), facts.now)
    return _record_accepted(found, step, facts)


def reject(found: FoundOrder, request: RejectRequest, facts: Facts) -> Recorded:
    """Reject the order, and place a new order for the available pieces in the same change set. The warehouse sends the
    new order if it has all of its pieces. Raises ORDER_STATUS, INVALID_PARAMETER."""
    order, terms = found.order, facts.terms
    rest = pieces_left(order.lines(), request) if request.line_items else {}
    is_from_warehouse = bool(rest) and not order.store_pickup and warehouse.has(facts.view, order.shop_id, rest)
    rejection = machine.reject(
        order,
        request,
        terms.settings,
        facts.now,
        successor_code=facts.keys.order_code(facts.now, order.shop_id),
        line_ids=[facts.keys.opaque_id() for _ in (order.lines() if request.line_items else ())],
        from_warehouse=warehouse_facts(facts_of(order), terms) if is_from_warehouse else None,
    )
    recorded = record_rejection(found, rejection, facts)
    if is_from_warehouse:
        recorded.changes.add(*(warehouse.take(order.shop_id, uid, count) for uid, count in rest.items()))
    return name_successor(found, recorded, facts)


def record_rejection(found: FoundOrder, rejection: machine.Rejection, facts: Facts) -> Recorded:
    """Return the rows of a rejection: the rejected order, its stock, and the new order for the rest."""
    recorded = record_moved(found, rejection.rejected, facts)
    move_stock(recorded.changes, found.order, rejection.stock, facts)
    if rejection.successor is None:
        return recorded
    placed = record_placed(rejection.successor, found.shop, facts)
    recorded.changes.extend([placed.changes])
    return recorded._replace(placed=placed.placed)


def expire(found: FoundOrder, _request: None, facts: Facts) -> Recorded:
    """Expire an order without an answer. Raises ORDER_STATUS."""
    return record_ended(found, machine.expire(found.order, facts.now), facts)


def issue_voucher(found: FoundOrder, voucher: RenderedVoucher, facts: Facts) -> Recorded:
    """Store the rendered voucher, and set it on the order. Raises ORDER_STATUS."""
    order = found.order
    url = facts.terms.voucher_url(order.shop_id, voucher.link)
    recorded = record_moved(found, pickup.issue_voucher(order, url, voucher.tracking_codes), facts)
    recorded.changes.add(insert_voucher(order.shop_id, voucher.link, order.code, voucher.pdf))
    return recorded


def issue_delivery_note(found: FoundOrder, note: RenderedNote, facts: Facts) -> Recorded:
    """Store the delivery note of an order sent by the warehouse, and set it on the order. Raises ORDER_STATUS."""
    upload = Upload("application/pdf", note.pdf)
    url = facts.terms.upload_url(found.order.shop_id, note.link, upload.mime_type)
    recorded = record_moved(found, pickup.issue_delivery_note(found.order, note.number, url), facts)
    recorded.changes.extend([store.replace_upload(found.order, UploadKind.DELIVERY_NOTE, note.link, upload)])
    return recorded


def request_voucher(found: FoundOrder, _request: None, facts: Facts) -> Recorded:
    """Plan the voucher of a preorder before its day. Raises ORDER_NOT_ELIGIBLE."""
    recorded = record_moved(found, pickup.request_voucher(found.order, facts.terms.schedule, facts.now), facts)
    return plan_voucher(recorded, found, facts.voucher_at, facts)


def reschedule(found: FoundOrder, request: RescheduleRequest, facts: Facts) -> Recorded:
    """Move the pickup to another day, for the shop. Raises ORDER_STATUS, RESCHEDULE_DATE."""
    return record_moved(found, pickup.reschedule(found.order, request, facts.terms.schedule, facts.now), facts)


def relocate(found: FoundOrder, request: RelocateRequest, facts: Facts) -> Recorded:
    """Move the pickup to another location. A voucher with the old location is replaced.

    Raises ORDER_STATUS, PICKUP_LOCATION.
    """
    return record_relabelled(found, pickup.relocate(found.order, request, found.shop.locations), facts)


def set_as_ready(found: FoundOrder, _request: None, facts: Facts) -> Recorded:
    """Mark the order as ready for the courier. Raises ORDER_NOT_ELIGIBLE."""
    return record_moved(found, pickup.set_as_ready(found.order, facts.terms.schedule, facts.now), facts)


def set_as_not_ready(found: FoundOrder, _request: None, facts: Facts) -> Recorded:
    """Undo the "ready" mark. Raises ORDER_NOT_ELIGIBLE."""
    return record_moved(found, pickup.set_as_not_ready(found.order, facts.now), facts)


def note_voucher_download(found: FoundOrder, link: str, facts: Facts) -> Recorded | None:
    """Mark the order as ready because its shop, which is not enrolled in set-as-ready, downloaded the voucher. Return
    None if nothing changes, for example if the voucher is outdated."""
    if found.order.courier_voucher != facts.terms.voucher_url(found.order.shop_id, link):
        return None
    step = pickup.mark_ready_by_download(found.order)
    return None if step is None else record_moved(found, step, facts)


def track(found: FoundOrder, request: TrackingRequest, facts: Facts) -> Recorded:
    """Record the tracking details of an order that the shop sends itself. Raises ORDER_NOT_ELIGIBLE, ORDER_STATUS,
    INVALID_PARAMETER."""
    return record_moved(found, pickup.track(found.order, request), facts)


def attach_invoice(found: FoundOrder, upload: Upload, facts: Facts) -> Recorded:
    """Attach the invoice to an order that was accepted. A later upload replaces it. Raises INVOICE_REFUSED."""
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
