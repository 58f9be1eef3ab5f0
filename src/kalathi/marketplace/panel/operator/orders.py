"""The page of an order, with the operations of customers, support and couriers: each form is one row of their table."""

from collections.abc import Mapping
from typing import Any, Final

from kalathi.contract.words import REPLACEMENT_CUSTOMS, Courier, OrderEventType, OrderState, ReturnReason
from kalathi.marketplace.couriers import store as couriers
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import machine, queries
from kalathi.marketplace.orders import store as orders
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.machine import TRANSITIONS, Action
from kalathi.marketplace.orders.model import FoundOrder, Order
from kalathi.marketplace.orders.operations import OPERATIONS
from kalathi.marketplace.orders.refusals import OrderNotFound
from kalathi.marketplace.orders.replacing import still_replaceable
from kalathi.marketplace.panel.forms import read_as
from kalathi.marketplace.panel.live import SUBJECT_TABLES
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoOrdersHook, NoSuchPage, NothingSentBack, NoVoucher
from kalathi.marketplace.panel.subject_pages import order_page
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.returns import commands as returns
from kalathi.marketplace.returns.model import NewReturn
from kalathi.marketplace.web.reply import PDF_HEADERS, Reply
from kalathi.marketplace.web.traffic import TrafficScope, read_traffic
from kalathi.marketplace.webhooks.listeners import url_for
from kalathi.marketplace.webhooks.resending import plan_latest_resend

# Operations that cannot be undone.
_FINAL: Final = frozenset({"cancel", "reject"})
# The machine's table decides which operations a page offers. The operation itself can still refuse.
_ACTIONS: Final[Mapping[str, Action]] = {
    "cancel": Action.CANCEL,
    "extend": Action.EXTEND,
    "reject": Action.REJECT,
    "reschedule": Action.RESCHEDULE,
    "hand_over": Action.HAND_OVER,
    "collect": Action.COLLECT,
    "deliver": Action.DELIVER,
    "fail_delivery": Action.FAIL_DELIVERY,
    "bring_back": Action.BRING_BACK,
    "change_parcels": Action.CHANGE_PARCELS,
    "change_courier": Action.CHANGE_COURIER,
    "miss_pickup": Action.MISS_PICKUP,
    "replace": Action.REPLACE,
    "return": Action.ASK_RETURN,
}


async def show_order(visit: Visit) -> Answer:
    """Show an order, or a demo order, with its cart, timeline, webhooks and possible operations."""
    context, code = visit.context, visit.parts["code"]
    now = context.clock.now()

    def query(view: View) -> dict[str, Any]:
        found = _find(visit, view)
        page = order_page(view, found, context.terms, now)
        is_demo = context.demo.find(code) is not None
        return {
            "page": page,
            "order": page.order,
            # The shop, the voucher and the related orders of a demo order are not stored.
            "is_demo": is_demo,
            "others": [] if is_demo else queries.list_orders_of_cart(view, page.cart_id, code),
            "possible": frozenset() if is_demo else _possible(found.order),
            "windows": context.terms.schedule.offer_windows(machine.pickups_from(found.order, now)),
        }

    content = await context.database.read(query)
    page = content["page"]
    scope = TrafficScope(page.shop.id, code)
    more = {
        # A demo order has neither calls nor webhooks of its own.
        "traffic": [] if content["is_demo"] else await read_traffic(context.database, context.request_log, scope),
        "problems": visit.problems,
        "given": visit.form.given,
        # The refused form, which the page unfolds.
        "sent": visit.path.rpartition("/")[2] if visit.problems else "",
        "operations": OPERATIONS,
        "reasons": tuple(reason.value for reason in ReturnReason),
        "replacements": tuple(REPLACEMENT_CUSTOMS),
        "couriers": tuple(courier.value for courier in Courier),
        "left": visit.words.time_left(page.deadline, now) if page.deadline else "",
    }
    return Shown("operator/order.html", content | more)


