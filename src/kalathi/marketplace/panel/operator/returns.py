"""Returns of all shops, and the operations of customers, couriers and the inspection."""

from collections.abc import Mapping
from typing import Final

from kalathi.contract.words import Courier, ReturnState
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Value
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.panel.forms import read_as
from kalathi.marketplace.panel.lists import locate_page, read_page, state_of
from kalathi.marketplace.panel.live import SUBJECT_TABLES
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoSuchPage
from kalathi.marketplace.panel.subject_pages import return_page
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.returns import commands, queries, store
from kalathi.marketplace.returns.machine import TRANSITIONS, Action
from kalathi.marketplace.returns.operations import OPERATIONS
from kalathi.marketplace.web.traffic import TrafficScope, read_traffic

# Operations that cannot be undone.
_FINAL: Final = frozenset({"cancel", "inspect"})
_ACTIONS: Final[Mapping[str, Action]] = {
    "hand_over": Action.HAND_OVER,
    "reassign": Action.REASSIGN,
    "arrive": Action.ARRIVE,
    "inspect": Action.TURN_DOWN,
    "take_back": Action.TAKE_BACK,
    "cancel": Action.CANCEL,
}


async def list_returns(visit: Visit) -> Answer:
    """`?state=&page=`, the newest first."""
    page, state = read_page(visit.query), state_of(visit.query)
    filters: dict[str, Value] = {"state": state} if state else {}
    found, count = await visit.context.database.read_list(
        lambda view: store.page_of_returns(view, filters, page.per, page.offset)
    )
    content = {
        "returns": found,
        "position": locate_page(page, count),
        "state": state,
        "states": tuple(word.value for word in ReturnState),
    }
    return Shown("operator/returns.html", content)


async def show_return(visit: Visit) -> Answer:
    """Show a return with its timeline, its webhooks, and its possible operations."""
    now = visit.context.clock.now()
    page = await visit.context.database.read(
        lambda view: return_page(view, queries.find_return(view, visit.parts["code"]))
    )
    state = page.returned.state
    content = {
        "problems": visit.problems,
        "page": page,
        "returned": page.returned,
        "possible": {word for word, action in _ACTIONS.items() if (state, action) in TRANSITIONS},
        "given": visit.form.given,
        "operations": OPERATIONS,
        "couriers": tuple(courier.value for courier in Courier),
        "left": visit.words.time_left(page.review_until, now) if page.review_until else "",
    }
    scope = TrafficScope(page.returned.shop_id, visit.parts["code"])
    traffic = await read_traffic(visit.context.database, visit.context.request_log, scope)
    return Shown("operator/return.html", content | {"traffic": traffic})


async def follow_return(visit: Visit) -> Answer:
    """Stream the changes of the return."""
    database, code = visit.context.database, visit.parts["code"]

    async def mark() -> str:
        return await database.read(lambda view: return_page(view, queries.find_return(view, code)).mark)

    await mark()
    return visit.follow(SUBJECT_TABLES, mark)


async def act(visit: Visit) -> Answer:
    """Run a form's operation. Raises RETURN_STATUS, INVALID_PARAMETER."""
    operation = OPERATIONS.get(visit.parts["operation"])
    if operation is None:
        raise refuse(NoSuchPage())
    if visit.parts["operation"] in _FINAL:
        visit.form.check_confirmed()
    content = visit.form.nested()
    if "tracking_id" in content:
        content["tracking_ids"] = [content["tracking_id"]]
    body = read_as(content, operation.body)

    def command(facts: Facts) -> tuple[ChangeSet, None]:
        return operation.run(queries.find_return(facts.view, visit.parts["code"]), body, facts).changes, None

    await visit.commands.run(command)
    return See(_path(visit), done="order")


async def resend_webhook(visit: Visit) -> Answer:
    """Send the latest webhook of the return again. Raises RETURN_HOOK."""

    def command(facts: Facts) -> tuple[ChangeSet, None]:
        return commands.resend(queries.find_return(facts.view, visit.parts["code"]), facts).changes, None

    await visit.commands.run(command)
    return See(_path(visit), done="webhook")


def _path(visit: Visit) -> str:
    return f"/operator/returns/{visit.parts['code']}"
