"""The commands of shops and the warehouse on goods, one function each. Each returns the change set and its answer."""

from datetime import datetime
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from kalathi.contract.fbs import PurchaseOrderLine, Supplier
from kalathi.contract.requests import PurchaseOrderRequest, SupplierRequest
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.errors import Refusal, refuse
from kalathi.marketplace.kernel.storage.changes import ChangeSet
from kalathi.marketplace.kernel.storage.database import View
from kalathi.marketplace.shops import store as shops
from kalathi.marketplace.warehouse import refusals, store
from kalathi.marketplace.warehouse.model import (
    MOST_LINES,
    FoundPurchaseOrder,
    PurchaseOrder,
    Receive,
    line_on_the_wire,
    receive,
)
from kalathi.marketplace.warehouse.requests import (
    line_of,
    new_supplier,
    read_expected_date,
    read_lines,
    supplier_changes,
    text_of,
)


class FreshCodes(Protocol):
    """A source of new codes for purchase orders. Tests use a fake."""

    def purchase_order_code(self, now: datetime, shop_id: str) -> str:
        """Return a new code for this business day."""
        ...


class ReceivedGoods(NamedTuple):
    """A received purchase order, with its lines as on the wire."""

    purchase_order: PurchaseOrder
    lines: list[PurchaseOrderLine]


def add_supplier(view: View, shop_id: str, request: SupplierRequest, fresh_id: str) -> tuple[ChangeSet, Supplier]:
    """Add a supplier to the shop. Raises INVALID_PARAMETER, also for an id or a code that is already in use."""
    supplier = new_supplier(request, fresh_id)
    taken: list[Refusal] = []
    if store.supplier(view, shop_id, supplier.id) is not None:
        taken.append(refusals.IdTaken(supplier.id[:50]))
    if store.supplier_of_code(view, shop_id, supplier.code) is not None:
        taken.append(refusals.CodeTaken(supplier.code[:50]))
    if taken:
        raise refuse(*taken)
    return ChangeSet(store.insert_supplier(shop_id, supplier)), supplier


def change_supplier(view: View, shop_id: str, supplier_id: str, request: SupplierRequest) -> tuple[ChangeSet, Supplier]:
    """Change the named members of a supplier. Raises SUPPLIER_NOT_FOUND, INVALID_PARAMETER."""
    found = store.supplier(view, shop_id, supplier_id)
    if found is None:
        raise refuse(refusals.SupplierNotFound())
    supplier = replace(found.supplier, **supplier_changes(request))
    if store.supplier_of_code(view, shop_id, supplier.code) not in {None, supplier_id}:
        raise refuse(refusals.CodeTaken(supplier.code[:50]))
    if supplier == found.supplier:
        return ChangeSet(), supplier
    return ChangeSet(store.update_supplier(shop_id, found, supplier)), supplier


def announce_goods(
    view: View, shop_id: str, request: PurchaseOrderRequest, codes: FreshCodes, now: datetime
) -> tuple[ChangeSet, str]:
    """Create a purchase order, and return its rows and code. Raises SUPPLIER_NOT_FOUND, INVALID_PARAMETER."""
    supplier_id = text_of(request.supplier_id)
    if supplier_id and store.supplier(view, shop_id, supplier_id) is None:
        raise refuse(refusals.SupplierNotFound())
    sent = request.line_items if isinstance(request.line_items, list) else []
    named = {text_of(line.product_uid) for line in map(line_of, sent[:MOST_LINES]) if line is not None}
    listed = shops.listings(view, shop_id, named)
    lines = read_lines(request, listed, athens(now).date())
    order = PurchaseOrder(
        code=codes.purchase_order_code(now, shop_id),
        supplier_id=supplier_id,
        expected_date=read_expected_date(request) or athens(now).date(),
        created_at=athens(now),
        line_items=tuple(lines),
    )
    return ChangeSet(*store.insert_purchase_order(shop_id, order)), order.code


def find_purchase_order(view: View, shop_id: str, code: str) -> FoundPurchaseOrder:
    """The shop's purchase order. Raises PURCHASE_ORDER_NOT_FOUND, PURCHASE_ORDER_OF_ANOTHER
    (docs/contract.md#section-9)."""
    found = any_purchase_order(view, code)
    if found.shop_id != shop_id:
        raise refuse(refusals.PurchaseOrderOfAnother())
    return found


def any_purchase_order(view: View, code: str) -> FoundPurchaseOrder:
    """The purchase order with this code, of any shop. Raises PURCHASE_ORDER_NOT_FOUND."""
    found = store.purchase_order(view, code)
    if found is None:
        raise refuse(refusals.PurchaseOrderNotFound())
    return found


def receive_goods(view: View, code: str, counted: Receive, now: datetime) -> tuple[ChangeSet, ReceivedGoods]:
    """Receive a purchase order: put the counted pieces into the warehouse's stock.

    Raises PURCHASE_ORDER_NOT_FOUND, PURCHASE_ORDER_STATUS, INVALID_PARAMETER.
    """
    found = any_purchase_order(view, code)
    order = receive(found.purchase_order, counted, now)
    shop_id = found.shop_id
    there = store.in_stock(view, shop_id, [line.product_uid for line in order.line_items])
    changes = ChangeSet(store.update_purchase_order(found, order))
    changes.add(
        *(
            store.put_in(shop_id, line.product_uid, line.actual_quantity, is_known=line.product_uid in there)
            for line in order.line_items
        )
    )
    lines = [
        line_on_the_wire(shop_id, line, there.get(line.product_uid, 0) + line.actual_quantity)
        for line in order.line_items
    ]
    return changes, ReceivedGoods(order, lines)
