"""The operator's calls on personal data: customers, and whole shops."""

from typing import Annotated, cast

from msgspec import Meta, Struct
from starlette.responses import StreamingResponse

from kalathi.marketplace.api.calls import Call, reply
from kalathi.marketplace.kernel.actors import OPERATOR
from kalathi.marketplace.kernel.errors import DomainError
from kalathi.marketplace.privacy.anonymising import CustomerData, anonymise, find_customer
from kalathi.marketplace.privacy.shop_data import erase_shop, export_shop
from kalathi.marketplace.shops.commands import find_shop
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.reply import Reply


class CustomerList(Struct, frozen=True, kw_only=True):
    """`GET /marketplace/customers`"""

    orders: list[CustomerData]


class Anonymise(Struct, frozen=True, kw_only=True):
    """`POST /marketplace/customers/anonymise`"""

    codes: Annotated[
        tuple[Annotated[str, Meta(max_length=40)], ...],
        Meta(min_length=1, max_length=200, description="The codes of the orders."),
    ]


class NotAnonymised(Struct, frozen=True, kw_only=True):
    """An order that keeps its customer, and the reasons."""

    code: str
    messages: list[str]


class Anonymised(Struct, frozen=True, kw_only=True):
    """The orders without their customer, and those that keep it."""

    anonymised: list[str]
    refused: list[NotAnonymised]


class Erased(Struct, frozen=True, kw_only=True):
    """The id of the erased shop."""

    erased: str


async def find_customers(context: Context, call: Call) -> Reply:
    """Find all data of a customer by name, or by any other words of their orders, of one shop or of all."""
    text, shop_id = call.query.get("q", ""), call.query.get("shop_id", "")
    found = await context.database.read_list(lambda view: find_customer(view, text, shop_id))
    return reply(200, CustomerList(orders=found))


async def anonymise_orders(context: Context, call: Call) -> Reply:
    """Remove the customer's data from these orders, their returns, webhooks, files, notes and logged calls. Each order
    is changed on its own; orders under way keep their customer."""
    wanted: Anonymise = call.body
    done: list[str] = []
    refused: list[NotAnonymised] = []
    for code in dict.fromkeys(wanted.codes):
        try:
            await anonymise(context.database, context.request_log, code, OPERATOR, context.clock.now())
            done.append(code)
        except DomainError as error:
            refused.append(NotAnonymised(code=code, messages=list(error.messages)))
    return reply(200, Anonymised(anonymised=done, refused=refused))


async def export(context: Context, call: Call) -> Reply:
    """Export all data of a shop as lines of JSON, without its secrets."""
    shop_id = call.path["shop_id"]
    await context.database.read(lambda view: find_shop(view, shop_id))
    # Like a Reply, a streaming response is an ASGI application, and the edge needs no more.
    lines = export_shop(context.database, shop_id)
    return cast(Reply, StreamingResponse(lines, 200, media_type="application/x-ndjson"))


async def erase(context: Context, call: Call) -> Reply:
    """Delete a closed shop with all of its orders, returns, webhooks, people and files. It cannot be undone: export the
    data first."""
    shop_id = call.path["shop_id"]
    await erase_shop(context.database, context.request_log, shop_id)
    return reply(200, Erased(erased=shop_id))
