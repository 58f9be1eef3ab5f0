"""The commands of the shop and of the clock on orders, one function each. Each takes the order as it was read, lets the
machine decide, and returns a change set; nothing here waits, sends, or writes. Commands of customers, support and
couriers are in operations.py, those that place orders in placing.py."""

from datetime import datetime, timedelta
from typing import Protocol

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
from kalathi.marketplace.orders.model import FoundOrder, OrderFacts
from kalathi.marketplace.orders.recording import (
    Recorded,
    move_stock,
    plan_voucher,
    record_ended,
    record_moved,
    record_placed,
)
from kalathi.marketplace.orders.terms import Terms
from kalathi.marketplace.orders.uploads import Upload, UploadKind


class FreshKeys(Protocol):
    """Where new ids and codes come from; a fake in tests."""

    def opaque_id(self) -> str:
        """A new public id."""
        ...

    def order_code(self, now: datetime) -> str:
        """A new order code of this business day."""
        ...


def accept(found: FoundOrder, request: AcceptRequest, terms: Terms, now: datetime) -> Recorded:
    """The shop takes the order, and its voucher becomes due. Raises ORDER_STATUS, INVALID_PARAMETER."""
    return _record_accepted(found, machine.accept(found.order, request, terms.offer(found.shop), now), terms, now)


def accept_express(found: FoundOrder, terms: Terms, now: datetime) -> Recorded:
    """The marketplace takes an express order for the shop. Raises ORDER_STATUS."""
    return _record_accepted(found, machine.accept_express(found.order, terms.offer(found.shop), now), terms, now)


def reject(
    found: FoundOrder,
    request: RejectRequest,
    keys: FreshKeys,
    terms: Terms,
    now: datetime,
    *,
    from_warehouse: OrderFacts | None = None,
) -> Recorded:
    """Reject the order; the available pieces come back as a new order in the same change set, with the facts
    `from_warehouse` if the warehouse sends it. Raises ORDER_STATUS, INVALID_PARAMETER."""
    line_ids = [keys.opaque_id() for _ in (found.order.lines() if request.line_items else ())]
    code = keys.order_code(now)
    rejection = machine.reject(
        found.order,
        request,
        terms.settings,
        now,
        successor_code=code,
        line_ids=line_ids,
        from_warehouse=from_warehouse,
    )
    return record_rejection(found, rejection, terms, now)


def record_rejection(found: FoundOrder, rejection: machine.Rejection, terms: Terms, now: datetime) -> Recorded:
    """The rows of a rejection: the order that ended, its stock, and the new order for the rest."""
    recorded = record_moved(found, rejection.rejected, terms, now)
    move_stock(recorded.changes, found.order, rejection.stock)
    if rejection.successor is not None:
        recorded.changes.extend([record_placed(rejection.successor, found.shop, terms, now).changes])
    return recorded


def expire(found: FoundOrder, terms: Terms, now: datetime) -> Recorded:
    """Expire an order without an answer. Raises ORDER_STATUS."""
    return record_ended(found, machine.expire(found.order, now), terms, now)


def issue_voucher(
    found: FoundOrder, pdf: bytes, link: str, tracking_codes: tuple[str, ...], terms: Terms, now: datetime
) -> Recorded:
    """The rendered voucher joins the order. Raises ORDER_STATUS."""
    url = terms.voucher_url(found.order.shop_id, link)
    recorded = record_moved(found, pickup.issue_voucher(found.order, url, tracking_codes), terms, now)
    recorded.changes.add(insert_voucher(found.order.shop_id, link, found.order.code, pdf))
    return recorded


def issue_delivery_note(found: FoundOrder, pdf: bytes, link: str, number: str, terms: Terms, now: datetime) -> Recorded:
    """The note of an order that has left the warehouse joins it. Raises ORDER_STATUS."""
    note = Upload("application/pdf", pdf)
    url = terms.upload_url(found.order.shop_id, link, note.mime_type)
    recorded = record_moved(found, pickup.issue_delivery_note(found.order, number, url), terms, now)
    recorded.changes.extend([store.replace_upload(found.order, UploadKind.DELIVERY_NOTE, link, note)])
    return recorded


