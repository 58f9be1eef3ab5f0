"""A request as its handler receives it, and the function with which handlers run commands."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from kalathi.contract.codec import encode
from kalathi.marketplace.kernel.actors import API, OPERATOR, Actor
from kalathi.marketplace.kernel.idempotency import KeyedRequest
from kalathi.marketplace.orders.running import Command
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
    """A call of a shop, which its token identifies."""

    shop: Shop
    actor: Actor = API


ShopHandler = Callable[[Context, ShopCall], Awaitable[Reply]]


async def write(context: Context, call: Call, command: Command[Reply], *, codes: int = 0) -> Reply:
    """Run a command. With an Idempotency-Key, the answer is stored in the same change set, and a repeated request gets
    the stored answer."""
    actor = call.actor if isinstance(call, ShopCall) else OPERATOR
    return await context.commands.acting_as(actor).run_once(call.keyed, command, Reply, codes=codes)


def reply(status: int, payload: object) -> Reply:
    """Return an answer with this struct as its JSON body."""
    return Reply(status, encode(payload))
