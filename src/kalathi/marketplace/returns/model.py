"""The return as the marketplace stores it, and a customer's request."""

from datetime import datetime
from typing import Annotated, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from kalathi.contract.returns import ReturningAddress, ReturnLineItem
from kalathi.contract.words import ReturnReason, ReturnState, ReviewWord
from kalathi.marketplace.shops.model import Shop

MOST_PHOTOS = 10


class Decision(Struct, frozen=True, kw_only=True):
    """The shop's decision. A withdrawal rejected as too late gets a standard comment if the shop writes none."""

    option: ReviewWord
    comment: str = ""
    proposed_part_url: str | None = None


class Return(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A return's document. Times are UTC in whole seconds. `return_line_items` are contract structs.

    The order refers to the return by `return_uuid`. A virtual return has no shipment, because the customer keeps the
    goods or they no longer exist. A return without `review_until` never needed a review.
    """

    return_code: str
    return_uuid: str
    shop_id: str
    order_code: str
    state: ReturnState
    created_at: datetime
    return_line_items: tuple[ReturnLineItem, ...]
    is_virtual: bool = False
    is_from_warehouse: bool = False
    review_until: datetime | None = None
    courier: str | None = None
    returning_address: ReturningAddress | None = None
    courier_tracking_ids: tuple[str, ...] = ()
    decision: Decision | None = None

    @property
    def has_shipment(self) -> bool:
        """Whether the return has a courier."""
        return self.courier is not None

    def pieces(self) -> dict[str, int]:
        """Return the quantity of each line, by line id."""
        return {line.id: line.returning_quantity for line in self.return_line_items}

    def reasons(self) -> dict[str, str]:
        """Return the customer's reasons, by line id."""
        return {line.id: line.return_reason for line in self.return_line_items if line.return_reason}


class FoundReturn(NamedTuple):
    """A return as it was read, with its version and its shop. A write succeeds only if the version is unchanged."""

    returned: Return
    version: int
    shop: Shop


class Shipment(NamedTuple):
    """The courier of a return, and its destination."""

    courier: str
    address: ReturningAddress


class NewReturnLine(Struct, frozen=True, kw_only=True):
    """A line of the order that a customer sends back, with the quantity and the reason."""

    id: Annotated[str, Meta(max_length=50)]
    quantity: Annotated[int, Meta(ge=1)]
    reason: ReturnReason | UnsetType = UNSET
    comment: Annotated[str, Meta(max_length=2000)] | UnsetType = UNSET
    photos: Annotated[tuple[Annotated[str, Meta(max_length=2000)], ...], Meta(max_length=MOST_PHOTOS)] = ()


class NewReturn(Struct, frozen=True, kw_only=True):
    """`POST /marketplace/orders/{code}/returns`; a virtual one has no shipment."""

    line_items: Annotated[
        tuple[NewReturnLine, ...], Meta(min_length=1, max_length=500, description="The lines that are sent back.")
    ]
    virtual: Annotated[bool, Meta(description="A return without a shipment.")] = False


class ReturnedGoods(NamedTuple):
    """The facts of a new return. Code and uuid are fresh; the lines are the order's, with the customer's reasons."""

    return_code: str
    return_uuid: str
    shop_id: str
    order_code: str
    lines: tuple[ReturnLineItem, ...]
    delivered_at: datetime | None
    is_virtual: bool
    is_from_warehouse: bool
    shipment: Shipment