def request_voucher(found: FoundOrder, terms: Terms, now: datetime) -> Recorded:
    """A preorder is sent early; its voucher becomes due. Raises ORDER_NOT_ELIGIBLE."""
    recorded = record_moved(found, pickup.request_voucher(found.order, terms.schedule, now), terms, now)
    return plan_voucher(recorded, found, _soon(terms, now), now)


def reschedule(found: FoundOrder, request: RescheduleRequest, terms: Terms, now: datetime) -> Recorded:
    """The shop moves the pickup to another day. Raises ORDER_STATUS, RESCHEDULE_DATE."""
    return record_moved(found, pickup.reschedule(found.order, request, terms.schedule, now), terms, now)


def relocate(found: FoundOrder, request: RelocateRequest, terms: Terms, now: datetime) -> Recorded:
    """The courier comes to another location; a voucher that names the old one is made again.

    Raises ORDER_STATUS, PICKUP_LOCATION.
    """
    return record_relabelled(found, pickup.relocate(found.order, request, found.shop.locations), terms, now)


def record_relabelled(found: FoundOrder, step: machine.Step, terms: Terms, now: datetime) -> Recorded:
    """Record a move, and plan a new voucher if the order already had one."""
    recorded = record_moved(found, step, terms, now)
    return plan_voucher(recorded, found, _soon(terms, now), now) if step.order.voucher_is_outdated else recorded


def set_as_ready(found: FoundOrder, terms: Terms, now: datetime) -> Recorded:
    """The parcel is packed. Raises ORDER_NOT_ELIGIBLE."""
    return record_moved(found, pickup.set_as_ready(found.order, terms.schedule, now), terms, now)


def set_as_not_ready(found: FoundOrder, terms: Terms, now: datetime) -> Recorded:
    """The mark is undone. Raises ORDER_NOT_ELIGIBLE."""
    return record_moved(found, pickup.set_as_not_ready(found.order, now), terms, now)


def note_voucher_download(found: FoundOrder, link: str, terms: Terms, now: datetime) -> Recorded | None:
    """The voucher of a shop that is not enrolled in set-as-ready was downloaded; None when that changes nothing, as
    with an older voucher of an order that has moved."""
    if found.order.courier_voucher != terms.voucher_url(found.order.shop_id, link):
        return None
    step = pickup.mark_ready_by_download(found.order)
    return None if step is None else record_moved(found, step, terms, now)


def track(found: FoundOrder, request: TrackingRequest, terms: Terms, now: datetime) -> Recorded:
    """Record the tracking details of an order that the shop sends itself. Raises ORDER_NOT_ELIGIBLE, ORDER_STATUS,
    INVALID_PARAMETER."""
    return record_moved(found, pickup.track(found.order, request), terms, now)


def attach_invoice(found: FoundOrder, upload: Upload, link: str, terms: Terms, now: datetime) -> Recorded:
    """The fiscal document of an order that was accepted; a later one takes its place. Raises INVOICE_REFUSED."""
    url = terms.upload_url(found.order.shop_id, link, upload.mime_type)
    recorded = record_moved(found, machine.attach_invoice(found.order, url), terms, now)
    recorded.changes.extend([store.replace_upload(found.order, UploadKind.INVOICE, link, upload)])
    return recorded


def attach_credit_invoice(found: FoundOrder, upload: Upload, link: str) -> Recorded:
    """Attach the credit invoice, which the order itself does not show. Raises CREDIT_INVOICE_REFUSED."""
    if not found.order.was_accepted:
        raise refuse(refusals.CreditInvoiceTooEarly())
    return Recorded(store.replace_upload(found.order, UploadKind.CREDIT_INVOICE, link, upload), found.document)


def _record_accepted(found: FoundOrder, step: machine.Step, terms: Terms, now: datetime) -> Recorded:
    recorded = record_moved(found, step, terms, now)
    if not step.order.needs_voucher:
        return recorded
    # A preorder's voucher waits for its day, unless the shop asks for it.
    return plan_voucher(recorded, found, machine.pickups_from(step.order, _soon(terms, now)), now)


def _soon(terms: Terms, now: datetime) -> datetime:
    return now + timedelta(seconds=terms.settings.voucher_delay_seconds)
