"""The page of a shop's order, and the shop's actions. Each form corresponds to one row of the table of actions."""

from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET

from kalathi.contract.orders import Order as OrderOnTheWire
from kalathi.contract.words import LIMITED_STOCK_REASON_ID, REJECTION_REASONS, TRACKING_COURIERS, OrderEventType
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import commands
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.model import FoundOrder, Order
from kalathi.marketplace.orders.operations import SHOP_ACTIONS
from kalathi.marketplace.orders.recording import Recorded
from kalathi.marketplace.orders.refusals import OrderNotFound
from kalathi.marketplace.orders.uploads import Upload
from kalathi.marketplace.panel import wording
from kalathi.marketplace.panel.forms import read_as
from kalathi.marketplace.panel.languages import Language, Words
from kalathi.marketplace.panel.live import SUBJECT_TABLES
from kalathi.marketplace.panel.notes_and_views import store as kept
from kalathi.marketplace.panel.notes_and_views.store import Note
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoNote, NoOrdersHook, NoSuchPage
from kalathi.marketplace.panel.subject_pages import OrderPage, order_page
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.web.traffic import TrafficScope, read_traffic
from kalathi.marketplace.web.uploads import CREDIT_INVOICE_FILE, INVOICE_FILE, FileField, check_upload
from kalathi.marketplace.webhooks.listeners import url_for
from kalathi.marketplace.webhooks.resending import plan_latest_resend

# Actions that cannot be undone.
_FINAL: Final = frozenset({"reject"})
# The number of rows for tracking details in the form.
_PARCELS: Final = 3
_LONGEST_NOTE: Final = 2000


async def show_order(visit: Visit) -> Answer:
    """Show the whole order with its possible actions."""
    context = visit.context
    now = context.clock.now()

    def query(view: View) -> tuple[OrderPage, list[Note]]:
        found = find(visit, view)
        return order_page(view, found, context.terms, now), kept.notes(view, visit.shop.id, found.order.code)

    page, notes = await context.database.read(query)
    scope = TrafficScope(visit.shop.id, page.order.code)
    content = {
        "notes": notes,
        "traffic": await read_traffic(context.database, context.request_log, scope),
        "mark": _mark(page, notes),
        "problems": visit.problems,
        "page": page,
        "order": page.order,
        "given": visit.form.given,
        "reasons": _reasons(page.order, visit.words),
        # The labels on the wire are Greek, but the page is in the reader's language.
        "windows": {window.id: window.on_the_wire() for window in context.terms.schedule.offer_windows(now)},
        "couriers": tuple(TRACKING_COURIERS),
        "parcels": _parcels(page.order),
        "left": visit.words.time_left(page.deadline, now) if page.deadline else "",
    }
    return Shown("shop/order.html", content)


async def follow_order(visit: Visit) -> Answer:
    """Stream the changes of the order."""
    context = visit.context

    async def mark() -> str:
        now = context.clock.now()

        def query(view: View) -> str:
            found = find(visit, view)
            page = order_page(view, found, context.terms, now)
            return _mark(page, kept.notes(view, visit.shop.id, found.order.code))

        return await context.database.read(query)

    await mark()  # Refuse another shop's order before the stream starts.
    return visit.follow((*SUBJECT_TABLES, "order_notes"), mark)


def _mark(page: OrderPage, notes: list[Note]) -> str:
    return f"{page.mark}.{len(notes)}"


async def act(visit: Visit) -> Answer:
    """Run a form's action. Raises the action's errors."""
    word = visit.parts["action"]
    operation = SHOP_ACTIONS.get(word)
    if operation is None:
        raise refuse(NoSuchPage())
    if word in _FINAL:
        visit.form.check_confirmed()
    body = None if operation.body is None else read_as(_complete_rows(word, visit.form.nested()), operation.body)

    def command(facts: Facts) -> tuple[ChangeSet, str]:
        found = find(visit, facts.view)
        return operation.run(found, body, facts).changes, _describe_done(word, found.order)

    done = await visit.commands.run(command, codes=1)
    return See(_path(visit), done=done)


