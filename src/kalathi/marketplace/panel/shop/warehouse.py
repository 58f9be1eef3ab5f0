"""A shop's goods in the marketplace's warehouse: products, purchase orders, suppliers (docs/contract.md#section-9)."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from msgspec.structs import replace

from kalathi.contract.requests import PurchaseOrderRequest, SupplierRequest
from kalathi.contract.words import STORAGE_CONDITIONS
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.errors import DomainError, Refusal, refuse
from kalathi.marketplace.kernel.ids import opaque_id
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.panel.forms import Given, read_as
from kalathi.marketplace.panel.lists import locate_page, read_page
from kalathi.marketplace.panel.pages import Answer, See, Shown
from kalathi.marketplace.panel.visits import Visit
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.warehouse import commands, store
from kalathi.marketplace.warehouse.refusals import LineRefusal, SupplierNotFound

# The number of product rows in the form. Larger purchase orders need the API.
_LINES: Final = 5
# The largest number of options in a select list.
_MOST_CHOICES: Final = 500


async def list_products(visit: Visit) -> Answer:
    """`?page=`: the shop's products, with their stock in the warehouse."""
    page = read_page(visit.query)

    def query(view: View) -> dict[str, Any]:
        found, count = store.products(view, visit.shop.id, page.per, page.offset)
        return {
            "products": found,
            "names": _name_products(view, visit.shop.id, {product.shop_uid for product in found}),
            "position": locate_page(page, count),
        }

    return Shown("shop/products.html", await visit.context.database.read_list(query))


def _name_products(view: View, shop_id: str, uids: Collection[str]) -> dict[str, str]:
    """Return the names of the shop's products by their uids."""
    return {uid: entry.listing.product_name for uid, entry in shops.listings(view, shop_id, uids).items()}


async def list_purchase_orders(visit: Visit) -> Answer:
    """`?page=`: the shop's purchase orders, newest first, and the form for another."""
    shop_id, page = visit.shop.id, read_page(visit.query)

    def query(view: View) -> dict[str, Any]:
        found, count = store.purchase_orders(view, shop_id, page.per, page.offset)
        products = store.products(view, shop_id, _MOST_CHOICES, 0)[0]
        return {
            "purchase_orders": found,
            "position": locate_page(page, count),
            "suppliers": store.suppliers(view, shop_id, _MOST_CHOICES, 0)[0],
            "products": products,
            "names": _name_products(view, shop_id, {product.shop_uid for product in products}),
        }

    content = await visit.context.database.read_list(query)
    more = {
        "problems": visit.problems,
        "given": visit.form.given,
        "lines": range(_LINES),
        "storage": tuple(str(number) for number in STORAGE_CONDITIONS),
        "today": athens(visit.context.clock.now()).date().isoformat(),
    }
    return Shown("shop/purchase_orders.html", content | more)


async def announce_goods(visit: Visit) -> Answer:
    """Create a purchase order. Raises SUPPLIER_NOT_FOUND, INVALID_PARAMETER."""
    shop_id = visit.shop.id
    content = visit.form.nested()
    rows = content.get("line_items")
    filled = [number for number, row in enumerate(rows) if _is_filled_in(row)] if isinstance(rows, list) else []
    if isinstance(rows, list):
        content["line_items"] = [rows[number] for number in filled]
    request = read_as(content, PurchaseOrderRequest)
    try:
        code = await visit.commands.run(
            lambda facts: commands.announce_goods(facts.view, shop_id, request, facts.keys, facts.now), codes=1
        )
    except DomainError as error:
        raise DomainError(error.code, *(_as_on_the_page(reason, filled) for reason in error.reasons)) from None
    return See(f"/shop/warehouse/purchase-orders/{code}", done="purchase_order")


def _is_filled_in(row: Any) -> bool:
    """Whether the user has filled in this row of the form. Default values and a checked box alone do not count."""
    return isinstance(row, dict) and ("product_uid" in row or "expected_quantity" in row)


def _as_on_the_page(reason: Refusal | str, filled: Sequence[int]) -> Refusal | str:
    """Return a line's refusal with the line's row on the page, where blank rows count too."""
    return replace(reason, place=filled[reason.place]) if isinstance(reason, LineRefusal) else reason


async def show_purchase_order(visit: Visit) -> Answer:
    """Show the announced and the received quantity of each product."""
    shop_id = visit.shop.id

    def query(view: View) -> dict[str, Any]:
        order = commands.find_purchase_order(view, shop_id, visit.parts["code"]).purchase_order
        supplier = store.supplier(view, shop_id, order.supplier_id)
        names = _name_products(view, shop_id, {line.product_uid for line in order.line_items})
        return {"order": order, "supplier": supplier and supplier.supplier, "names": names}

    return Shown("shop/purchase_order.html", await visit.context.database.read(query))


async def list_suppliers(visit: Visit) -> Answer:
    """`?page=`: the shop's suppliers, and the form for another."""
    page = read_page(visit.query)
    found, count = await visit.context.database.read_list(
        lambda view: store.suppliers(view, visit.shop.id, page.per, page.offset)
    )
    content = {
        "problems": visit.problems,
        "given": visit.form.given,
        "suppliers": found,
        "position": locate_page(page, count),
    }
    return Shown("shop/suppliers.html", content)


async def add_supplier(visit: Visit) -> Answer:
    """Add a supplier. Raises INVALID_PARAMETER."""
    shop_id, fresh_id, request = visit.shop.id, opaque_id(), visit.form.read(SupplierRequest)
    await visit.context.database.run(lambda view: commands.add_supplier(view, shop_id, request, fresh_id))
    return See("/shop/warehouse/suppliers", done="supplier")


async def show_supplier(visit: Visit) -> Answer:
    """Show a supplier in a form. Raises SUPPLIER_NOT_FOUND."""
    found = await visit.context.database.read(lambda view: store.supplier(view, visit.shop.id, visit.parts["id"]))
    if found is None:
        raise refuse(SupplierNotFound())
    supplier = found.supplier
    facts = {name: getattr(supplier, name) or "" for name in supplier.__struct_fields__}
    given = Given(facts | dict(visit.form.values))
    return Shown("shop/supplier.html", {"problems": visit.problems, "supplier": supplier, "given": given})


async def change_supplier(visit: Visit) -> Answer:
    """Save the form's values of a supplier; blank fields become blank. Raises INVALID_PARAMETER."""
    shop_id = visit.shop.id
    texts = {name: value for name, value in visit.form.values.items() if name != "form_token"}
    request = read_as(texts, SupplierRequest)
    await visit.context.database.run(lambda view: commands.change_supplier(view, shop_id, visit.parts["id"], request))
    return See("/shop/warehouse/suppliers", done="supplier")
