"""Pages of personal data: find a customer, remove their data, export and erase a shop."""

from typing import Final

import msgspec
from starlette.responses import StreamingResponse

from kalathi.contract.codec import encode
from kalathi.marketplace.kernel.errors import DomainError, Refusal
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.privacy.anonymising import CustomerData, anonymise, find_customer
from kalathi.marketplace.privacy.shop_data import erase_shop as erase_data
from kalathi.marketplace.privacy.shop_data import export_shop as export_data
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.shops.commands import find_shop
from kalathi.marketplace.web.reply import SECRET_FILE, Reply

_HEADERS: Final = (*SECRET_FILE, (b"content-security-policy", b"default-src 'none'"))
_MOST_CHOSEN: Final = 200


async def show_customers(visit: Visit) -> Answer:
    """`?q=&shop=`: find the orders of a customer."""
    text = " ".join(visit.query.get("q", "").split())
    found = await _find(visit, text) if text else []
    content = {
        "problems": visit.problems,
        "text": text,
        "found": found,
        "shop_names": {shop.id: shop.name for shop in await visit.context.database.read_list(shops.shops)},
    }
    return Shown("operator/customers.html", content)


async def export_customer(visit: Visit) -> Answer:
    """`?q=`: all data of the found orders as JSON. Raises INVALID_PARAMETER."""
    found = await _find(visit, visit.query.get("q", ""))
    name = (b"content-disposition", b'attachment; filename="customer.json"')
    return Reply(
        200,
        msgspec.json.format(encode({"orders": found}), indent=2),
        ((b"content-type", b"application/json"), *_HEADERS, name),
    )


async def remove_customers(visit: Visit) -> Answer:
    """`order=&order=`: remove the customer from the chosen orders. Raises INVALID_PARAMETER."""
    visit.form.check_confirmed()
    refused: list[Refusal | str] = []
    for code in visit.form.every("order")[:_MOST_CHOSEN]:
        try:
            now = visit.context.clock.now()
            await anonymise(visit.context.database, visit.context.request_log, code, visit.visitor.actor, now)
        except DomainError as error:
            refused += error.reasons
    if refused:
        return await show_customers(msgspec.structs.replace(visit, problems=tuple(refused)))
    return See("/operator/customers", done="anonymised")


async def export_shop(visit: Visit) -> Answer:
    """All data of a shop, as lines of JSON. Raises NOT_FOUND."""
    shop_id = visit.parts["shop_id"]
    shop = await visit.context.database.read(lambda view: find_shop(view, shop_id))
    headers = {name.decode(): value.decode() for name, value in _HEADERS}
    headers["content-disposition"] = f'attachment; filename="shop-{shop.id}.ndjson"'
    lines = export_data(visit.context.database, shop_id)
    return StreamingResponse(lines, 200, headers, "application/x-ndjson")


async def erase_shop(visit: Visit) -> Answer:
    """Erase a closed shop. Raises NOT_FOUND, CONFLICT."""
    visit.form.check_confirmed()
    await erase_data(visit.context.database, visit.context.request_log, visit.parts["shop_id"])
    return See("/operator/shops", done="erased")


async def _find(visit: Visit, text: str) -> list[CustomerData]:
    return await visit.context.database.read_list(lambda view: find_customer(view, text, visit.query.get("shop", "")))
