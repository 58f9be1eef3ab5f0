"""Goods fulfilled by the marketplace: a shop's calls (docs/contract.md#section-9), and the warehouse's own."""

from datetime import datetime

from msgspec import Struct

from kalathi.contract.fbs import (
    CreatedPurchaseOrder,
    ProductList,
    PurchaseOrderLine,
    PurchaseOrderLineList,
    PurchaseOrderList,
    SupplierList,
)
from kalathi.marketplace.api.calls import Call, ShopCall, reply, write
from kalathi.marketplace.kernel.ids import opaque_id
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.orders.facts import Facts
from kalathi.marketplace.warehouse import commands, store
from kalathi.marketplace.warehouse.model import line_on_the_wire
from kalathi.marketplace.web.context import Context
from kalathi.marketplace.web.paging import page_of, pagination
from kalathi.marketplace.web.reply import SUCCESS, Reply


class ReceivedBody(Struct, frozen=True, kw_only=True):
    """A received purchase order, with the actual quantities."""

    code: str
    shop_id: str
    received_at: datetime | None
    line_items: list[PurchaseOrderLine]


async def list_products(context: Context, call: ShopCall) -> Reply:
    """List the shop's products, ordered by `shop_uid`, with their stock in the warehouse."""
    page = page_of(call.query)
    found, count = await context.database.read_list(
        lambda view: store.products(view, call.shop.id, page.per, page.offset)
    )
    return reply(200, ProductList(products=found, meta=pagination(page, count)))


async def list_purchase_orders(context: Context, call: ShopCall) -> Reply:
    """List the shop's purchase orders, newest first. `received_at` is null until the goods are received."""
    page = page_of(call.query)
    found, count = await context.database.read_list(
        lambda view: store.purchase_orders(view, call.shop.id, page.per, page.offset)
    )
    shown = [order.on_the_wire() for order in found]
    return reply(200, PurchaseOrderList(purchase_orders=shown, meta=pagination(page, count)))


async def create_purchase_order(context: Context, call: ShopCall) -> Reply:
    """Create a purchase order, which announces goods to the warehouse. The answer contains its code."""

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        changes, code = commands.announce_goods(facts.view, call.shop.id, call.body, facts.keys, facts.now)
        return changes, reply(200, CreatedPurchaseOrder(code=code))

    return await write(context, call, command, codes=1)


async def list_purchase_order_lines(context: Context, call: ShopCall) -> Reply:
    """List the announced and the received quantity of each product."""
    page = page_of(call.query)
    shop_id = call.shop.id

    def query(view: View) -> PurchaseOrderLineList:
        order = commands.find_purchase_order(view, shop_id, call.path["code"]).purchase_order
        lines = order.line_items[page.offset : page.offset + page.per]
        there = store.in_stock(view, shop_id, [line.product_uid for line in lines])
        shown = [line_on_the_wire(shop_id, line, there.get(line.product_uid, 0)) for line in lines]
        return PurchaseOrderLineList(purchase_order_line_items=shown, meta=pagination(page, len(order.line_items)))

    return reply(200, await context.database.read(query))


async def list_suppliers(context: Context, call: ShopCall) -> Reply:
    """List the shop's suppliers, ordered by code."""
    page = page_of(call.query)
    found, count = await context.database.read_list(
        lambda view: store.suppliers(view, call.shop.id, page.per, page.offset)
    )
    return reply(200, SupplierList(suppliers=found, meta=pagination(page, count)))


async def create_supplier(context: Context, call: ShopCall) -> Reply:
    """Add a supplier. Without an `id`, the marketplace generates one. The `code` must be unique in the shop."""
    fresh_id = opaque_id()

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        changes, _ = commands.add_supplier(facts.view, call.shop.id, call.body, fresh_id)
        return changes, SUCCESS

    return await write(context, call, command)


async def change_supplier(context: Context, call: ShopCall) -> Reply:
    """Change the named members of a supplier."""

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        changes, _ = commands.change_supplier(facts.view, call.shop.id, call.path["id"], call.body)
        return changes, SUCCESS

    return await write(context, call, command)


async def receive_purchase_order(context: Context, call: Call) -> Reply:
    """Receive the goods, in the announced quantities unless the body names others."""

    def command(facts: Facts) -> tuple[ChangeSet, Reply]:
        found = commands.any_purchase_order(facts.view, call.path["code"])
        changes, goods = commands.receive_goods(facts.view, call.path["code"], call.body, facts.now)
        order = goods.purchase_order
        body = ReceivedBody(
            code=order.code, shop_id=found.shop_id, received_at=order.received_at, line_items=goods.lines
        )
        return changes, reply(200, body)

    return await write(context, call, command)
