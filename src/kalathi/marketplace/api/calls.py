"""One request as its handler sees it, and how a handler writes."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from kalathi.contract.codec import encode
from kalathi.marketplace.kernel.changes import ChangeSet
from kalathi.marketplace.kernel.database import View
from kalathi.marketplace.kernel.idempotency import KeyedRequest, answer_of, remember
from kalathi.marketplace.shops.model import Shop
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.reply import Reply


class Call(Struct, frozen=True, kw_only=True):
    """The parameters of the path and the query, and the decoded body."""

    path: dict[str, str]
    query: dict[str, str]
    body: Any
    # Set when the request names an Idempotency-Key.
    keyed: KeyedRequest | None = None


class ShopCall(Call, frozen=True, kw_only=True):
    """The same of a shop, known by its token."""

    shop: Shop


ShopHandler = Callable[[Context, ShopCall], Awaitable[Reply]]


async def write(context: Context, call: Call, command: Callable[[View], tuple[ChangeSet, Reply]]) -> Reply:
    """Run a command; with an Idempotency-Key its answer is written with it, and a repeat gets it again."""
    request = call.keyed
    if request is None:
        return await context.database.run(command)

    def remembered(view: View) -> tuple[ChangeSet, Reply]:
        first = answer_of(view, request)
        if first is not None:
            return ChangeSet(), Reply(first.status, first.body)
        changes, reply = command(view)
        hours = context.terms.settings.idempotency_hours
        changes.add(*remember(request, reply.status, reply.body, context.clock.now(), hours))
        return changes, reply

    with context.idempotency.alone(request):
        return await context.database.run(remembered)


def reply(status: int, payload: object) -> Reply:
    """An answer of this struct."""
    return Reply(status, encode(payload))
