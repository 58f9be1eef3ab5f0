"""The warehouse in the database: reads, and the rows of its change sets."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from kalathi.contract.codec import decode, encode
from kalathi.contract.fbs import Product, Supplier
from kalathi.marketplace.kernel.clock import to_millis
from kalathi.marketplace.kernel.storage.changes import Add, AtLeast, Insert, Update, Value
from kalathi.marketplace.kernel.storage.database import View, pad_rows
from kalathi.marketplace.warehouse.model import FoundPurchaseOrder, PurchaseOrder, product_id


class FoundSupplier(NamedTuple):
    """A supplier as it was read, with its version. A write succeeds only if the version is unchanged."""

    supplier: Supplier
    version: int


def in_stock(view: View, shop_id: str, shop_uids: Collection[str]) -> dict[str, int]:
    """Return the quantity of these products in the warehouse. Products that were never received are left out."""
    if not shop_uids:
        return {}
    uids = pad_rows([*shop_uids])
    parameters: dict[str, Value] = {f"uid{number}": uid for number, uid in enumerate(uids)}
    names = ", ".join(f":{name}" for name in parameters)
    sql = f"SELECT shop_uid, quantity FROM warehouse_stock WHERE shop_id = :shop_id AND shop_uid IN ({names})"  # noqa: S608  (names only)
    return dict(view.all(sql, {"shop_id": shop_id, **parameters}))


def has(view: View, shop_id: str, wanted: Mapping[str, int]) -> bool:
    """Whether the warehouse has all of these pieces in stock."""
    there = in_stock(view, shop_id, wanted.keys())
    return all(there.get(uid, 0) >= quantity for uid, quantity in wanted.items())


def take(shop_id: str, shop_uid: str, quantity: int) -> Update:
    """Take pieces for an order. The update succeeds only if enough are left, so that no piece is sold twice."""
    key: dict[str, Value] = {"shop_id": shop_id, "shop_uid": shop_uid}
    return Update("warehouse_stock", key, {"quantity": Add(-quantity)}, when={"quantity": AtLeast(quantity)})


def give_back(shop_id: str, shop_uid: str, quantity: int) -> Update:
    """Return the pieces of an order to the stock."""
    return Update("warehouse_stock", {"shop_id": shop_id, "shop_uid": shop_uid}, {"quantity": Add(quantity)})


def put_in(shop_id: str, shop_uid: str, quantity: int, *, is_known: bool) -> Insert | Update:
    """Add received pieces to the stock. The first ones of a product insert its row."""
    if is_known:
        return give_back(shop_id, shop_uid, quantity)
    return Insert("warehouse_stock", {"shop_id": shop_id, "shop_uid": shop_uid, "quantity": quantity})


def products(view: View, shop_id: str, limit: int, offset: int) -> tuple[list[Product], int]:
    """Return a page of the shop's products, ordered by `shop_uid`, and the total. Every listing is a product."""
    rows = view.all(
        "SELECT l.shop_uid, coalesce(s.quantity, 0) FROM listings l LEFT JOIN warehouse_stock s"
        " ON s.shop_id = l.shop_id AND s.shop_uid = l.shop_uid WHERE l.shop_id = :shop_id"
        " ORDER BY l.shop_uid LIMIT :limit OFFSET :offset",
        {"shop_id": shop_id, "limit": limit, "offset": offset},
    )
    shown = [
        Product(id=product_id(shop_id, uid), shop_uid=uid, active=quantity > 0, quantity=quantity)
        for uid, quantity in rows
    ]
    return shown, _count(view, "listings", shop_id)


def suppliers(view: View, shop_id: str, limit: int, offset: int) -> tuple[list[Supplier], int]:
    """Return a page of the shop's suppliers, ordered by code, and their total number."""
    rows = view.all(
        "SELECT document FROM suppliers WHERE shop_id = :shop_id ORDER BY code LIMIT :limit OFFSET :offset",
        {"shop_id": shop_id, "limit": limit, "offset": offset},
    )
    return [decode(row[0], Supplier) for row in rows], _count(view, "suppliers", shop_id)


