"""A customer's cart, placed by a form."""

from typing import Any, Final

from kalathi.contract.orders import Address, InvoiceAddress
from kalathi.contract.words import PaymentMethod
from kalathi.marketplace.kernel.errors import refuse
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders import placing
from kalathi.marketplace.orders.model import NewCart
from kalathi.marketplace.panel.forms import Given, read_as
from kalathi.marketplace.panel.lists import locate_page, read_page
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.refusals import NoFullName, NothingBought
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.shops import store as shops

# The default customer of the form.
_SOMEBODY: Final = {
    "first_name": "Ελένη",
    "last_name": "Παπαδοπούλου",
    "street_name": "Ερμού",
    "street_number": "12",
    "floor": "2",
    "zip": "10563",
    "city": "Αθήνα",
    "region": "Αττική",
    "country_code": "GR",
}
_COMPANY: Final = ("company", "profession", "vat_number", "doy")


async def show_cart(visit: Visit) -> Answer:
    """`?shop=&page=`: the listings of a shop, and the form of a cart. The form keeps the quantities from other pages of
    the list."""
    shop_id = visit.form.text("shop_id") or visit.query.get("shop", "")
    page = read_page({"page": visit.form.text("turn_to") or visit.form.text("page") or visit.query.get("page", "1")})
    wanted = {line["shop_uid"]: line["quantity"] for line in _lines(visit)}

    def query(view: View) -> dict[str, Any]:
        named = sorted(shops.shops(view), key=lambda shop: shop.name.casefold())
        chosen = next((shop for shop in named if shop.id == shop_id), named[0] if named else None)
        listings, count = shops.page_of_listings(view, chosen.id, page.per, page.offset) if chosen else ([], 0)
        here = {entry.listing.shop_uid for entry in listings}
        return {
            "shops": named,
            "shop": chosen,
            "listings": listings,
            "position": locate_page(page, count),
            "elsewhere": {uid: quantity for uid, quantity in wanted.items() if uid not in here},
        }

    content = await visit.context.database.read_list(query)
    more = {
        "problems": visit.problems,
        "given": Given(_SOMEBODY | dict(visit.form.values)),
        "wanted": wanted,
        "payments": tuple(method.value for method in PaymentMethod),
    }
    return Shown("operator/cart.html", content | more)


async def place_cart(visit: Visit) -> Answer:
    """Place the cart, or show another page of the listings. Raises INVALID_PARAMETER."""
    if visit.form.text("turn_to"):
        return await show_cart(visit)
    new = _cart(visit)
    placed = await visit.commands.run(lambda facts: placing.place(new, facts), codes=1)
    return See(f"/operator/orders/{placed[0].code}", done="order")


def _cart(visit: Visit) -> NewCart:
    form = visit.form
    lines = _lines(visit)
    if not lines:
        raise refuse(NothingBought())
    if not (form.text("first_name") and form.text("last_name")):
        raise refuse(NoFullName())
    address = {name: form.text(name) for name in Address.__struct_fields__ if name in _SOMEBODY}
    content: dict[str, Any] = {
        "customer": {"first_name": form.text("first_name"), "last_name": form.text("last_name"), "address": address},
        "items": [line | {"shop_id": form.text("shop_id")} for line in lines],
        "payment_method": form.text("payment_method"),
        "comments": form.text("comments"),
        **{name: form.has(name) for name in ("express", "gift_wrap", "store_pickup")},
    }
    if form.text("company"):
        places = {name: form.text(f"company_{name}") for name in InvoiceAddress.__struct_fields__}
        content["invoice_details"] = {name: form.text(name) for name in _COMPANY} | {"address": places}
    return read_as(content, NewCart)


def _lines(visit: Visit) -> list[dict[str, str]]:
    """Return the listings that have a quantity."""
    lines = visit.form.nested().get("items", [])
    named = [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []
    return [
        {name: line[name] for name in ("shop_uid", "quantity")}
        for line in named
        if all(isinstance(line.get(name), str) for name in ("shop_uid", "quantity"))
    ]
