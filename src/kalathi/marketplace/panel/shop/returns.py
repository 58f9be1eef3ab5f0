"""Pages of a shop's returns, and of its reviews (docs/contract.md#section-6 and #section-7)."""

from collections.abc import Sequence
from typing import Final

from msgspec import UNSET

from kalathi.contract.requests import ReviewRequest
from kalathi.contract.returns import ReviewOption
from kalathi.contract.words import ReturnState
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet, Value
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.panel.lists import locate_page, read_page, state_of
from kalathi.marketplace.panel.live import SUBJECT_TABLES
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import CommentNotSent, PartNotNamed
from kalathi.marketplace.panel.subject_pages import return_page
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.returns import commands, queries, store
from kalathi.marketplace.returns.review import options_of
from kalathi.marketplace.web.traffic import TrafficScope, read_traffic

STATES: Final = tuple(state.value for state in ReturnState)


async def list_returns(visit: Visit) -> Answer:
    """`?state=&page=`: the shop's returns, newest first."""
    page, state = read_page(visit.query), state_of(visit.query)
    filters: dict[str, Value] = {"shop_id": visit.shop.id}
    if state:
        filters["state"] = state
    found, count = await visit.context.database.read_list(
        lambda view: store.page_of_returns(view, filters, page.per, page.offset)
    )
    now = visit.context.clock.now()
    content = {
        "returns": [entry.returned for entry in found],
        "left": {
            entry.returned.return_code: visit.words.time_left(entry.returned.review_until, now)
            for entry in found
            if entry.returned.review_until is not None
        },
        "position": locate_page(page, count),
        "state": state,
        "states": STATES,
    }
    return Shown("shop/returns.html", content)


async def show_return(visit: Visit) -> Answer:
    """Show the whole return, with the review form while it waits for the shop's review."""
    shop_id, now = visit.shop.id, visit.context.clock.now()
    page = await visit.context.database.read(
        lambda view: return_page(view, queries.find_return(view, visit.parts["code"], shop_id))
    )
    scope = TrafficScope(shop_id, page.returned.return_code)
    content = {
        "problems": visit.problems,
        "traffic": await read_traffic(visit.context.database, visit.context.request_log, scope),
        "page": page,
        "returned": page.returned,
        "given": visit.form.given,
        "left": visit.words.time_left(page.review_until, now) if page.review_until else "",
    }
    return Shown("shop/return.html", content)


async def follow_return(visit: Visit) -> Answer:
    """Stream the changes of the return."""
    database, shop_id, code = visit.context.database, visit.shop.id, visit.parts["code"]

    async def mark() -> str:
        return await database.read(lambda view: return_page(view, queries.find_return(view, code, shop_id)).mark)

    await mark()  # Refuse another shop's return before the stream starts.
    return visit.follow(SUBJECT_TABLES, mark)


async def review(visit: Visit) -> Answer:
    """Save the shop's decision. Raises RETURN_STATUS, REVIEW_OPTION, REVIEW_COMMENT, REVIEW_COMMENT_LENGTH,
    INVALID_PARAMETER."""
    visit.form.check_confirmed()
    shop_id, answer = visit.shop.id, visit.form.read(ReviewRequest)

    def command(facts: Facts) -> tuple[ChangeSet, None]:
        found = queries.find_return(facts.view, visit.parts["code"], shop_id)
        changes = commands.review(found, answer, facts).changes
        _check_nothing_is_dropped(answer, options_of(found.returned))
        return changes, None

    await visit.commands.run(command)
    return See(_path(visit), done="review")


def _check_nothing_is_dropped(answer: ReviewRequest, options: Sequence[ReviewOption]) -> None:
    """Refuse a comment or a part that the decision does not use. The API drops it silently
    (docs/contract.md#section-7), but here the user would believe that the customer reads it. Raises INVALID_PARAMETER.
    """
    option = next(option for option in options if option.option == answer.option)
    if answer.comment and option.comment_required is UNSET:
        raise refuse(CommentNotSent())
    if answer.proposed_part_url and option.supports_proposed_part_url_required is not True:
        raise refuse(PartNotNamed())


async def resend_webhook(visit: Visit) -> Answer:
    """Send the latest webhook of the return again. Raises RETURN_HOOK."""
    shop_id = visit.shop.id

    def command(facts: Facts) -> tuple[ChangeSet, None]:
        found = queries.find_return(facts.view, visit.parts["code"], shop_id)
        return commands.resend(found, facts).changes, None

    await visit.commands.run(command)
    return See(_path(visit), done="webhook")


def _path(visit: Visit) -> str:
    return f"/shop/returns/{visit.parts['code']}"
