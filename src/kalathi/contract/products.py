"""The wire format of stock and prices: batches of products, and their results (docs/contract.md#section-10).

Prices are whole cents. Times are Athens time.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from kalathi.contract.words import one_of

# The first part of every path of the Products API.
PRODUCTS_PATH: Final = "/merchants/products"
# Products in one batch.
MOST_PRODUCTS: Final = 500
# The sentence of `invalid_shop_state` while the marketplace reads the shop's XML feed.
SCANNING_SENTENCE: Final = "We are currently scanning your XML. Please try again later."


class BatchStatus(StrEnum):
    """The status of a batch. `completed` means that no product is pending, failures included."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


class ProductStatus(StrEnum):
    """The result of one product or variation of a batch."""

    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    NO_CHANGE = "no_change"
    FAILURE = "failure"


# The writer sends no other word. The reader keeps any other text unchanged (docs/contract.md#section-11).
_BatchStatusText = Annotated[str, one_of(BatchStatus)]
_ProductStatusText = Annotated[str, one_of(ProductStatus)]
_Quantity = Annotated[int, Meta(description="Pieces that customers can order.")]
_Enabled = Annotated[bool, Meta(description="Whether customers can order it.")]
_Price = Annotated[int, Meta(description="Price of one piece with VAT, in whole cents.")]


class VariationUpdate(Struct, frozen=True, kw_only=True):
    """The stock and the price of one variation of a product, such as a size."""

    variation_id: Annotated[str, Meta(description="The shop's own id of the variation.")]
    quantity: _Quantity
    enabled: _Enabled
    price: _Price


class ProductUpdate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stock and the price of one product."""

    product_id: Annotated[str, Meta(description="The shop's own id of the product.")]
    quantity: _Quantity
    enabled: _Enabled
    price: _Price
    variations: list[VariationUpdate] | UnsetType = UNSET


class ProductBatch(Struct, frozen=True, kw_only=True):
    """`POST /merchants/products/batch` and `.../batch/validations`."""

    data: Annotated[list[ProductUpdate], Meta(max_length=MOST_PRODUCTS, description="The products.")]


class AcceptedBatch(Struct, frozen=True, kw_only=True):
    """The answer to a batch. The marketplace writes the products later; the id is for the status call."""

    success: bool = True
    id: str


class ValidatedBatch(Struct, frozen=True, kw_only=True):
    """The answer to a validation."""

    success: bool = True
    message: str


class VariationResult(Struct, frozen=True, kw_only=True):
    """The result of one variation. `message` is the reason of a failure; `executed_at` is null while in progress."""

    variation_id: str
    status: _ProductStatusText
    message: str | None = None
    executed_at: datetime | None = None


class ProductResult(Struct, frozen=True, kw_only=True):
    """The result of one product, and of its variations."""

    product_id: str
    status: _ProductStatusText
    message: str | None = None
    executed_at: datetime | None = None
    variations: list[VariationResult] = field(default_factory=list)


class BatchResults(Struct, frozen=True, kw_only=True):
    """The answer of `GET /merchants/products/batch/:id/status`."""

    id: str
    status: _BatchStatusText
    created_at: datetime | None = None
    results: list[ProductResult] = field(default_factory=list)