async def add_note(visit: Visit) -> Answer:
    """`new_note=`: add a note, which only the shop sees. Raises ORDER_NOT_FOUND, INVALID_PARAMETER."""
    text = visit.form.text("new_note")
    if not text or len(text) > _LONGEST_NOTE:
        raise refuse(NoNote(_LONGEST_NOTE))

    def command(view: View) -> tuple[ChangeSet, None]:
        found = find(visit, view)
        new = kept.insert_note(view, visit.shop.id, found.order.code, text, visit.context.clock.now())
        return ChangeSet(new), None

    await visit.context.database.run(command)
    return See(_path(visit), done="note")


async def upload_invoice(visit: Visit) -> Answer:
    """Store the uploaded invoice."""
    return await _upload(visit, INVOICE_FILE, commands.attach_invoice, done="invoice")


async def upload_credit_invoice(visit: Visit) -> Answer:
    """Store the uploaded credit invoice."""
    return await _upload(visit, CREDIT_INVOICE_FILE, commands.attach_credit_invoice, done="credit_invoice")


async def resend_webhook(visit: Visit) -> Answer:
    """Send the latest webhook of the order again."""

    def command(view: View) -> tuple[ChangeSet, None]:
        found = find(visit, view)
        if url_for(view, found.shop, OrderEventType.NEW_ORDER) is None:
            raise refuse(NoOrdersHook())
        return plan_latest_resend(view, found.shop.id, found.order.code, visit.context.clock.now_millis())[0], None

    await visit.context.database.run(command)
    return See(_path(visit), done="webhook")


def find(visit: Visit, view: View) -> FoundOrder:
    """Return the shop's order in the path. Raises ORDER_NOT_FOUND, also for another shop's order."""
    found = orders.by_code(view, visit.parts["code"])
    if found is None or found.shop.id != visit.shop.id:
        raise refuse(OrderNotFound())
    return found


async def _upload(
    visit: Visit, field: FileField, attach: Callable[[FoundOrder, Upload, Facts], Recorded], done: str
) -> Answer:
    upload = check_upload(visit.form.file or b"", field)

    def command(facts: Facts) -> tuple[ChangeSet, None]:
        return attach(find(visit, facts.view), upload, facts).changes, None

    await visit.commands.run(command)
    return See(_path(visit), done=done)


def _describe_done(word: str, order: Order) -> str:
    """Return the key of wording.DONE for a completed action. A preorder's voucher is not issued immediately, and an
    order without our courier has none."""
    has_voucher = order.needs_voucher and order.scheduled_shipment is None
    return "accept_without_voucher" if word == "accept" and not has_voucher else word


def _complete_rows(word: str, content: dict[str, Any]) -> dict[str, Any]:
    """Drop the lines of a rejection that are in stock. A number of available pieces without a reason means limited
    stock."""
    if word == "reject" and "line_items" in content:
        for line in content["line_items"]:
            if "available_quantity" in line:
                line.setdefault("reason_id", LIMITED_STOCK_REASON_ID)
        content["line_items"] = [line for line in content["line_items"] if "reason_id" in line]
    return content


def _reasons(order: OrderOnTheWire, words: Words) -> list[tuple[int, str]]:
    """Return the reasons of the order's reject_options in the reader's language. Their own labels are Greek."""
    if order.reject_options is UNSET:
        return []
    names = {reason.id: wording.KINDS["rejection"][reason.word] for reason in REJECTION_REASONS}
    return [
        (option.id, option.label if words.language is Language.GREEK else names.get(option.id, option.label))
        for option in order.reject_options.line_item_rejection_reasons
    ]


def _parcels(order: OrderOnTheWire) -> list[tuple[str, str]]:
    """Return the courier and the tracking code of each row of the form: the stored ones, then blank rows. The
    marketplace stores one courier for all parcels of an order."""
    words = {name: word for word, name in TRACKING_COURIERS.items()}
    kept = [(words.get(str(order.courier or ""), ""), code) for code in order.courier_tracking_codes or ()]
    return kept + [("", "")] * (_PARCELS - len(kept))


def _path(visit: Visit) -> str:
    return f"/shop/orders/{visit.parts['code']}"
