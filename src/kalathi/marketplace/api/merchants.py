"""The calls of the merchants' API (docs/contract.md#section-3): each takes an order and decides.

An action returns a change set; the front commits it and decides again if another call was faster.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from msgspec.structs import replace

from kalathi.contract.codec import encode
from kalathi.contract.orders import OrderList
from kalathi.contract.words import OrderState
from kalathi.marketplace.api.calls import ShopCall
from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.orders import commands, queries, wire
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.model import FoundOrder
from kalathi.marketplace.orders.operations import Operation
from kalathi.marketplace.orders.recording import Recorded
from kalathi.marketplace.orders.uploads import Upload
from kalathi.marketplace.sandbox.triggers import TriggerKind, trigger_event
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.paging import Page, cursor_of, cursor_to, page_of, pagination, timestamp_of
from kalathi.marketplace.web.reply import Reply


class OrderCall(NamedTuple):
    """One call on one order: the shop, the order as it was read, the body and the time. `part` is the part of the path
    after the action."""

    shop: Shop
    found: FoundOrder
    query: bytes
    part: str
    now: datetime
    body: Any = None
    is_demo: bool = False


# An action returns its change set.
Handler = Callable[[OrderCall, Facts], ChangeSet]
ShowHandler = Callable[[Context, OrderCall], Reply]
_ACTION_OPTIONS: Final = ("action_options", "1")


def show_order(context: Context, call: OrderCall) -> Reply:
    """Show the whole order, with its options while it is open. `action_options=1` adds the options for moving the
    pickup."""
    offer = context.terms.offer(call.found.shop)
    if call.query and _ACTION_OPTIONS in parse_qsl(call.query.decode("latin-1")):
        return Reply(200, wire.order_body_with_actions(call.found, offer, call.now))
    return Reply(200, wire.order_body(call.found.document, offer, call.now))


def order_action(operation: Operation) -> Handler:
    """Return the handler of a shop's operation on an order."""

    def handle(call: OrderCall, facts: Facts) -> ChangeSet:
        return _drop_if_demo(call, operation.run(call.found, call.body, _facts_for(call, facts)))

    handle.__doc__ = operation.sentence
    return handle


def upload_invoice(call: OrderCall, facts: Facts) -> ChangeSet:
    """Upload the invoice. It is a multipart form with `invoice_file`: pdf, png or jpg, at most 7 MB. A later upload
    replaces it."""
    body: Upload = call.body
    return _drop_if_demo(call, commands.attach_invoice(call.found, body, _facts_for(call, facts)))


def upload_credit_invoice(call: OrderCall, facts: Facts) -> ChangeSet:
    """Upload the credit invoice. It is a multipart form with `credit_invoice_file`. The order does not show it."""
    body: Upload = call.body
    return _drop_if_demo(call, commands.attach_credit_invoice(call.found, body, facts))


def trigger_webhook(call: OrderCall, facts: Facts) -> ChangeSet:
    """Send a webhook of a demo order to the shop's webhook URL, after a few seconds."""
    return trigger_event(call.shop, call.found, TriggerKind(call.part), facts)


async def list_orders(context: Context, call: ShopCall) -> Reply:
    """List the shop's orders, newest change first. An order that changes between two requests moves to the first page,
    so orders can be missed or repeated. To miss none, read with the cursor `start` and then with the `meta.next_cursor`
    of each answer, oldest change first. Keep the last cursor to read later changes."""
    shop, query = call.shop, call.query
    state = query.get("state")
    if state is not None and state not in set(OrderState):
        raise invalid_parameter(f"state: {state[:40]} is not valid; valid values: {', '.join(OrderState)}.")
    page = page_of(query)
    states = tuple(OrderState) if state is None else (OrderState(state),)
    if "cursor" in query:
        return await _walk_orders(context, call, states)
    since = timestamp_of(query, "updated_since")
    now = context.clock.now()
    found, count = await context.database.read_list(
        lambda view: queries.shop_orders(view, shop.id, states, since, page.per, page.offset)
    )
    shown = [wire.render_order(entry.document, context.terms.offer(entry.shop), now) for entry in found]
    return Reply(200, encode(OrderList(orders=shown, meta=pagination(page, count))))


async def _walk_orders(context: Context, call: ShopCall, states: tuple[OrderState, ...]) -> Reply:
    shop, query, now = call.shop, call.query, context.clock.now()
    if "page" in query or "updated_since" in query:
        raise invalid_parameter("cursor: leave out page and updated_since.")
    after, per = cursor_of(query["cursor"]), page_of(query).per
    found = await context.database.read_list(
        lambda view: queries.walk_shop_orders(view, shop.id, states, after, now, per)
    )
    at_millis, code = (found[-1][1], found[-1][0].order.code) if found else after
    meta = replace(pagination(Page(1, per), len(found)), next_cursor=cursor_to(at_millis, code))
    shown = [wire.render_order(entry.document, context.terms.offer(entry.shop), now) for entry, _ in found]
    return Reply(200, encode(OrderList(orders=shown, meta=meta)))


def _facts_for(call: OrderCall, facts: Facts) -> Facts:
    """Return the facts, with a demo order's fixed time as `now`."""
    return facts._replace(now=call.now) if call.is_demo else facts


def _drop_if_demo(call: OrderCall, recorded: Recorded) -> ChangeSet:
    """Return the rows to write. A demo order never changes, so it has none."""
    return ChangeSet() if call.is_demo else recorded.changes