async def follow_order(visit: Visit) -> Answer:
    """Stream the changes of the order."""
    context = visit.context

    async def mark() -> str:
        now = context.clock.now()
        return await context.database.read(lambda view: order_page(view, _find(visit, view), context.terms, now).mark)

    await mark()
    return visit.follow(SUBJECT_TABLES, mark)


async def show_voucher(visit: Visit) -> Answer:
    """Show the order's voucher. Unlike the shop's download, this does not mark it as ready. Raises NOT_FOUND."""

    def query(view: View) -> bytes:
        order = queries.find_order(view, visit.parts["code"]).order
        link = (order.courier_voucher or "").rpartition("/")[2].removesuffix(".pdf")
        voucher = couriers.voucher(view, order.shop_id, link)
        if voucher is None:
            raise refuse(NoVoucher())
        return voucher.pdf

    return Reply(200, await visit.context.database.read(query), PDF_HEADERS)


async def act(visit: Visit) -> Answer:
    """Run a form's operation. Raises the operation's errors."""
    operation = OPERATIONS.get(visit.parts["operation"])
    if operation is None or operation.body is None:
        raise refuse(NoSuchPage())
    if visit.parts["operation"] in _FINAL:
        visit.form.check_confirmed()
    body = read_as(with_quantities(visit.form.nested()), operation.body)

    def command(facts: Facts) -> tuple[ChangeSet, None]:
        return operation.run(queries.find_order(facts.view, visit.parts["code"]), body, facts).changes, None

    await visit.commands.run(command, codes=1)
    return See(_path(visit), done="order")


async def request_return(visit: Visit) -> Answer:
    """Request a return for the customer. Raises ORDER_STATUS, INVALID_PARAMETER."""
    content = with_quantities(visit.form.nested())
    if "line_items" not in content:
        raise refuse(NothingSentBack())
    new = read_as(content, NewReturn)

    def command(facts: Facts) -> tuple[ChangeSet, str]:
        recorded = returns.request(queries.find_order(facts.view, visit.parts["code"]), new, facts)
        return recorded.changes, recorded.returned.return_code

    code = await visit.commands.run(command, codes=1)
    return See(f"/operator/returns/{code}", done="order")


async def resend_webhook(visit: Visit) -> Answer:
    """Send the latest webhook of the order again."""

    def command(view: View) -> tuple[ChangeSet, None]:
        found = queries.find_order(view, visit.parts["code"])
        if url_for(view, found.shop, OrderEventType.NEW_ORDER) is None:
            raise refuse(NoOrdersHook())
        return plan_latest_resend(view, found.shop.id, found.order.code, visit.context.clock.now_millis())[0], None

    await visit.context.database.run(command)
    return See(_path(visit), done="webhook")


def with_quantities(content: dict[str, Any]) -> dict[str, Any]:
    """Drop the form's lines without a quantity. If none remain, drop `line_items` too."""
    lines = content.get("line_items")
    if isinstance(lines, list):
        named = [line for line in lines if "quantity" in line]
        content = {name: value for name, value in content.items() if name != "line_items"}
        return content | {"line_items": named} if named else content
    return content


def _find(visit: Visit, view: View) -> FoundOrder:
    found = orders.by_code(view, visit.parts["code"]) or visit.context.demo.find(visit.parts["code"])
    if found is None:
        raise refuse(OrderNotFound())
    return found


def _possible(order: Order) -> frozenset[str]:
    words = {word for word, action in _ACTIONS.items() if (order.state, action) in TRANSITIONS}
    impossible = {"hand_over"} if order.store_pickup else {"collect"}
    if order.pickup_window is None:
        impossible |= {"reschedule", "miss_pickup"}
    if not order.needs_voucher:
        impossible |= {"change_parcels", "change_courier"}
    if order.state is OrderState.CANCELLED and not order.is_travelling_back:
        impossible.add("bring_back")
    if not still_replaceable(order):
        impossible.add("replace")
    return frozenset(words - impossible)


def _path(visit: Visit) -> str:
    return f"/operator/orders/{visit.parts['code']}"