def supplier(view: View, shop_id: str, supplier_id: str) -> FoundSupplier | None:
    """The shop's supplier of this id, or None."""
    row = view.one(
        "SELECT document, version FROM suppliers WHERE shop_id = :shop_id AND supplier_id = :supplier_id",
        {"shop_id": shop_id, "supplier_id": supplier_id},
    )
    return None if row is None else FoundSupplier(decode(row[0], Supplier), row[1])


def supplier_of_code(view: View, shop_id: str, code: str) -> str | None:
    """The id of the shop's supplier of this code, or None."""
    row = view.one(
        "SELECT supplier_id FROM suppliers WHERE shop_id = :shop_id AND code = :code",
        {"shop_id": shop_id, "code": code},
    )
    return None if row is None else row[0]


def insert_supplier(shop_id: str, new: Supplier) -> Insert:
    """Return the row of a new supplier. It fails if another supplier of the shop has its id or its code."""
    row: dict[str, Value] = {
        "shop_id": shop_id,
        "supplier_id": new.id,
        "code": new.code,
        "version": 1,
        "document": encode(new),
    }
    return Insert("suppliers", row)


def update_supplier(shop_id: str, found: FoundSupplier, new: Supplier) -> Update:
    """Return the update of a supplier. It applies only if the supplier is still at the version that was read."""
    values: dict[str, Value | Add] = {"code": new.code, "version": found.version + 1, "document": encode(new)}
    key: dict[str, Value] = {"shop_id": shop_id, "supplier_id": new.id}
    return Update("suppliers", key, values, when={"version": found.version})


def purchase_orders(view: View, shop_id: str, limit: int, offset: int) -> tuple[list[PurchaseOrder], int]:
    """Return a page of the shop's purchase orders, newest first, and their total number."""
    rows = view.all(
        "SELECT document FROM purchase_orders WHERE shop_id = :shop_id"
        " ORDER BY created_at DESC, code LIMIT :limit OFFSET :offset",
        {"shop_id": shop_id, "limit": limit, "offset": offset},
    )
    return [decode(row[0], PurchaseOrder) for row in rows], _count(view, "purchase_orders", shop_id)


def purchase_order(view: View, code: str) -> FoundPurchaseOrder | None:
    """The purchase order with this code, of any shop."""
    row = view.one(
        "SELECT shop_id, version, document FROM purchase_orders"
        " WHERE code = :code AND shop_id = (SELECT shop_id FROM directory WHERE code = :code)",
        {"code": code},
    )
    return None if row is None else FoundPurchaseOrder(row[0], row[1], decode(row[2], PurchaseOrder))


def insert_purchase_order(shop_id: str, new: PurchaseOrder) -> tuple[Insert, Insert]:
    """The rows of a new purchase order and its code."""
    row: dict[str, Value] = {
        "shop_id": shop_id,
        "code": new.code,
        "version": 1,
        "created_at": to_millis(new.created_at),
        "document": encode(new),
    }
    return Insert("purchase_orders", row), Insert("directory", {"code": new.code, "shop_id": shop_id})


def update_purchase_order(found: FoundPurchaseOrder, new: PurchaseOrder) -> Update:
    """Return the update of a purchase order. It applies only if the version is still the one that was read."""
    key: dict[str, Value] = {"shop_id": found.shop_id, "code": new.code}
    values: dict[str, Value | Add] = {"version": found.version + 1, "document": encode(new)}
    return Update("purchase_orders", key, values, when={"version": found.version})


def _count(view: View, table: str, shop_id: str) -> int:
    row = view.one(f"SELECT count(*) FROM {table} WHERE shop_id = :shop_id", {"shop_id": shop_id})  # noqa: S608  (names only)
    return row[0] if row else 0
