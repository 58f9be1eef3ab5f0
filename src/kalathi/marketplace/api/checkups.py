"""The operator's calls of a checkup and of recipes: their documents, and a sample webhook. Sandbox only."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from kalathi.contract.codec import encode
from kalathi.marketplace.api.calls import Call
from kalathi.marketplace.kernel.errors import DomainError, ErrorCode, invalid_parameter
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.kernel.targets import mask_url
from kalathi.marketplace.sandbox import store
from kalathi.marketplace.sandbox.checkup_report import Report
from kalathi.marketplace.sandbox.recipes import Progress
from kalathi.marketplace.shops.commands import find_shop
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.reply import Reply
from kalathi.marketplace.web.sample_webhooks import render_sample
from kalathi.marketplace.webhooks.answer import explanation_of

_LONGEST_ANSWER: Final = 2000


class TryWebhook(Struct, frozen=True, kw_only=True):
    """The URL of the shop to which a sample webhook is sent: that of returns, or that of orders."""

    returns: bool = False


class TriedWebhook(Struct, frozen=True, kw_only=True):
    """The answer to a sample webhook. `status` is null without an answer; `explanation` then says why."""

    url: str
    status: int | None
    error: str
    explanation: str
    answer: Annotated[str, Meta(max_length=_LONGEST_ANSWER)]
    duration_millis: int


async def try_webhook(context: Context, call: Call) -> Reply:
    """Send the sample webhook of a demo order or of the demo return to the shop's URL, and return the answer. It is
    not retried and not in the delivery log."""
    wanted: TryWebhook = call.body
    shop = await context.database.read_point(lambda view: find_shop(view, call.path["shop_id"]))
    url = shop.returns_webhook_url if wanted.returns else shop.webhook_url
    if url is None:
        raise invalid_parameter("The shop has no URL for these webhooks.")
    sample = await render_sample(context, shop, is_return=wanted.returns)
    answer = await context.sender.post(url, sample.body, sample.headers)
    return Reply(
        200,
        encode(
            TriedWebhook(
                url=mask_url(answer.url),
                status=answer.status,
                error=answer.error,
                explanation=explanation_of(answer.error),
                answer=answer.body.decode("utf-8", "replace")[:_LONGEST_ANSWER],
                duration_millis=answer.duration_millis,
            )
        ),
    )


async def show_checkup(context: Context, call: Call) -> Reply:
    """Show the report of the shop's last checkup, also while it runs."""
    return await _show(context, call, store.CHECKUP)


async def put_checkup(context: Context, call: Call) -> Reply:
    """Store the report of a checkup. `kalathi checkup` does so after each check, and the page follows it."""
    return await _put(context, call, store.CHECKUP)


async def show_recipe(context: Context, call: Call) -> Reply:
    """Show the progress of a recipe."""
    return await _show(context, call, store.RECIPE + call.path["name"])


async def put_recipe(context: Context, call: Call) -> Reply:
    """Store the progress of a recipe. `kalathi recipe` does so after each step, and continues from it."""
    return await _put(context, call, store.RECIPE + call.path["name"])


async def _show(context: Context, call: Call, name: str) -> Reply:
    def load(view: View) -> bytes:
        shop = find_shop(view, call.path["shop_id"])
        found = store.load_document(view, shop.id, name)
        if found is None:
            raise DomainError(ErrorCode.NOT_FOUND, f"Shop {shop.id} has no {name.replace(':', ' ')} yet.")
        return found

    return Reply(200, await context.database.read_point(load))


async def _put(context: Context, call: Call, name: str) -> Reply:
    document: Report | Progress = call.body
    body = encode(document)

    def command(view: View) -> tuple[ChangeSet, None]:
        shop = find_shop(view, call.path["shop_id"])
        return ChangeSet(*store.replace_document(shop.id, name, body)), None

    await context.database.run(command)
    return Reply(200, body)
