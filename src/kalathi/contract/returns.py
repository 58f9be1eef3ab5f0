"""The wire format of a return (docs/contract.md#section-6 and #section-7). Skroutz documents it as under development,
so readers also accept null for a member that is documented as omitted."""

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType, field

from kalathi.contract.orders import ListMeta


class ReturningAddress(Struct, frozen=True, kw_only=True):
    """The address at which the shop receives the returned goods."""

    street_name: str = ""
    street_number: str = ""
    zip: str = ""
    city: str = ""
    region: str = ""
    country_code: str = ""


class ReturnLineItem(Struct, frozen=True, kw_only=True):
    """A returned line. `id` is the id of the order's line item."""

    id: str
    ean: str | None | UnsetType = UNSET
    product_name: str | None = ""
    returning_quantity: int = 0
    return_reason: str | None | UnsetType = UNSET
    user_comment: str | None | UnsetType = UNSET
    user_photos: list[str] | None | UnsetType = UNSET


class ReviewOption(Struct, frozen=True, kw_only=True):
    """A valid answer of a review. Only options that reject the return have the two booleans."""

    option: str
    comment_required: bool | None | UnsetType = UNSET
    supports_proposed_part_url_required: bool | None | UnsetType = UNSET


class Return(Struct, frozen=True, kw_only=True):
    """The whole return. Times are UTC and written with `Z`."""

    return_code: str
    state: str
    order_code: str = ""
    created_at: datetime | None = None
    courier_tracking_ids: list[str] | None | UnsetType = UNSET
    courier: str | None | UnsetType = UNSET
    returning_address: ReturningAddress | None | UnsetType = UNSET
    return_line_items: list[ReturnLineItem] = field(default_factory=list)
    review_options: list[ReviewOption] | None | UnsetType = UNSET


class ReturnBody(Struct, frozen=True, kw_only=True, rename={"returned": "return"}):
    """The answer of `GET /returns/:return_code`."""

    returned: Return


class ReturnList(Struct, frozen=True, kw_only=True):
    """The answer of `GET /returns`."""

    returns: list[Return]
    meta: ListMeta
