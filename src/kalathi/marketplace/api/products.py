"""The Products API: stock and prices of products that exist already (docs/contract.md#section-10)."""

from kalathi.contract.products import AcceptedBatch, ValidatedBatch
from kalathi.marketplace.api.calls import ShopCall, reply
from kalathi.marketplace.products.requests import read_batch
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.reply import Reply

_VALID = "All validations passed successfully."


async def send_batch(context: Context, call: ShopCall) -> Reply:
    """Set quantity, price and availability of up to 500 products. The answer comes before the products are changed;
    the status call has their results."""
    products = read_batch(call.body)
    return reply(200, AcceptedBatch(id=await context.batches.accept(call.shop, products)))


async def validate_batch(context: Context, call: ShopCall) -> Reply:
    """Check a batch and change nothing. The errors are those of the batch itself."""
    read_batch(call.body)
    context.batches.check_state(call.shop)
    return reply(200, ValidatedBatch(message=_VALID))


async def show_batch(context: Context, call: ShopCall) -> Reply:
    """Show the results of a batch. They are kept for 30 days."""
    found = await context.batches.find(call.shop.id, call.path["id"])
    return reply(200, found.on_the_wire())
