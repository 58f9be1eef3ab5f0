"""Returns: a shop's calls (docs/contract.md#section-6 and #section-7), and the actions of customers and couriers."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from kalathi.contract.codec import encode
from kalathi.contract.orders import ListMeta
from kalathi.contract.returns import Return as ReturnOnTheWire
from kalathi.contract.returns import ReturnBody, ReturnList
from kalathi.contract.words import ReturnState
from kalathi.marketplace.api.calls import Call, ShopCall, reply, write
from kalathi.marketplace.kernel.errors import invalid_parameter
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Value
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.orders.queries import find_order
from kalathi.marketplace.returns import commands, queries, store, wire
from kalathi.marketplace.returns.model import FoundReturn
from kalathi.marketplace.returns.operations import Operation
from kalathi.marketplace.sandbox.demo_return import demo_return
from kalathi.marketplace.sandbox.return_triggers import ReturnTriggerKind, trigger_return_event
from kalathi.marketplace.shops.commands import find_shop
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.paging import page_of, pagination
from kalathi.marketplace.web.reply import SUCCESS, Reply
from kalathi.marketplace.web.waiting import count_of, states_of, wait_of


class ShortReturn(Struct, frozen=True, kw_only=True):
    """A return in brief."""

    code: str
    shop_id: str
    order_code: str
    state: ReturnState


class ShortReturnList(Struct, frozen=True, kw_only=True):
    """Returns of all shops, newest first."""

    returns: list[ShortReturn]
    meta: ListMeta


async def list_returns(context: Context, call: ShopCall) -> Reply:
    """List the shop's returns, newest first."""
    page = page_of(call.query)
    filters: dict[str, Value] = {"shop_id": call.shop.id, **_filters(call.query)}
    found, count = await context.database.read_list(
        lambda view: store.page_of_returns(view, filters, page.per, page.offset)
    )
    shown = [wire.render_return(entry.returned) for entry in found]
    return reply(200, ReturnList(returns=shown, meta=pagination(page, count)))


async def show_return(context: Context, call: ShopCall) -> Reply:
    """Show the whole return, with its `review_options` while it waits for the shop's review."""
    found = await context.database.read(lambda view: _of_shop(view, call))
    return _show_return(200, wire.render_return(found.returned))


async def review_return(context: Context, call: ShopCall) -> Reply:
    """Decide on a return request with one of its `review_options`. The decision is final."""

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        return commands.review(_of_shop(facts.view, call), call.body, facts).changes, SUCCESS

    return await write(context, call, command)


async def review_as_shop(context: Context, call: Call) -> Reply:
    """As the shop: decide on a return request with one of its `review_options`."""

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        recorded = commands.review(queries.find_return(facts.view, call.path["code"]), call.body, facts)
        return recorded.changes, _show_return(200, wire.render_return(recorded.returned))

    return await write(context, call, command)


async def request_return(context: Context, call: Call) -> Reply:
    """Request a return of delivered pieces, for a customer. Its reasons determine whether the shop must review it."""

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        recorded = commands.request(find_order(facts.view, call.path["code"]), call.body, facts)
        return recorded.changes, _show_return(201, wire.render_return(recorded.returned))

    return await write(context, call, command, codes=1)


async def list_all_returns(context: Context, call: Call) -> Reply:
    """List the returns of all shops, newest first. With `wait`, the answer comes when `count` returns match, or after
    these seconds."""
    page, wanted = page_of(call.query), count_of(call.query)
    filters = _filters(call.query)
    if "shop_id" in call.query:
        filters["shop_id"] = call.query["shop_id"]
    found, count = await context.waits.wait_until(
        lambda: context.database.read_list(lambda view: store.page_of_returns(view, filters, page.per, page.offset)),
        lambda read: read[1] >= wanted,
        wait_of(call.query),
        ("timeline",),
    )
    shown = [
        ShortReturn(
            code=entry.returned.return_code,
            shop_id=entry.returned.shop_id,
            order_code=entry.returned.order_code,
            state=entry.returned.state,
        )
        for entry in found
    ]
    return reply(200, ShortReturnList(returns=shown, meta=pagination(page, count)))


async def show_any_return(context: Context, call: Call) -> Reply:
    """Show a return with the deadline and the decision of its review, its timeline and its deliveries. With `state` and
    `wait`, the answer comes when the return is in one of these states, or after these seconds."""
    states = states_of(call.query, ReturnState)
    detail = await context.waits.wait_until(
        lambda: context.database.read(lambda view: queries.return_detail(view, call.path["code"])),
        lambda read: not states or read.returned.state in states,
        wait_of(call.query),
        ("timeline",),
    )
    return reply(200, detail)


def return_operation(operation: Operation) -> Callable[[Context, Call], Awaitable[Reply]]:
    """Return the handler of an operation on a return. It answers with the return."""

    async def handle(context: Context, call: Call) -> Reply:
        def command(facts: Facts) -> tuple[ChangeSet, Reply]:
            recorded = operation.run(queries.find_return(facts.view, call.path["code"]), call.body, facts)
            return recorded.changes, _show_return(200, wire.render_return(recorded.returned))

        return await write(context, call, command)

    handle.__doc__ = operation.sentence
    return handle


async def resend_return_webhook(context: Context, call: Call) -> Reply:
    """Send the return's latest event again. If no created event has reached the shop's current URL, a new one with the
    current state is sent instead."""

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        recorded = commands.resend(queries.find_return(facts.view, call.path["code"]), facts)
        return recorded.changes, _show_return(200, wire.render_return(recorded.returned))

    return await write(context, call, command)


async def trigger_return_webhook(context: Context, call: Call) -> Reply:
    """Send a webhook of the demo return to the shop's return webhook URL, after a few seconds."""
    if call.path["kind"] not in set(ReturnTriggerKind):
        raise invalid_parameter(f"kind: valid values: {', '.join(ReturnTriggerKind)}.")
    kind = ReturnTriggerKind(call.path["kind"])

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        return trigger_return_event(find_shop(facts.view, call.path["shop_id"]), kind, facts), SUCCESS

    return await write(context, call, command)


def _of_shop(view: View, call: ShopCall) -> FoundReturn:
    demo = demo_return(call.path["return_code"], call.shop)
    return demo or queries.find_return(view, call.path["return_code"], call.shop.id)


def _filters(query: dict[str, str]) -> dict[str, Value]:
    filters: dict[str, Value] = {}
    state = query.get("state")
    if state is not None:
        if state not in set(ReturnState):
            raise invalid_parameter(f"state: {state[:40]} is not valid; valid values: {', '.join(ReturnState)}.")
        filters["state"] = state
    if "order_code" in query:
        filters["order_code"] = query["order_code"]
    return filters


def _show_return(status: int, returned: ReturnOnTheWire) -> Reply:
    return Reply(status, encode(ReturnBody(returned=returned)))
