"""Purchase orders as the warehouse stores them, and pure rules on them."""

import hashlib
from datetime import date, datetime
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from kalathi.contract.fbs import PurchaseOrder as PurchaseOrderOnTheWire
from kalathi.contract.fbs import PurchaseOrderLine
from kalathi.marketplace.kernel.clock import athens
from kalathi.marketplace.kernel.errors import Refusal, refuse
from kalathi.marketplace.shops.model import LARGEST_QUANTITY
from kalathi.marketplace.warehouse import refusals

MOST_LINES: Final = 1000


class PurchasedLine(Struct, frozen=True, kw_only=True):
    """The announced and the received quantity of one product; `actual_quantity` is 0 until it is received."""

    product_uid: str
    expected_quantity: int
    actual_quantity: int = 0
    keep_serial_numbers: bool = False
    has_expiration_date: bool = False
    storage_conditions: int = 0


class PurchaseOrder(Struct, frozen=True, kw_only=True):
    """Goods that a shop sends to the warehouse. Times are Athens time. `received_at` is None until then."""

    code: str
    supplier_id: str
    expected_date: date
    created_at: datetime
    received_at: datetime | None = None
    line_items: tuple[PurchasedLine, ...]

    def on_the_wire(self) -> PurchaseOrderOnTheWire:
        """Return the purchase order as lists on the wire show it."""
        return PurchaseOrderOnTheWire(
            code=self.code,
            received_at=self.received_at,
            created_at=self.created_at,
            expected_date=self.expected_date,
        )


class FoundPurchaseOrder(Struct, frozen=True):
    """A purchase order as it was read; its version guards every change."""

    shop_id: str
    version: int
    purchase_order: PurchaseOrder


class ReceivedLine(Struct, frozen=True, kw_only=True):
    """The received quantity of a product."""

    product_uid: Annotated[str, Meta(max_length=200)]
    actual_quantity: Annotated[int, Meta(ge=0, le=LARGEST_QUANTITY)]


class Receive(Struct, frozen=True, kw_only=True):
    """`POST /marketplace/warehouse/purchase_orders/{code}/receive`: the lines whose received quantity differs from the
    announced one."""

    line_items: Annotated[tuple[ReceivedLine, ...], Meta(max_length=MOST_LINES)] = ()


def receive(order: PurchaseOrder, counted: Receive, now: datetime) -> PurchaseOrder:
    """Receive the goods in the announced or the counted quantities. Raises PURCHASE_ORDER_STATUS if they were received
    before, INVALID_PARAMETER for products that the purchase order does not have."""
    if order.received_at is not None:
        raise refuse(refusals.AlreadyReceived())
    actual = {line.product_uid: line.actual_quantity for line in counted.line_items}
    announced = {line.product_uid for line in order.line_items}
    wrong: list[Refusal] = [refusals.NotAnnounced(uid[:40]) for uid in sorted(actual.keys() - announced)]
    if len(actual) < len(counted.line_items):
        wrong.append(refusals.ReceivedTwice())
    if wrong:
        raise refuse(*wrong[:10])
    lines = tuple(
        replace(line, actual_quantity=actual.get(line.product_uid, line.expected_quantity)) for line in order.line_items
    )
    return replace(order, received_at=athens(now), line_items=lines)


def line_on_the_wire(shop_id: str, line: PurchasedLine, in_stock: int) -> PurchaseOrderLine:
    """Return the line as it is on the wire. `in_stock` is the product's quantity in the warehouse."""
    return PurchaseOrderLine(
        product_id=product_id(shop_id, line.product_uid),
        shop_uid=line.product_uid,
        active=in_stock > 0,
        expected_quantity=line.expected_quantity,
        actual_quantity=line.actual_quantity,
    )


def product_id(shop_id: str, shop_uid: str) -> int:
    """Return a product's number in the warehouse: twelve digits of a hash. Every listing has one from the start, and no
    call has it as a parameter, so it is derived and not stored. Among shops with 5,000 products, about one in 72,000
    has two products with the same number."""
    digest = hashlib.sha256(f"{shop_id}\0{shop_uid}".encode()).digest()
    return 100_000_000_000 + int.from_bytes(digest[:8]) % 900_000_000_000
