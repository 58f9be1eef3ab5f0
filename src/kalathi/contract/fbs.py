"""The wire format of goods that the marketplace fulfils (docs/contract.md#section-9). Times are Athens time."""

from datetime import date, datetime

from msgspec import Struct, field

from kalathi.contract.orders import ListMeta


class Product(Struct, frozen=True, kw_only=True):
    """A product of the shop, with its quantity in the warehouse. The id is sent as an integer; readers also accept the
    documented text."""

    id: int | str
    shop_uid: str = ""
    active: bool = True
    # Always sent. None only on the reader's side, if the value is unreadable.
    quantity: int | None = None


class ProductList(Struct, frozen=True, kw_only=True):
    """The answer of `GET /fbs/products`."""

    products: list[Product]
    meta: ListMeta


class PurchaseOrder(Struct, frozen=True, kw_only=True):
    """Goods that a shop sends to the warehouse. `received_at` is null until the warehouse has received them."""

    code: str
    received_at: datetime | None = None
    created_at: datetime | None = None
    expected_date: date | None = None


class PurchaseOrderList(Struct, frozen=True, kw_only=True):
    """The answer of `GET /fbs/purchase_orders`."""

    purchase_orders: list[PurchaseOrder]
    meta: ListMeta


class CreatedPurchaseOrder(Struct, frozen=True, kw_only=True):
    """The answer of `POST /fbs/purchase_orders`."""

    success: bool = True
    code: str


class PurchaseOrderLine(Struct, frozen=True, kw_only=True):
    """One product of a purchase order: the announced and the received quantity."""

    product_id: int | str
    shop_uid: str = ""
    active: bool = True
    expected_quantity: int = 0
    actual_quantity: int = 0


class PurchaseOrderLineList(Struct, frozen=True, kw_only=True):
    """The answer of `GET /fbs/purchase_orders/:code/line_items`."""

    purchase_order_line_items: list[PurchaseOrderLine] = field(default_factory=list)
    meta: ListMeta


class Supplier(Struct, frozen=True, kw_only=True):
    """A supplier of the shop's goods. Its `code` is unique in the shop."""

    id: str
    code: str = ""
    name: str = ""
    address: str = ""
    city: str = ""
    area: str = ""
    zip_code: str = ""
    phone: str = ""
    tax_number: str | None = None
    email: str = ""


class SupplierList(Struct, frozen=True, kw_only=True):
    """The answer of `GET /fbs/suppliers`."""

    suppliers: list[Supplier]
    meta: ListMeta
